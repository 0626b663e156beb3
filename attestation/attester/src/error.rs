//! Why no evidence could be collected.

use std::path::PathBuf;

use thiserror::Error;

use crate::Finding;

/// No evidence.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AttesterError {
    /// The kernel offers no attestation reports here.
    #[error("{} is not there: this is not a confidential VM, or configfs is not mounted", .0.display())]
    NotAvailable(PathBuf),
    /// configfs-tsm is there, and no security processor registered with it.
    #[error("{} has no provider", .0.display())]
    NoProvider(PathBuf),
    /// A file or a device could not be used.
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
    /// Somebody else is being served, and was after every attempt.
    #[error("{0} is busy")]
    Busy(&'static str),
    /// A file holds more than its bound, or not what it should.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The privilege level asked for is not one that this guest can have a report of.
    #[error("privilege level {asked} is outside {floor} to 3")]
    PrivilegeLevel {
        /// The level of the configuration.
        asked: u8,
        /// The most privileged level that the kernel allows.
        floor: u32,
    },
    /// A driver or the firmware behind it refused.
    #[error("{}: {reason}", path.display())]
    Device {
        /// The device file.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
    /// The TPM refused a command.
    #[error("the TPM refused {command} with code {code:#05x}")]
    TpmRefused {
        /// The command.
        command: &'static str,
        /// TPM_RC.
        code: u32,
    },
    /// The TPM answered something that the specification does not allow, or beyond a bound.
    #[error("the TPM's answer to {command}: {reason}")]
    TpmMalformed {
        /// The command.
        command: &'static str,
        /// What is wrong with the answer.
        reason: &'static str,
    },
    /// An NV index or a key of the TPM is not there.
    #[error("the TPM has no {0}")]
    TpmMissing(&'static str),
    /// The registers changed between reading and quoting, at every attempt.
    #[error("the registers of the TPM kept changing while they were quoted")]
    RegistersChanging,
    /// The paravisor did not renew its report for our report data in time.
    #[error("the paravisor's report does not settle on the report data that were written")]
    StaleReport,
    /// The cloud's metadata service failed.
    #[error("metadata service, {path}: {reason}")]
    Metadata {
        /// What was asked for.
        path: &'static str,
        /// What went wrong.
        reason: String,
    },
    /// NVIDIA's management library failed.
    #[error("NVML, {call}: {reason}")]
    Nvml {
        /// The call.
        call: &'static str,
        /// What went wrong.
        reason: String,
    },
    /// No way to collect evidence was found.
    #[error("this is not a confidential VM that is known: {}", list(.0))]
    NothingFound(Vec<Finding>),
    /// More than one kind of platform was found, or one could not be told.
    #[error("which platform this is cannot be told: {}", list(.0))]
    Ambiguous(Vec<Finding>),
    /// The software security processor could not sign.
    #[error("simulated evidence could not be made: {0}")]
    Simulated(String),
}

fn list(findings: &[Finding]) -> String {
    let each: Vec<String> = findings.iter().map(Finding::to_string).collect();
    each.join("; ")
}

impl AttesterError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            AttesterError::NotAvailable(_) => "attester-not-available",
            AttesterError::NoProvider(_) => "attester-no-provider",
            AttesterError::Io { .. } => "attester-io",
            AttesterError::UnknownProvider(_) => "attester-unknown-provider",
            AttesterError::Raced { .. } => "attester-raced",
            AttesterError::Busy(_) => "attester-busy",
            AttesterError::Malformed { .. } => "attester-malformed",
            AttesterError::PrivilegeLevel { .. } => "attester-privilege-level",
            AttesterError::Device { .. } => "attester-device",
            AttesterError::TpmRefused { .. } => "attester-tpm-refused",
            AttesterError::TpmMalformed { .. } => "attester-tpm-malformed",
            AttesterError::TpmMissing(_) => "attester-tpm-missing",
            AttesterError::RegistersChanging => "attester-registers-changing",
            AttesterError::StaleReport => "attester-stale-report",
            AttesterError::Metadata { .. } => "attester-metadata",
            AttesterError::Nvml { .. } => "attester-nvml",
            AttesterError::NothingFound(_) => "attester-nothing-found",
            AttesterError::Ambiguous(_) => "attester-ambiguous",
            AttesterError::Simulated(_) => "attester-simulated",
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            AttesterError::NotAvailable(_) | AttesterError::NothingFound(_) => {
                "run inside an SEV-SNP or TDX guest with Linux 6.7 or newer and mount configfs, or use the simulated enclave for development"
            }
            AttesterError::NoProvider(_) => "load the guest's driver: sev-guest or tdx-guest",
            AttesterError::Io { .. } => {
                "check that the process may use the file, and write below /sys/kernel/config/tsm/report"
            }
            AttesterError::UnknownProvider(_) => "this guest is of a kind that this version does not support",
            AttesterError::Raced { .. } | AttesterError::Busy(_) => {
                "try again; if it persists, another process uses the same interface"
            }
            AttesterError::Malformed { .. } => {
                "the kernel returned something unexpected; report it with the kernel version"
            }
            AttesterError::PrivilegeLevel { .. } => "leave the privilege level to the kernel's floor",
            AttesterError::Device { .. } => "see the kernel's log; the host's quoting service may be missing",
            AttesterError::TpmRefused { .. } | AttesterError::TpmMalformed { .. } => {
                "the TPM is not what this platform's vTPM should be; report the code with the platform"
            }
            AttesterError::TpmMissing(_) => "the vTPM is not provisioned as this cloud provisions it",
            AttesterError::RegistersChanging => {
                "find out what extends registers while the enclave is serving"
            }
            AttesterError::StaleReport => {
                "try again; if it persists, the paravisor does not renew its report"
            }
            AttesterError::Metadata { .. } => "check that the guest may reach 169.254.169.254",
            AttesterError::Nvml { .. } => "check the NVIDIA driver, and that confidential computing is on",
            AttesterError::Ambiguous(_) => "name the attester instead of having it detected",
            AttesterError::Simulated(_) => "manufacture the simulated platform again",
        }
    }
}
