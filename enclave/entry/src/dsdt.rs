//! The image's DSDT, in AML (ACPI 6.5, chapter 20): a PCI bus, what is reserved for its configuration, a TPM, and the state
//! in which the machine is off. No method, nothing that runs. Interrupts are messages (MSI): no line is routed.

use crate::{
    presented::Presented,
    room::Room,
    space::{EXPRESS_BYTES, Window, Windows},
};

/// Enough for what is written here; the length of a package has twelve bits (section 20.2.4).
const PACKAGE_BYTES_MAX: usize = 1 << 12;
/// `EISAID("PNP0A08")`, PCI Express; `PNP0A03`, PCI; `PNP0C02`, what is reserved.
const PCI_EXPRESS: [u8; 4] = [0x41, 0xd0, 0x0a, 0x08];
const PCI: [u8; 4] = [0x41, 0xd0, 0x0a, 0x03];
const RESERVED: [u8; 4] = [0x41, 0xd0, 0x0c, 0x02];
/// The TPM's five localities (TCG PC Client Platform TPM Profile 1.05, section 6.5.2).
const TPM: u32 = 0xfed4_0000;
const TPM_BYTES: u32 = 0x5000;

/// The definition block behind the table's header.
pub(crate) fn write(room: &mut Room<'_>, windows: &Windows, presented: &Presented<'_>) -> Option<()> {
    // Name (_S5, Package () { 0, 0, 0, 0 }): what PM1 wants for off, on both chipsets.
    room.put(b"\x08_S5_\x12\x06\x04\0\0\0\0")?;
    package(room, b"\x10", b"\\_SB_", |room| {
        package(room, b"\x5b\x82", b"PCI0", |room| {
            identity(room, b"_HID", PCI_EXPRESS)?;
            identity(room, b"_CID", PCI)?;
            room.put(b"\x08_UID\0")?;
            resources(room, |room| {
                // WordBusNumber: buses 0 to 255.
                room.put(b"\x88\x0d\0\x02\x0c\0\0\0\0\0\xff\0\0\0\0\x01")?;
                // IO (Decode16, 0xcf8, 0xcf8, 1, 8): the ports by which PCI is configured.
                room.put(b"\x47\x01\xf8\x0c\xf8\x0c\x01\x08")?;
                ports(room, 0, 0x0cf7)?;
                ports(room, 0x0d00, 0xffff)?;
                for window in [windows.before, windows.behind].into_iter().flatten() {
                    addresses_32(room, window)?;
                }
                windows.high.map_or(Some(()), |window| addresses_64(room, window))
            })
        })?;
        if let Some(express) = presented.express {
            package(room, b"\x5b\x82", b"CFGS", |room| {
                identity(room, b"_HID", RESERVED)?;
                resources(room, |room| fixed(room, express, EXPRESS_BYTES))
            })?;
        }
        if presented.tpm.is_none() {
            return Some(());
        }
        package(room, b"\x5b\x82", b"TPM_", |room| {
            // Name (_HID, "MSFT0101"): TCG ACPI Specification 1.3, section 9.
            room.put(b"\x08_HID\x0dMSFT0101\0")?;
            resources(room, |room| fixed(room, TPM, TPM_BYTES))
        })
    })
}

/// Memory32Fixed (ReadWrite, first, bytes)
fn fixed(room: &mut Room<'_>, first: u32, bytes: u32) -> Option<()> {
    room.put(b"\x86\x09\0\x01")?;
    room.double(first)?;
    room.double(bytes)
}

/// An operation whose operands are a name and a list, with its length before them.
fn package(
    room: &mut Room<'_>,
    operation: &[u8],
    name: &[u8],
    contents: impl FnOnce(&mut Room<'_>) -> Option<()>,
) -> Option<()> {
    room.put(operation)?;
    let at = room.written();
    room.put(&[0, 0])?;
    room.put(name)?;
    contents(room)?;
    let bytes = room.written().checked_sub(at)?;
    if bytes >= PACKAGE_BYTES_MAX {
        return None;
    }
    // Two bytes: the lower four bits beside the number of bytes that follow, then the others.
    let [low, high] = u16::try_from(bytes).ok()?.to_le_bytes();
    room.change(at, &[0x40 | low & 0xf, low >> 4 | high << 4])
}

/// Name (NAME, EISAID)
fn identity(room: &mut Room<'_>, name: &[u8; 4], id: [u8; 4]) -> Option<()> {
    room.byte(0x08)?;
    room.put(name)?;
    room.byte(0x0c)?;
    room.put(&id)
}

/// Name (_CRS, ResourceTemplate () { ... }): a buffer that says its size twice.
fn resources(room: &mut Room<'_>, contents: impl FnOnce(&mut Room<'_>) -> Option<()>) -> Option<()> {
    room.put(b"\x08_CRS")?;
    let mut size_at = 0;
    package(room, b"\x11", b"", |room| {
        room.byte(0x0b)?; // WordPrefix
        size_at = room.written();
        room.word(0)?;
        contents(room)?;
        room.put(b"\x79\0") // end, without a checksum
    })?;
    let bytes = room.written().checked_sub(size_at.checked_add(2)?)?;
    room.change(size_at, &u16::try_from(bytes).ok()?.to_le_bytes())
}

/// WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange)
fn ports(room: &mut Room<'_>, first: u16, last: u16) -> Option<()> {
    room.put(b"\x88\x0d\0\x01\x0c\x03")?;
    for value in [0, first, last, 0] {
        room.word(value)?;
    }
    room.word(last.checked_sub(first)?.checked_add(1)?)
}

/// DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite)
fn addresses_32(room: &mut Room<'_>, window: Window) -> Option<()> {
    room.put(b"\x87\x17\0\0\x0c\x01")?;
    for value in [0, window.first, window.last, 0, window.bytes()] {
        room.double(u32::try_from(value).ok()?)?;
    }
    Some(())
}

/// QWordMemory, likewise.
fn addresses_64(room: &mut Room<'_>, window: Window) -> Option<()> {
    room.put(b"\x8a\x2b\0\0\x0c\x01")?;
    for value in [0, window.first, window.last, 0, window.bytes()] {
        room.quad(value)?;
    }
    Some(())
}
