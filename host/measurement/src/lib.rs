//! What a launch will be measured as (imports: nothing of ours). Bytes in, digests out: no file, clock or network.
//!
//! | module | predicts | from |
//! |---|---|---|
//! | [`snp`] | the launch digest of SEV-SNP (AMD 56860, section 8.17), ID blocks | firmware, kernel, initrd, command line, vCPUs |
//! | [`tdx`] | MRTD and RTMR 0 to 2 (Intel TDX module, TDVF design guide) | the same, and memory size, ACPI blobs, boot variables |
//! | [`uki`] | PCR 4, 9 and 11 of a measured boot | the unified kernel image alone |
//! | [`registers`] | the other PCRs of such a boot in QEMU | firmware that is known, disk |
//!
//! A prediction is as good as its inputs: they must be the bytes that the host gives to the machine. Firmware,
//! kernel and image are read as hostile input: every length is bounded, every fault is a named error, and what two
//! implementations would measure differently is refused rather than guessed.

#![forbid(unsafe_code)]

mod bytes;
mod error;
mod footer;
pub mod pe;
pub mod registers;
pub mod snp;
pub mod tdx;
pub mod uki;

pub use error::{MeasureError, Part};

/// Bound of a firmware image.
pub const FIRMWARE_BYTES_MAX: usize = 64 << 20;
/// Bound of a kernel or a unified kernel image.
pub const KERNEL_BYTES_MAX: usize = 1 << 30;
/// Bound of an initrd.
pub const INITRD_BYTES_MAX: usize = 2 << 30;
/// Bound of a kernel command line; Linux keeps 2,048 bytes on x86.
pub const COMMAND_LINE_BYTES_MAX: usize = 2047;

/// Size of the pages that SEV-SNP and TDX measure.
pub(crate) const PAGE_BYTES: usize = 4096;

/// Checks that a command line is one that every measurer reads alike.
///
/// # Errors
/// [`MeasureError::TooLong`], and [`MeasureError::Malformed`] for anything but printable ASCII.
pub(crate) fn check_command_line(text: &str) -> Result<(), MeasureError> {
    MeasureError::bound(Part::CommandLine, text.len(), COMMAND_LINE_BYTES_MAX)?;
    if text.bytes().any(|byte| !(b' '..=b'~').contains(&byte)) {
        return Err(MeasureError::malformed(
            Part::CommandLine,
            "has bytes that are not printable ASCII",
        ));
    }
    Ok(())
}
