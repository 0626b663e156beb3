//! The enclave inside a virtual machine without a TEE: evidence comes by the ways of real machines, found as there, and is
//! called what it is.
//!
//! | the host gives the machine | the collector of the release binary finds | the tag |
//! |---|---|---|
//! | a port to a SIMULATED security processor | configfs-tsm ([`configfs`]) | `simulated-amd-sev-snp` |
//! | a vTPM of a SIMULATED paravisor | an HCL report in the TPM | `simulated-azure-amd-sev-snp` |
//!
//! Both at once are two platforms, which `attester::detect` refuses. Evidence of a real machine would get the tag of a
//! simulated one here, and be refused for its signature.

use std::path::Path;

use attestation::{PlatformTag, ReportData};
use attester::{Access, Attester, AttesterError, Collected, tpm};

use crate::{configfs, processor::Processor};

/// The port of virtio-serial behind which the host's half of the processor is.
const PORT: &str = "adyton.evidence";

/// Puts the SIMULATED security processor where the kernel's driver would be. A vTPM has its driver in the kernel.
/// Without either there is no evidence.
pub(crate) fn provide_evidence() -> Result<(), &'static str> {
    match enclave::init::port(PORT) {
        Some(device) => {
            let processor = Processor::open(&device).map_err(|_| "the port of the security processor")?;
            configfs::mount(processor).map_err(|_| "the simulated configfs-tsm")
        }
        None if Path::new(tpm::DEVICE).exists() => Ok(()),
        None => Err("no port to a simulated security processor, and no vTPM"),
    }
}

/// The collector of the release binary, with the tag of a simulated platform on what it collects.
pub(crate) struct Retagged {
    attester: Box<dyn Attester>,
    platform: PlatformTag,
}

impl Retagged {
    pub(crate) fn detect() -> Result<Self, AttesterError> {
        let attester = attester::detect()?.attester;
        match attester.platform() {
            PlatformTag::AmdSevSnp => Ok(PlatformTag::SimulatedAmdSevSnp),
            PlatformTag::AzureAmdSevSnp => Ok(PlatformTag::SimulatedAzureAmdSevSnp),
            _ => Err(AttesterError::NotAvailable(Path::new(configfs::PLACE).to_owned())),
        }
        .map(|platform| Self { attester, platform })
    }
}

impl Attester for Retagged {
    fn platform(&self) -> PlatformTag {
        self.platform
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Collected, AttesterError> {
        self.attester.evidence(report_data)
    }

    /// The simulated security processor hands over everything that its manufacturer published; a paravisor does not.
    fn brings_endorsements(&self) -> bool {
        self.platform == PlatformTag::SimulatedAmdSevSnp
    }

    fn access(&self) -> Access {
        self.attester.access()
    }
}
