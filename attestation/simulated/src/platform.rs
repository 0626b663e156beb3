//! The simulated platform (skeleton).
use std::path::Path;

use attestation::{Endorsements, PlatformTag, ReportData, UnixTime};
use attester::{Attester, AttesterError, Collected};

use crate::SimulatedError;

/// Which security processor is imitated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// AMD SEV-SNP.
    Snp,
    /// Intel TDX.
    Tdx,
}

impl Flavor {
    /// `snp` or `tdx`, as commands write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Flavor::Snp => "snp",
            Flavor::Tdx => "tdx",
        }
    }

    /// The flavor with this text.
    pub fn from_text(text: &str) -> Option<Self> {
        [Flavor::Snp, Flavor::Tdx].into_iter().find(|flavor| flavor.as_str() == text)
    }

    /// The tag of this flavor's evidence.
    pub const fn platform(self) -> PlatformTag {
        match self {
            Flavor::Snp => PlatformTag::SimulatedAmdSevSnp,
            Flavor::Tdx => PlatformTag::SimulatedIntelTdx,
        }
    }
}

/// A manufacturer and one machine of each flavor.
pub struct Platform {}

impl Platform {
    /// Makes new keys, certificates and collateral, valid for `validity_seconds` from `now`.
    pub fn manufacture(_now: UnixTime, _validity_seconds: u64) -> Result<Self, SimulatedError> {
        todo!()
    }

    /// Saves to `folder`; private keys are readable by their owner only (mode 0600).
    pub fn save(&self, _folder: &Path) -> Result<(), SimulatedError> {
        todo!()
    }

    /// Loads what [`Platform::save`] wrote.
    pub fn load(_folder: &Path) -> Result<Self, SimulatedError> {
        todo!()
    }

    /// Publishes revocation lists and collateral anew, as a manufacturer does every month.
    pub fn renew(&mut self, _now: UnixTime, _validity_seconds: u64) -> Result<(), SimulatedError> {
        todo!()
    }

    /// What the manufacturer publishes about the machine of this flavor.
    pub fn endorsements(&self, _flavor: Flavor) -> Endorsements {
        todo!()
    }

    /// A security processor that has launched what `launch_measurement` says.
    pub fn attester(&self, _flavor: Flavor, _launch_measurement: [u8; 48], _host_data: [u8; 32]) -> SimulatedAttester {
        todo!()
    }

    /// The part of an appraisal policy that accepts this platform's root and this measurement:
    /// one table, `[danger.simulated.snp]` or `[danger.simulated.tdx]`.
    pub fn policy_fragment(&self, _flavor: Flavor, _launch_measurement: &[u8; 48]) -> String {
        todo!()
    }
}

/// Signs evidence of one launch.
pub struct SimulatedAttester {}

impl Attester for SimulatedAttester {
    fn platform(&self) -> PlatformTag {
        todo!()
    }

    fn evidence(&self, _report_data: &ReportData) -> Result<Collected, AttesterError> {
        todo!()
    }
}
