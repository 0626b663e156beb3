//! The entry: firmware starts it where it would start the kernel (UEFI 2.10, section 4.1), and it goes on to the kernel,
//! or shows why not and switches off.

// UNSAFETY: firmware is called through pointers that it hands over, and memory is read where it says that tables stand.
// Firmware is measured; what the host wrote is read through `Memory` alone, which copies.
#![allow(unsafe_code, reason = "firmware is called through its own pointers")]

use core::{
    arch::{asm, global_asm, x86_64::__cpuid},
    cell::Cell,
    ffi::c_void,
    ptr, slice,
};

use crate::{
    Memory, Refusal,
    machine::Machine,
    presented::{PROCESSORS_MAX, Presented},
    space::{MemoryEnds, Windows},
    tables,
    whose::{Processor, Tables},
};

// `displacement` is written by adyton-image: from `entry` to where the kernel's file began before. Firmware's arguments
// are kept for the kernel, which sees its stack as it would have.
global_asm!(
    ".section .text.entry, \"ax\"",
    ".global entry",
    "entry:",
    "    jmp 2f",
    "    .balign 8",
    "displacement:",
    "    .quad 0",
    "2:",
    "    push rcx",
    "    push rdx",
    "    sub rsp, 40", // the callee's shadow space, and alignment
    "    mov rcx, rdx",
    "    call {replace}",
    "    add rsp, 40",
    "    pop rdx",
    "    pop rcx",
    "    lea rax, [rip + entry]",
    "    add rax, [rip + displacement]",
    "    jmp rax",
    replace = sym replace,
);

type Status = usize;
const SUCCESS: Status = 0;
const PAGE: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
struct Guid(u32, u16, u16, [u8; 8]);

/// Section 4.6: the root pointers of ACPI 2.0 and 1.0, and of SMBIOS in its two forms, which the host writes as well.
const ACPI_20: Guid = Guid(
    0x8868_e871,
    0xe4f1,
    0x11d3,
    [0xbc, 0x22, 0, 0x80, 0xc7, 0x3c, 0x88, 0x81],
);
const ACPI_10: Guid = Guid(
    0xeb9d_2d30,
    0x2d88,
    0x11d3,
    [0x9a, 0x16, 0, 0x90, 0x27, 0x3f, 0xc1, 0x4d],
);
const SMBIOS: Guid = Guid(
    0xeb9d_2d31,
    0x2d88,
    0x11d3,
    [0x9a, 0x16, 0, 0x90, 0x27, 0x3f, 0xc1, 0x4d],
);
const SMBIOS_3: Guid = Guid(
    0xf2fd_1544,
    0x9794,
    0x4a2c,
    [0x99, 0x2e, 0xe5, 0xbb, 0xcf, 0x20, 0xe3, 0x94],
);

/// EFI_SYSTEM_TABLE (section 4.3).
#[repr(C)]
struct SystemTable {
    _header: [u64; 3],
    _vendor: [u64; 2],
    _input: [u64; 2],
    _output_handle: u64,
    output: *const Output,
    _error: [u64; 2],
    runtime: *const RuntimeServices,
    boot: *const BootServices,
    // Firmware changes these two while we hold a reference.
    entries: Cell<usize>,
    configuration: Cell<*const Configuration>,
}

/// EFI_CONFIGURATION_TABLE (section 4.6).
#[repr(C)]
struct Configuration {
    vendor: Guid,
    table: u64,
}

/// EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL (section 12.4), as far as it is used.
#[repr(C)]
struct Output {
    _reset: usize,
    write: extern "efiapi" fn(*const Output, *const u16) -> Status,
}

/// EFI_RUNTIME_SERVICES (section 4.5), as far as it is used.
#[repr(C)]
struct RuntimeServices {
    _header: [u64; 3],
    _others: [usize; 10],
    reset: extern "efiapi" fn(u32, Status, usize, *const c_void),
}

/// EFI_BOOT_SERVICES (section 4.4), as far as it is used.
#[repr(C)]
struct BootServices {
    _header: [u64; 3],
    _priority: [usize; 2],
    allocate_pages: extern "efiapi" fn(u32, u32, usize, *mut u64) -> Status,
    _free_pages: usize,
    memory_map: extern "efiapi" fn(*mut usize, *mut u8, *mut usize, *mut usize, *mut u32) -> Status,
    _others: [usize; 16],
    install_configuration: extern "efiapi" fn(*const Guid, *const c_void) -> Status,
}

