//! What somebody with the simulated keys could make: for tests of the verifier, nothing else.

use attestation::UnixTime;

use crate::certificate::Validity;
use crate::{Platform, SimulatedError};

/// The domain of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// As this crate signs.
    Simulated,
    /// As hardware signs, but under simulated keys.
    Hardware,
}

/// What the simulated manufacturers publish.
#[derive(Clone, Copy, Debug)]
pub struct Publication {
    /// Whether ASK and PCK are on the revocation lists.
    pub revoked: bool,
    /// Intel's status of the platform's TCB level.
    pub platform_status: &'static str,
    /// Intel's status of the TDX module's level.
    pub module_status: &'static str,
    /// Intel's status of the quoting enclave's level.
    pub qe_status: &'static str,
    /// Advisories of the platform's TCB level.
    pub advisories: &'static [&'static str],
    /// What TCB info says that it is about.
    pub tcb_info_id: &'static str,
    /// What QE identity says that it is about.
    pub qe_identity_id: &'static str,
}

impl Default for Publication {
    fn default() -> Self {
        Self {
            revoked: false,
            platform_status: "UpToDate",
            module_status: "UpToDate",
            qe_status: "UpToDate",
            advisories: &[],
            tcb_info_id: "TDX",
            qe_identity_id: "TD_QE",
        }
    }
}

/// Offset of the quoting enclave's report in a version 4 quote.
pub const QE_REPORT_AT: usize = crate::tdx::QE_REPORT_AT;

/// Signs an SNP report of any content with the machine's VCEK.
pub fn sign_report(platform: &Platform, report: &mut [u8], domain: Domain) -> Result<(), SimulatedError> {
    platform.snp.sign(report, domain)
}

/// Signs a TDX quote of any header, body and QE report with the machine's keys.
pub fn sign_quote(platform: &Platform, quote: &mut [u8], domain: Domain) -> Result<(), SimulatedError> {
    platform.tdx.sign(quote, domain)
}

/// Publishes revocation lists and collateral of any content.
pub fn publish(
    platform: &mut Platform,
    now: UnixTime,
    validity_seconds: u64,
    publication: &Publication,
) -> Result<(), SimulatedError> {
    let validity = Validity::new(now, validity_seconds);
    platform.snp.publish(validity, publication.revoked)?;
    platform.tdx.publish(validity, publication)
}

/// Issues the machine's VCEK again with another validity.
pub fn reissue_vcek(
    platform: &mut Platform,
    now: UnixTime,
    validity_seconds: u64,
) -> Result<(), SimulatedError> {
    platform.snp.reissue(Validity::new(now, validity_seconds))
}
