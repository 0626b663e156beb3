//! MRTD and the run-time measurement registers of a TD under QEMU and OVMF.
//!
//! | register | holds | needs |
//! |---|---|---|
//! | MRTD | the firmware's pages and where they are ([`Firmware::mrtd`]) | firmware |
//! | RTMR 0 | hand-off block, configuration volume, Secure Boot variables, ACPI, boot variables ([`PlatformEvents`]) | firmware, memory size, the three ACPI blobs of QEMU |
//! | RTMR 1 | kernel or unified kernel image, boot actions ([`kernel_events`], [`crate::uki`]) | kernel; initrd and memory size where QEMU patches it |
//! | RTMR 2 | command line and initrd ([`command_line_events`]) | those |
//! | RTMR 3 | nothing at boot | |
//!
//! The ACPI blobs depend on the machine's devices and QEMU's version and cannot be derived here; they are read from a
//! machine of the same shape (`/sys/firmware/qemu_fw_cfg/by_name/etc/{table-loader,acpi/rsdp,acpi/tables}/raw`). The
//! boot variables of RTMR 0 are those of edk2 before edk2-stable202505; later firmware measures others.

mod firmware;
mod hand_off;
mod kernel;
mod platform;

pub use firmware::{Firmware, PageOrder, Section, SectionKind};
pub use hand_off::hand_off_block;
pub use kernel::{Kernel, command_line_events, kernel_events};
pub(crate) use platform::secure_boot_variables;
pub use platform::{AcpiBlobs, PlatformEvents, SecureBoot};

/// Events of every boot that UEFI hands over to Linux.
pub(crate) const EXIT_BOOT_SERVICES: &[u8] = b"Exit Boot Services Invocation";
pub(crate) const EXIT_BOOT_SERVICES_DONE: &[u8] = b"Exit Boot Services Returned with Success";

/// Bound of a TD's memory: 64 TiB.
pub const MEMORY_BYTES_MAX: u64 = 64 << 40;