/// EfiACPIReclaimMemory and EfiLoaderData (section 7.2.1): kept for the kernel, and of no more use to it.
const ACPI_RECLAIM: u32 = 9;
const LOADER_DATA: u32 = 2;
const ANY_PAGES: u32 = 0;
const SHUTDOWN: u32 = 2;

/// What the assembly above calls: the system table of firmware, and nothing comes back but the machine as it should be.
extern "efiapi" fn replace(system: *const SystemTable) {
    // SAFETY: firmware calls an entry with its system table (section 4.1), whose parts live until boot services end.
    let system = unsafe { &*system };
    if processor().tables() == Tables::Machine {
        return;
    }
    if let Err(refusal) = try_replace(system) {
        refuse(system, refusal);
    }
}

fn try_replace(system: &SystemTable) -> Result<(), Refusal> {
    // SAFETY: as above.
    let boot = unsafe { &*system.boot };
    let root = find(system, ACPI_20).ok_or(Refusal("the host presents no ACPI tables"))?;
    let ids = pages_of(boot, LOADER_DATA, PROCESSORS_MAX)?;
    let presented = Presented::read(&Mapped, root, ids)?;
    let memory = memory_ends(boot, presented.machine)?;
    let windows = Windows::beside(memory, presented.express, address_bits());

    let room: &mut [u8] = pages_of(boot, ACPI_RECLAIM, tables::ROOM_BYTES)?;
    let root = room.as_ptr();
    tables::write(root.expose_provenance() as u64, room, &presented, &windows)?;
    install(boot, &ACPI_20, root.cast())?;
    for other in [ACPI_10, SMBIOS, SMBIOS_3] {
        if find(system, other).is_some() {
            install(boot, &other, ptr::null())?;
        }
    }
    Ok(())
}

/// The table that firmware knows by this name.
fn find(system: &SystemTable, name: Guid) -> Option<u64> {
    (0..system.entries.get()).find_map(|index| {
        // SAFETY: firmware has `entries` of them (section 4.6).
        let entry = unsafe { &*system.configuration.get().add(index) };
        (entry.vendor == name).then_some(entry.table)
    })
}

const NO_MEMORY: Refusal = Refusal("firmware gives no memory");

/// A number.
trait Number {}
impl Number for u8 {}
impl Number for u32 {}

/// Whole pages for so many numbers, which nothing else has.
fn pages_of<T: Number>(boot: &BootServices, kind: u32, count: usize) -> Result<&'static mut [T], Refusal> {
    let bytes = count.checked_mul(size_of::<T>()).ok_or(NO_MEMORY)?;
    let mut place = 0;
    if (boot.allocate_pages)(ANY_PAGES, kind, bytes.div_ceil(PAGE), &raw mut place) != SUCCESS {
        return Err(NO_MEMORY);
    }
    let start = usize::try_from(place).ok().filter(|place| *place > 0);
    let start = ptr::with_exposed_provenance_mut(start.ok_or(NO_MEMORY)?);
    // SAFETY: firmware gave these pages to us alone and maps all memory where it is (section 2.3.4); nobody frees them. All
    // bits make numbers.
    Ok(unsafe { slice::from_raw_parts_mut(start, count) })
}

fn install(boot: &BootServices, name: &Guid, table: *const c_void) -> Result<(), Refusal> {
    match (boot.install_configuration)(ptr::from_ref(name), table) {
        SUCCESS => Ok(()),
        _ => Err(Refusal("firmware does not take the tables of the image")),
    }
}

