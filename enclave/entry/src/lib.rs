//! What runs between firmware and kernel: it puts ACPI tables of the image's own in place of the host's.
//!
//! SEV-SNP measures no ACPI table, and the bytecode in them (AML) runs in the kernel: a host that writes a table runs code
//! in the guest. Here nothing that the host wrote is kept. Of its tables this reads which processors and chipset there are,
//! where PCI Express is configured and how a TPM is spoken to, within bounds. Where what the processor signs covers the
//! machine's tables (TDX, Azure's paravisor), they stay.
//! This code is a section of the kernel's file (`adyton-image` puts it there) and measured with it.
//!
//! | file | what |
//! |---|---|
//! | [`whose`] | which machine keeps its tables |
//! | [`machine`] | the chipsets that there are tables for |
//! | [`presented`] | what the host's tables may say: processors, chipset, the window of PCI Express, a TPM |
//! | [`space`] | which addresses PCI devices may have: what is not memory |
//! | [`dsdt`] | the only bytecode: a PCI bus, a TPM, and how to switch off |
//! | [`tables`] | all tables, as the kernel finds them |
//! | `firmware` | the entry: calls of UEFI, then the kernel |
//!
//! No allocation, no panic, no data that needs relocation: `entry.ld` refuses to link any.

#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(feature = "firmware"), forbid(unsafe_code))]

pub mod dsdt;
#[cfg(feature = "firmware")]
mod firmware;
pub mod machine;
pub mod presented;
mod room;
pub mod space;
pub mod tables;
pub mod whose;

/// Why the boot ends here: shown on the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal(pub &'static str);

/// Physical memory, as far as firmware maps it.
pub trait Memory {
    /// Fills `buffer` from `address`; `None` where there is nothing to read.
    fn read(&self, address: u64, buffer: &mut [u8]) -> Option<()>;
}
