//! The Linux configfs-tsm interface (skeleton).
use attestation::{PlatformTag, ReportData};

use crate::{Attester, AttesterError, Collected};

/// Collects from configfs-tsm.
#[derive(Debug)]
pub struct Tsm {}

impl Tsm {
    /// Opens the interface at its usual place.
    pub fn open() -> Result<Self, AttesterError> {
        todo!()
    }
}

impl Attester for Tsm {
    fn platform(&self) -> PlatformTag {
        todo!()
    }

    fn evidence(&self, _report_data: &ReportData) -> Result<Collected, AttesterError> {
        todo!()
    }
}
