//! The attester that a simulated enclave links.

use attestation::{PlatformTag, ReportData};
use attester::{Attester, AttesterError, Collected};

use crate::platform::Flavor;
use crate::snp::{self, Snp};
use crate::tdx::{self, Tdx};

/// Signs evidence of one launch. It hands over the endorsements of its machine with the evidence.
pub struct SimulatedAttester(Machine);

pub(crate) enum Machine {
    Snp(Snp, snp::Launch),
    Tdx(Tdx, tdx::Launch),
}

impl SimulatedAttester {
    pub(crate) fn new(machine: Machine) -> Self {
        Self(machine)
    }

    /// Which security processor is imitated.
    pub fn flavor(&self) -> Flavor {
        match self.0 {
            Machine::Snp(..) => Flavor::Snp,
            Machine::Tdx(..) => Flavor::Tdx,
        }
    }
}

impl Attester for SimulatedAttester {
    fn platform(&self) -> PlatformTag {
        self.flavor().platform()
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Collected, AttesterError> {
        let (evidence, endorsements) = match &self.0 {
            Machine::Snp(snp, launch) => (snp.report(launch, report_data), snp.endorsements()),
            Machine::Tdx(tdx, launch) => (tdx.quote(launch, report_data), tdx.endorsements()),
        };
        let evidence = evidence.map_err(|error| AttesterError::Simulated(error.to_string()))?;
        Ok(Collected {
            evidence,
            event_log: None,
            endorsements,
            devices: Vec::new(),
        })
    }

    fn brings_endorsements(&self) -> bool {
        true
    }
}
