//! The enclave inside a virtual machine without a TEE: evidence comes through the kernel's interface as on real hardware,
//! and is called what it is.

use std::path::Path;

use attestation::{PlatformTag, ReportData};
use attester::{Access, Attester, AttesterError, Collected, tsm::Tsm};

use crate::{configfs, processor::Processor};

/// The port of virtio-serial behind which the host's half of the processor is.
const PORT: &str = "adyton.evidence";

/// Puts the SIMULATED security processor where the kernel's driver would be. Without its port there is no evidence.
pub(crate) fn provide_evidence() -> Result<(), &'static str> {
    let device = enclave::init::port(PORT).ok_or("no port to a simulated security processor")?;
    let processor = Processor::open(&device).map_err(|_| "the port of the security processor")?;
    configfs::mount(processor).map_err(|_| "the simulated configfs-tsm")
}

/// The collector of the release binary, with the tag of a simulated platform on what it collects.
pub(crate) struct Retagged(Tsm);

impl Retagged {
    pub(crate) fn open() -> Result<Self, AttesterError> {
        let tsm = Tsm::open()?;
        match tsm.platform() {
            PlatformTag::AmdSevSnp => Ok(Self(tsm)),
            _ => Err(AttesterError::NotAvailable(Path::new(configfs::PLACE).to_owned())),
        }
    }
}

impl Attester for Retagged {
    fn platform(&self) -> PlatformTag {
        PlatformTag::SimulatedAmdSevSnp
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Collected, AttesterError> {
        self.0.evidence(report_data)
    }

    fn brings_endorsements(&self) -> bool {
        true
    }

    fn access(&self) -> Access {
        self.0.access()
    }
}
