//! Why no evidence could be collected.

use std::path::PathBuf;

use thiserror::Error;

/// No evidence.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AttesterError {
    /// The kernel offers no attestation reports here.
    #[error("{} is not there: this is not a confidential VM, or configfs is not mounted", .0.display())]
    NotAvailable(PathBuf),
    /// A file of the entry could not be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The kernel's provider is not one that is known.
    #[error("provider {0:?} is not known; known are sev_guest and tdx_guest")]
    UnknownProvider(String),
    /// Somebody else wrote to the entry between our write and our read.
    #[error("the entry changed while it was read (generation {expected} became {found})")]
    Raced {
        /// The generation that our write should have made.
        expected: u64,
        /// The generation that was there.
        found: u64,
    },
    /// A file holds more than its bound, or not what it should.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The software security processor could not sign.
    #[error("simulated evidence could not be made: {0}")]
    Simulated(String),
}

impl AttesterError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            AttesterError::NotAvailable(_) => "attester-not-available",
            AttesterError::Io { .. } => "attester-io",
            AttesterError::UnknownProvider(_) => "attester-unknown-provider",
            AttesterError::Raced { .. } => "attester-raced",
            AttesterError::Malformed { .. } => "attester-malformed",
            AttesterError::Simulated(_) => "attester-simulated",
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            AttesterError::NotAvailable(_) => {
                "run inside an SEV-SNP or TDX guest with Linux 6.7 or newer and mount configfs, or use the simulated enclave for development"
            }
            AttesterError::Io { .. } => {
                "check that the process may write below /sys/kernel/config/tsm/report"
            }
            AttesterError::UnknownProvider(_) => "this guest is of a kind that this version does not support",
            AttesterError::Raced { .. } => "try again; if it persists, another process writes to our entry",
            AttesterError::Malformed { .. } => {
                "the kernel returned something unexpected; report it with the kernel version"
            }
            AttesterError::Simulated(_) => "manufacture the simulated platform again",
        }
    }
}
