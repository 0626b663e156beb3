//! RTMR 1 and 2 of a TD that boots a kernel directly.
//!
//! QEMU before 10.1 hands the kernel to firmware with its setup header patched (QEMU, `hw/i386/x86-common.c`; Linux,
//! `Documentation/arch/x86/boot.rst`), so that its Authenticode digest depends on the initrd's length and on memory
//! below 4 GiB. From 10.1 on, firmware that knows `etc/boot/kernel` gets the file as it is.

use sha2::{Digest, Sha384};

use super::{EXIT_BOOT_SERVICES, EXIT_BOOT_SERVICES_DONE, hand_off::low_memory};
use crate::{
    KERNEL_BYTES_MAX,
    bytes::{index_at, slice, u16_at},
    check_command_line,
    error::{MeasureError, Part},
    pe::Image,
    uki::{Events, boot_applications, kernel_inputs},
};

/// Offsets in the setup header.
const MAGIC_AT: usize = 0x202;
const VERSION_AT: usize = 0x206;
const LOADER_TYPE_AT: usize = 0x210;
const LOAD_FLAGS_AT: usize = 0x211;
const INITRD_ADDRESS_AT: usize = 0x218;
const INITRD_BYTES_AT: usize = 0x21c;
const HEAP_END_AT: usize = 0x224;
const COMMAND_LINE_AT: usize = 0x228;
const INITRD_MAX_AT: usize = 0x22c;
const EXTENDED_FLAGS_AT: usize = 0x236;

const LOADED_HIGH: u8 = 1;
const CAN_USE_HEAP: u8 = 0x80;
/// XLF_CAN_BE_LOADED_ABOVE_4G.
const ABOVE_4G: u16 = 2;
const LOADER_QEMU: u8 = 0xb0;

/// QEMU's places for the real-mode part and the command line of a kernel that is loaded high.
const REAL_MODE_ADDRESS: u32 = 0x10000;
const COMMAND_LINE_ADDRESS: u32 = 0x20000;
/// QEMU keeps this much below the end of low memory for ACPI tables.
const ACPI_BYTES: u64 = 0x28000;
/// Where an initrd ends at most when an old kernel does not say.
const INITRD_MAX_DEFAULT: u64 = 0x37ff_ffff;

/// The kernel that firmware loads.
#[derive(Debug, Clone, Copy)]
pub enum Kernel<'a> {
    /// The file as it is.
    Unpatched(&'a [u8]),
    /// The file with its setup header patched by QEMU.
    Patched {
        /// The file.
        file: &'a [u8],
        /// Bytes of the initrd; zero without one.
        initrd_bytes: u64,
        /// Memory of the machine.
        memory_bytes: u64,
    },
}

/// The events of RTMR 1, as digests.
///
/// # Errors
/// [`MeasureError`] when the kernel is not a PE image of Linux, or memory is too small for its initrd.
pub fn kernel_events(kernel: Kernel<'_>) -> Result<Events, MeasureError> {
    let digest = match kernel {
        Kernel::Unpatched(file) => Image::parse(file)?.authenticode::<Sha384>(),
        Kernel::Patched {
            file,
            initrd_bytes,
            memory_bytes,
        } => Image::parse(&patched(file, initrd_bytes, memory_bytes)?)?.authenticode::<Sha384>(),
    };
    let event = |data: &[u8]| Sha384::digest(data).to_vec();
    let action_and_separator = boot_applications::<Sha384>(&[], &[]).into_iter().take(2);
    Ok(core::iter::once(digest)
        .chain(action_and_separator)
        .chain([event(EXIT_BOOT_SERVICES), event(EXIT_BOOT_SERVICES_DONE)])
        .collect())
}

/// The events of RTMR 2, as digests: the command line, to which firmware adds the initrd's name, and the initrd.
///
/// # Errors
/// [`MeasureError`] when the command line has bytes that are read differently.
pub fn command_line_events(command_line: &str, initrd: Option<&[u8]>) -> Result<Events, MeasureError> {
    check_command_line(command_line)?;
    let mut line = command_line.to_owned();
    if initrd.is_some() {
        line.push_str(" initrd=initrd");
    }
    let initrd = initrd.map(|initrd| Sha384::digest(initrd).to_vec());
    Ok(kernel_inputs::<Sha384>(&line, initrd.as_deref()))
}

