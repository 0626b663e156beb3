//! All tables that the kernel finds (ACPI 6.5, section 5.2): those of a machine without system management mode, where ACPI
//! is on from the start. What differs between machines is the chipset's ports, which processors there are, where PCI is, and
//! whether there is a TPM.

use crate::{
    Refusal, dsdt,
    machine::Machine,
    presented::{Presented, TPM_BUFFER, Tpm},
    room::Room,
    space::Windows,
};

/// Bytes that [`write()`] needs: the MADT of 512 processors is 9 KiB of them.
pub const ROOM_BYTES: usize = 16 << 10;

/// Addresses of the interrupt controllers (Intel ICH9 datasheet, chapter 13.5; 82093AA datasheet).
const IO_APIC: u32 = 0xfec0_0000;
const LOCAL_APIC: u32 = 0xfee0_0000;

/// Writes all tables into `room`, which stands at `place` in memory, the root pointer first.
///
/// # Errors
/// When there is no room.
pub fn write(place: u64, room: &mut [u8], presented: &Presented, windows: &Windows) -> Result<(), Refusal> {
    lay_out(place, room, presented, windows).ok_or(Refusal("no room for the ACPI tables of the image"))
}

fn lay_out(place: u64, room: &mut [u8], presented: &Presented, windows: &Windows) -> Option<()> {
    let room = &mut Room::new(room);
    room.zeros_to(64)?; // of the root pointer, which comes last
    let facs = address(place, room)?;
    write_facs(room)?;
    let dsdt = address(place, room)?;
    table(room, *b"DSDT", 2, |room| dsdt::write(room, windows, presented))?;
    let fadt = address(place, room)?;
    table(room, *b"FACP", 6, |room| {
        write_fadt(room, presented.machine, facs, dsdt)
    })?;
    let madt = address(place, room)?;
    table(room, *b"APIC", 4, |room| write_madt(room, presented.processors()))?;
    let mcfg = match presented.express {
        None => None,
        Some(base) => {
            let mcfg = address(place, room)?;
            table(room, *b"MCFG", 1, |room| write_mcfg(room, base))?;
            Some(mcfg)
        }
    };
    let tpm2 = match presented.tpm {
        None => None,
        Some(tpm) => {
            let tpm2 = address(place, room)?;
            table(room, *b"TPM2", 4, |room| write_tpm2(room, tpm))?;
            Some(tpm2)
        }
    };
    let xsdt = address(place, room)?;
    table(room, *b"XSDT", 1, |room| {
        for table in [Some(fadt), Some(madt), mcfg, tpm2].into_iter().flatten() {
            room.quad(table)?;
        }
        Some(())
    })?;
    write_root(room, xsdt)
}

/// Where the next byte will stand.
fn address(place: u64, room: &Room<'_>) -> Option<u64> {
    place.checked_add(u64::try_from(room.written()).ok()?)
}

