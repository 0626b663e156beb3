//! Collects Evidence inside a confidential VM.
//!
//! An [`Attester`] is handed the 64 bytes that [`attestation::report_data`] computed and returns
//! what the security processor signed. It decides nothing.
#![forbid(unsafe_code)]

mod certificate_table;
mod error;
pub mod tsm;

use attestation::{Endorsements, PlatformTag, ReportData};

pub use error::AttesterError;

/// Collects evidence of one platform.
pub trait Attester: Send + Sync {
    /// What kind of evidence this collects.
    fn platform(&self) -> PlatformTag;

    /// Evidence that commits to `report_data`.
    fn evidence(&self, report_data: &ReportData) -> Result<Collected, AttesterError>;
}

/// What was collected. All of it came through the host's hands and is unchecked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// The raw evidence.
    pub evidence: Vec<u8>,
    /// The event log behind run-time measurement registers.
    pub event_log: Option<Vec<u8>>,
    /// Endorsements that the platform handed over together with the evidence.
    pub endorsements: Endorsements,
}