/// Where memory ends, by firmware's map (section 7.2.3): a descriptor is a kind, an address, pages and attributes.
fn memory_ends(boot: &BootServices, machine: Machine) -> Result<MemoryEnds, Refusal> {
    const MAP_BYTES: usize = 128 << 10;
    let map: &mut [u8] = pages_of(boot, LOADER_DATA, MAP_BYTES)?;
    let (mut bytes, mut key, mut stride, mut version) = (map.len(), 0, 0, 0);
    let status = (boot.memory_map)(
        &raw mut bytes,
        map.as_mut_ptr(),
        &raw mut key,
        &raw mut stride,
        &raw mut version,
    );
    let no_map = Refusal("firmware has no map of memory");
    if status != SUCCESS || stride < 40 {
        return Err(no_map);
    }
    let mut ends = MemoryEnds::of(machine);
    let descriptors = map.get(..bytes).ok_or(no_map)?.chunks_exact(stride);
    for descriptor in descriptors {
        let field = |at: usize| Some(u64::from_le_bytes(*descriptor.get(at..)?.first_chunk()?));
        let (kind, start, pages) = (
            field(0).ok_or(no_map)?,
            field(8).ok_or(no_map)?,
            field(24).ok_or(no_map)?,
        );
        ends.add(
            (kind & 0xffff_ffff) as u32,
            start,
            pages.saturating_mul(PAGE as u64),
        );
    }
    Ok(ends)
}

/// What the processor says of itself. On SEV-SNP firmware answers CPUID from a page that the security processor checked.
fn processor() -> Processor {
    let named = |leaf: u32, [b, c, d]: [u32; 3]| {
        let found = __cpuid(leaf);
        [found.ebx, found.ecx, found.edx] == [b, c, d]
    };
    let word = u32::from_le_bytes;
    Processor {
        trust_domain: __cpuid(0).eax >= 0x21 && named(0x21, [word(*b"Inte"), word(*b"    "), word(*b"lTDX")]),
        sev_status: sev_status(),
        // Bit 31: there is a hypervisor, and the leaf of its name.
        hyper_v: __cpuid(1).ecx >> 31 == 1
            && named(0x4000_0000, [word(*b"Micr"), word(*b"osof"), word(*b"t Hv")]),
    }
}

/// The register of that name, where CPUID says that there is SEV (AMD64 Architecture Programmer's Manual, volume 3, E.4.17).
fn sev_status() -> Option<u64> {
    const FEATURES: u32 = 0x8000_001f;
    const REGISTER: u32 = 0xc001_0131;
    if __cpuid(0x8000_0000).eax < FEATURES || __cpuid(FEATURES).eax & 0b10 == 0 {
        return None;
    }
    let (low, high): (u32, u32);
    // SAFETY: the register is there (above), firmware runs where registers can be read, and reading it changes nothing.
    unsafe {
        asm!("rdmsr", in("ecx") REGISTER, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    Some(u64::from(high) << 32 | u64::from(low))
}

/// How many bits the processor's addresses have (AMD64 Architecture Programmer's Manual, volume 3, E.4.7).
fn address_bits() -> u32 {
    __cpuid(0x8000_0008).eax & 0xff
}

/// All memory, which firmware maps where it is (section 2.3.4).
struct Mapped;

impl Memory for Mapped {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Option<()> {
        let address = usize::try_from(address).ok().filter(|address| *address > 0)?;
        address.checked_add(buffer.len())?;
        let start: *const u8 = ptr::with_exposed_provenance(address);
        for (index, byte) in buffer.iter_mut().enumerate() {
            // SAFETY: the end of what is read does not wrap. Where firmware maps nothing this faults, and the boot ends.
            *byte = unsafe { start.add(index).read_volatile() };
        }
        Some(())
    }
}

/// Shows why, and switches off.
fn refuse(system: &SystemTable, refusal: Refusal) -> ! {
    say(system, "adyton: ");
    say(system, refusal.0);
    say(system, "\r\n");
    // SAFETY: firmware's runtime services live as long as the machine.
    let runtime = unsafe { &*system.runtime };
    (runtime.reset)(SHUTDOWN, SUCCESS, 0, ptr::null());
    loop {
        core::hint::spin_loop();
    }
}

/// Writes text of ASCII.
fn say(system: &SystemTable, text: &str) {
    for byte in text.bytes() {
        let character = [u16::from(byte), 0];
        // SAFETY: firmware's console, if it has one, lives until boot services end.
        if let Some(output) = unsafe { system.output.as_ref() } {
            (output.write)(ptr::from_ref(output), character.as_ptr());
        }
    }
}
