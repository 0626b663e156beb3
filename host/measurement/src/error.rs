//! Why no measurement could be predicted.

use core::fmt;

/// A fault of the inputs, named by the input that has it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// The bytes are not the structure that they should be.
    #[error("{part}: {reason}")]
    Malformed {
        /// Which input.
        part: Part,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An input is longer than its bound.
    #[error("{part}: {bytes} bytes, and at most {bytes_max} are read")]
    TooLong {
        /// Which input.
        part: Part,
        /// Its length.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// The firmware lacks what this launch needs.
    #[error("the firmware has no {0}")]
    Missing(Part),
    /// Well-formed, but what would be measured is not known or not the same everywhere.
    #[error("{part}: {reason}")]
    Unsupported {
        /// Which input.
        part: Part,
        /// Why it is refused.
        reason: &'static str,
    },
    /// A signature of an ID block does not verify.
    #[error("{0}: the signature does not verify")]
    Signature(Part),
}

/// The inputs, by the names that their specifications give them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// The firmware image as a whole.
    Firmware,
    /// OVMF's table of GUIDed entries at the end of the image.
    FooterTable,
    /// The SEV metadata that the table points to.
    SevMetadata,
    /// The SEV-ES reset block: where application processors start.
    ResetBlock,
    /// The place of the kernel hashes table.
    KernelHashes,
    /// The TDX metadata that the table points to.
    TdxMetadata,
    /// The configuration volume (CFV).
    ConfigurationVolume,
    /// The kernel.
    Kernel,
    /// The initrd.
    Initrd,
    /// The kernel command line.
    CommandLine,
    /// A PE/COFF image.
    PortableExecutable,
    /// A unified kernel image.
    UnifiedKernelImage,
    /// A disk that boots.
    Disk,
    /// The virtual processors.
    Processors,
    /// The memory of the machine.
    Memory,
    /// An SNP ID block.
    IdBlock,
    /// An SNP ID authentication structure.
    IdAuth,
    /// A signing key.
    SigningKey,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Firmware => "firmware",
            Self::FooterTable => "table of GUIDed entries",
            Self::SevMetadata => "SEV metadata",
            Self::ResetBlock => "SEV-ES reset block",
            Self::KernelHashes => "SNP kernel hashes section",
            Self::TdxMetadata => "TDX metadata",
            Self::ConfigurationVolume => "configuration volume",
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
            Self::CommandLine => "command line",
            Self::PortableExecutable => "PE image",
            Self::UnifiedKernelImage => "unified kernel image",
            Self::Disk => "disk",
            Self::Processors => "virtual processors",
            Self::Memory => "memory",
            Self::IdBlock => "ID block",
            Self::IdAuth => "ID authentication",
            Self::SigningKey => "signing key",
        })
    }
}

impl MeasureError {
    /// Stable code for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed",
            Self::TooLong { .. } => "too-long",
            Self::Missing(_) => "missing",
            Self::Unsupported { .. } => "unsupported",
            Self::Signature(_) => "signature",
        }
    }

    /// What the person who measures can do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Malformed { part, .. } | Self::TooLong { part, .. } => match part {
                Part::CommandLine => "write the command line as the launcher passes it, without line breaks",
                Part::Processors => "name a QEMU CPU model, as in --vcpu-type EPYC-Milan",
                _ => "check that the file is the one that is launched, and whole",
            },
            Self::Missing(Part::KernelHashes) => {
                "direct kernel boot needs OVMF with SNP kernel hashes: AmdSevX64, or edk2 of 2026.08 and later"
            }
            Self::Missing(_) => "use an OVMF build for this kind of machine",
            Self::Unsupported { .. } => "change the input so that it is measured alike everywhere",
            Self::Signature(_) => "make the ID block again with the keys at hand",
        }
    }

    pub(crate) fn malformed(part: Part, reason: &'static str) -> Self {
        Self::Malformed { part, reason }
    }

    pub(crate) fn unsupported(part: Part, reason: &'static str) -> Self {
        Self::Unsupported { part, reason }
    }

    pub(crate) fn bound(part: Part, bytes: usize, bytes_max: usize) -> Result<(), Self> {
        if bytes > bytes_max {
            return Err(Self::TooLong {
                part,
                bytes,
                bytes_max,
            });
        }
        Ok(())
    }
}