/// A header, the contents, their length and checksum (section 5.2.6), and zeros up to the next multiple of 64.
fn table(
    room: &mut Room<'_>,
    signature: [u8; 4],
    revision: u8,
    contents: impl FnOnce(&mut Room<'_>) -> Option<()>,
) -> Option<()> {
    let start = room.written();
    room.put(&signature)?;
    room.double(0)?;
    room.put(&[revision, 0])?;
    room.put(b"ADYTONDIRECT  \x01\0\0\0ADYT\x01\0\0\0")?;
    contents(room)?;
    let end = room.written();
    let length = u32::try_from(end.checked_sub(start)?).ok()?;
    room.change(start.checked_add(4)?, &length.to_le_bytes())?;
    room.balance(start, end, start.checked_add(9)?)?;
    room.zeros_to(end.checked_next_multiple_of(64)?)
}

/// Section 5.2.5.3. It stands first and is written last.
fn write_root(room: &mut Room<'_>, xsdt: u64) -> Option<()> {
    room.change(0, b"RSD PTR \0ADYTON\x02")?;
    room.change(20, &36_u32.to_le_bytes())?;
    room.change(24, &xsdt.to_le_bytes())?;
    room.balance(0, 20, 8)?;
    room.balance(0, 36, 32)
}

/// Section 5.2.10: what a sleeping machine would need, and nothing sleeps.
fn write_facs(room: &mut Room<'_>) -> Option<()> {
    let end = room.written().checked_add(64)?;
    room.put(b"FACS")?;
    room.double(64)?;
    room.zeros_to(end)
}

/// Section 5.2.9, revision 6: 276 bytes with the header.
fn write_fadt(room: &mut Room<'_>, machine: Machine, facs: u64, dsdt: u64) -> Option<()> {
    let ports = machine.ports();
    let start = room.written().checked_sub(36)?;
    room.quad(0)?; // FIRMWARE_CTRL, DSDT: below, in 64 bits
    room.put(&[0, 0])?;
    room.word(9)?; // SCI_INT
    room.double(0)?; // SMI_CMD: none, ACPI is on
    room.double(0)?;
    for block in [
        ports.pm1_event,
        0,
        ports.pm1_control,
        0,
        0,
        ports.timer,
        ports.gpe0,
        0,
    ] {
        room.double(block)?;
    }
    room.put(&[4, 2, 0, 4, ports.gpe0_bytes, 0, 0, 0])?; // their lengths, GPE1_BASE, CST_CNT
    room.put(b"\xff\x0f\xff\x0f")?; // P_LVL2_LAT, P_LVL3_LAT: no such states
    room.put(&[0; 8])?; // FLUSH_SIZE to MON_ALRM
    room.byte(0x32)?; // CENTURY of the real-time clock
    room.word(1 << 2)?; // IAPC_BOOT_ARCH: no VGA
    room.byte(0)?;
    // WBINVD, PROC_C1, PWR_BUTTON and SLP_BUTTON absent, RTC_S4; RESET_REG_SUP
    room.double(1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 7 | u32::from(ports.reset.is_some()) << 10)?;
    match ports.reset {
        Some(reset) => port(room, 8, 1, reset)?,
        None => port(room, 0, 0, 0)?,
    }
    room.byte(0x0f)?;
    room.put(&[0, 0, 5])?; // ARM_BOOT_ARCH, revision 6.5
    room.quad(facs)?;
    room.quad(dsdt)?;
    port(room, 32, 2, ports.pm1_event)?;
    port(room, 0, 0, 0)?;
    port(room, 16, 2, ports.pm1_control)?;
    port(room, 0, 0, 0)?;
    port(room, 0, 0, 0)?;
    port(room, 32, 3, ports.timer)?;
    port(room, ports.gpe0_bytes << 3, 1, ports.gpe0)?;
    room.zeros_to(start.checked_add(276)?)
}

/// A Generic Address Structure of a port (section 5.2.3.2).
fn port(room: &mut Room<'_>, bits: u8, access: u8, address: u32) -> Option<()> {
    room.put(&[u8::from(bits > 0), bits, 0, access])?;
    room.quad(address.into())
}

/// Section 5.2.12.
fn write_madt(room: &mut Room<'_>, processors: &[u32]) -> Option<()> {
    room.double(LOCAL_APIC)?;
    room.double(1)?; // PCAT_COMPAT: two 8259s as well
    for (number, id) in processors.iter().enumerate() {
        let number = u32::try_from(number).ok()?;
        match (u8::try_from(*id), u8::try_from(number)) {
            // A local APIC cannot have the identity 255, which is everybody's.
            (Ok(id), Ok(number)) if id < 0xff && number < 0xff => {
                room.put(&[0, 8, number, id, 1, 0, 0, 0])?;
            }
            _ => {
                room.put(&[9, 16, 0, 0])?;
                room.double(*id)?;
                room.double(1)?;
                room.double(number)?;
            }
        }
    }
    room.put(&[1, 12, 0, 0])?; // IO-APIC 0, interrupts from 0
    room.double(IO_APIC)?;
    room.double(0)?;
    // Interrupt 0 is number 2 there; 5, 9, 10 and 11 are levels, active high (0xd).
    room.put(&[2, 10, 0, 0, 2, 0, 0, 0, 0, 0])?;
    for line in [5, 9, 10, 11] {
        room.put(&[2, 10, 0, line, line, 0, 0, 0, 0xd, 0])?;
    }
    room.put(&[4, 6, 0xff, 0, 0, 1]) // line 1 of all processors is the NMI
}

/// TCG ACPI Specification 1.3, section 8: a client's, without a log, which the kernel has from firmware.
fn write_tpm2(room: &mut Room<'_>, tpm: Tpm) -> Option<()> {
    let (registers, start) = match tpm {
        Tpm::Fifo => (0, 6),
        Tpm::Buffer => (TPM_BUFFER, 7),
    };
    room.double(0)?;
    room.quad(registers)?;
    room.double(start)?;
    room.put(&[0; 24])
}

/// PCI Firmware 3.3, section 4.1.2: all buses of segment 0.
fn write_mcfg(room: &mut Room<'_>, base: u32) -> Option<()> {
    room.quad(0)?;
    room.quad(base.into())?;
    room.put(&[0, 0, 0, 0xff])?;
    room.double(0)
}