fn patched(file: &[u8], initrd_bytes: u64, memory_bytes: u64) -> Result<Vec<u8>, MeasureError> {
    MeasureError::bound(Part::Kernel, file.len(), KERNEL_BYTES_MAX)?;
    let malformed = |reason| MeasureError::malformed(Part::Kernel, reason);
    let cut = || malformed("cut");
    if slice(file, MAGIC_AT, 4) != Some(b"HdrS") || file.len() < 0x1000 {
        return Err(malformed("not a Linux kernel: it has no setup header"));
    }
    let version = u16_at(file, VERSION_AT).ok_or_else(cut)?;
    let flags = *file.get(LOAD_FLAGS_AT).ok_or_else(cut)?;
    // Protocol 2.12 is Linux 3.8, of 2013; every kernel with an EFI stub worth measuring is newer.
    if version < 0x20c || flags & LOADED_HIGH == 0 {
        return Err(MeasureError::unsupported(
            Part::Kernel,
            "its boot protocol is older than 2.12",
        ));
    }
    let mut kernel = file.to_vec();
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(field) = kernel.get_mut(at..at + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    };
    put(LOADER_TYPE_AT, &[LOADER_QEMU]);
    put(LOAD_FLAGS_AT, &[flags | CAN_USE_HEAP]);
    let heap_end = (COMMAND_LINE_ADDRESS - REAL_MODE_ADDRESS - 0x200) as u16;
    put(HEAP_END_AT, &heap_end.to_le_bytes());
    put(COMMAND_LINE_AT, &COMMAND_LINE_ADDRESS.to_le_bytes());
    if initrd_bytes > 0 {
        let extended = u16_at(file, EXTENDED_FLAGS_AT).ok_or_else(cut)?;
        let stated = match index_at(file, INITRD_MAX_AT).ok_or_else(cut)? {
            _ if extended & ABOVE_4G != 0 => u64::from(u32::MAX),
            0 => INITRD_MAX_DEFAULT,
            stated => stated as u64,
        };
        let too_small = || MeasureError::malformed(Part::Memory, "too small for the initrd");
        let available = low_memory(memory_bytes)
            .checked_sub(ACPI_BYTES + 1)
            .ok_or_else(too_small)?;
        let end = stated.min(available);
        let address = end.checked_sub(initrd_bytes).ok_or_else(too_small)? & !0xfff;
        let fields = (u32::try_from(address), u32::try_from(initrd_bytes));
        let (Ok(address), Ok(bytes)) = fields else {
            return Err(too_small());
        };
        put(INITRD_ADDRESS_AT, &address.to_le_bytes());
        put(INITRD_BYTES_AT, &bytes.to_le_bytes());
    }
    Ok(kernel)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::u32_at;

    fn kernel(flags: u16, initrd_max: u32) -> Vec<u8> {
        let mut file = vec![0; 0x1000];
        file[MAGIC_AT..][..4].copy_from_slice(b"HdrS");
        file[VERSION_AT..][..2].copy_from_slice(&0x20f_u16.to_le_bytes());
        file[LOAD_FLAGS_AT] = LOADED_HIGH;
        file[EXTENDED_FLAGS_AT..][..2].copy_from_slice(&flags.to_le_bytes());
        file[INITRD_MAX_AT..][..4].copy_from_slice(&initrd_max.to_le_bytes());
        file
    }

    fn initrd_address(file: &[u8], initrd_bytes: u64, memory_bytes: u64) -> Option<u32> {
        u32_at(
            &patched(file, initrd_bytes, memory_bytes).ok()?,
            INITRD_ADDRESS_AT,
        )
    }

    #[test]
    fn the_initrd_stands_below_the_acpi_tables_of_low_memory() {
        let file = kernel(ABOVE_4G, 0x7fff_ffff);
        let mib = 1 << 20;
        let below = |end: u64| Some(((end - 0x28000 - 1 - mib) & !0xfff) as u32);
        assert_eq!(initrd_address(&file, mib, 1 << 30), below(1 << 30));
        assert_eq!(
            initrd_address(&file, mib, 0xb000_0000 - mib),
            below(0xb000_0000 - mib)
        );
        assert_eq!(initrd_address(&file, mib, 0xb000_0000), below(0x8000_0000));
        assert_eq!(initrd_address(&file, mib, 64 << 30), below(0x8000_0000));
        // An older kernel says how high it may stand.
        let old = kernel(0, 0x1fff_ffff);
        assert_eq!(
            initrd_address(&old, mib, 4 << 30),
            Some(((0x1fff_ffff - mib) & !0xfff) as u32)
        );
        assert_eq!(initrd_address(&file, 2 << 30, 2 << 30), None, "too large");
        assert_eq!(initrd_address(&file, mib, 1 << 16), None, "too little memory");
    }

    #[test]
    fn the_header_is_patched_as_qemu_does() {
        let file = kernel(ABOVE_4G, 0);
        let patched = patched(&file, 0, 1 << 30).expect("a kernel");
        let changed: Vec<_> = (0..file.len()).filter(|at| file[*at] != patched[*at]).collect();
        assert_eq!(changed, [0x210, 0x211, 0x225, 0x22a]);
        assert_eq!(patched[0x210..0x212], [0xb0, 0x81]);
        assert_eq!(u16_at(&patched, HEAP_END_AT), Some(0xfe00));
    }

    #[test]
    fn what_is_no_kernel_is_refused() {
        let file = kernel(0, 0);
        for (at, byte) in [(MAGIC_AT, 0), (VERSION_AT, 0x0b), (LOAD_FLAGS_AT, 0)] {
            let mut other = file.clone();
            other[at] = byte;
            assert!(patched(&other, 0, 1 << 30).is_err(), "{at:#x}");
        }
        assert!(patched(&file[..0xfff], 0, 1 << 30).is_err());
        assert!(command_line_events("a\nb", None).is_err());
        assert_ne!(
            command_line_events("a", None),
            command_line_events("a", Some(&[]))
        );
    }
}
