//! Collects Evidence inside a confidential VM.
//!
//! An [`Attester`] is handed the 64 bytes that [`attestation::report_data`] computed and returns
//! what the security processor signed. It decides nothing.
//!
//! 1. [`detect`] looks at what the guest's kernel offers and returns the one attester of this
//!    machine; it refuses to choose.
//! 2. [`tsm`] asks Linux's configfs-tsm. [`sev_guest`] and [`tdx_guest`] ask the older device files.
//!    [`azure`] asks the vTPM that Azure's paravisor keeps inside the confidential VM.
//! 3. [`gce`] and [`nvidia`] collect evidence of devices of the same machine; [`WithDevices`] adds it.
//!
//! Unsafe code is denied but in two modules, which say why: an ioctl of `sev_guest`, and the calls
//! into NVIDIA's library.

mod access;
pub mod azure;
mod certificate_table;
mod detect;
mod device;
mod error;
mod event_log;
pub mod gce;
mod http;
pub mod nvidia;
mod pem;
pub mod sev_guest;
pub mod tdx_guest;
pub mod tpm;
pub mod tsm;
#[cfg(test)]
mod vectors;

use attestation::{DeviceEvidence, Endorsements, PlatformTag, ReportData};

pub use access::Access;
pub use detect::{Detected, Finding, Source, detect};
pub use device::{Device, WithDevices};
pub use error::AttesterError;

/// Collects evidence of one platform.
pub trait Attester: Send + Sync {
    /// What kind of evidence this collects.
    fn platform(&self) -> PlatformTag;

    /// Evidence that commits to `report_data`.
    fn evidence(&self, report_data: &ReportData) -> Result<Collected, AttesterError>;

    /// SHA-256 of the leaf certificate of each device whose evidence comes along, in that order: the statement
    /// lists them, so that `report_data` commits to them. None unless there are devices.
    fn device_digests(&self) -> Result<Vec<[u8; 32]>, AttesterError> {
        Ok(Vec::new())
    }

    /// Whether everything that was published about the evidence comes along, so that nobody else need be asked for it.
    fn brings_endorsements(&self) -> bool {
        false
    }

    /// What of the system collecting touches.
    fn access(&self) -> Access {
        Access::default()
    }
}

/// What was collected. All of it came through the host's hands and is unchecked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// The raw evidence.
    pub evidence: Vec<u8>,
    /// The event log behind run-time measurement registers, without the padding of its table.
    pub event_log: Option<Vec<u8>>,
    /// Endorsements that the platform handed over together with the evidence.
    pub endorsements: Endorsements,
    /// Evidence of devices that serve this machine, made for the same report data.
    pub devices: Vec<DeviceEvidence>,
}
