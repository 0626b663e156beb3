//! What somebody with the simulated keys could make: for tests of the verifier, nothing else.

use attestation::UnixTime;

use crate::certificate::Validity;
use crate::snp::TURIN;
use crate::tdx::EVALUATION_NUMBER;
use crate::{Platform, SimulatedError};

/// The domain of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// As this crate signs.
    Simulated,
    /// As hardware signs, but under simulated keys.
    Hardware,
}

/// Whatever has a time of validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// AMD's root certificate.
    Ark,
    /// AMD's intermediate certificate.
    Ask,
    /// The machine's certificate.
    Vcek,
    /// The ARK's revocation list.
    ArkList,
    /// Intel's root certificate.
    Root,
    /// The certificate of the CA that issues PCKs.
    PckCa,
    /// The machine's certificate.
    Pck,
    /// The certificate of whoever signs TCB info and QE identity.
    TcbSigner,
    /// The root's revocation list.
    RootList,
    /// The PCK CA's revocation list.
    PckList,
    /// TCB info.
    TcbInfo,
    /// Identity of the quoting enclave.
    QeIdentity,
}

/// What is wrong with a certificate that is signed as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The subject is somebody else.
    Renamed,
    /// An authority may only sign, a signer may issue.
    WrongPurpose,
    /// A critical extension that nobody knows.
    UnknownCritical,
    /// The manufacturer's own extensions are critical.
    CriticalProfile,
    /// The manufacturer's own extensions say otherwise: bytes, and as many that stand there instead.
    Rewritten(&'static [u8], &'static [u8]),
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
    /// The number of Intel's evaluation behind TCB info.
    pub tcb_info_evaluation_number: u32,
    /// The number of Intel's evaluation behind QE identity.
    pub qe_identity_evaluation_number: u32,
    /// Certificates on the root's list: PCK CA, TCB signer.
    pub revoked_by_root: &'static [Document],
    /// What TCB info and QE identity say otherwise: text, and what stands there instead.
    pub rewritten: (&'static str, &'static str),
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
            tcb_info_evaluation_number: EVALUATION_NUMBER,
            qe_identity_evaluation_number: EVALUATION_NUMBER,
            revoked_by_root: &[],
            rewritten: ("", ""),
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

/// Issues one document again with another validity.
pub fn reissue(
    platform: &mut Platform,
    document: Document,
    now: UnixTime,
    validity_seconds: u64,
) -> Result<(), SimulatedError> {
    let validity = Validity::new(now, validity_seconds);
    platform.snp.reissue(document, validity)?;
    platform.tdx.reissue(document, validity)
}

/// Issues one certificate again with a flaw.
pub fn reissue_flawed(
    platform: &mut Platform,
    document: Document,
    flaw: Flaw,
    now: UnixTime,
    validity_seconds: u64,
) -> Result<(), SimulatedError> {
    platform.snp.flaw = Some((document, flaw));
    platform.tdx.flaw = Some((document, flaw));
    let reissued = reissue(platform, document, now, validity_seconds);
    platform.snp.flaw = None;
    platform.tdx.flaw = None;
    reissued
}

/// Makes the SNP machine one of Turin, under the same keys: chain, list, layout of TCB versions.
pub fn become_turin(
    platform: &mut Platform,
    now: UnixTime,
    validity_seconds: u64,
) -> Result<(), SimulatedError> {
    let collateral = Validity::new(now, validity_seconds);
    platform.snp.become_product(&TURIN, now, collateral)
}

/// The TCB version that the SNP machine is made with.
pub fn tcb(platform: &Platform) -> [u8; 8] {
    platform.snp.product.tcb
}

/// Issues the machine's VCEK for a TCB version of the machine's layout.
pub fn certify_tcb(
    platform: &mut Platform,
    tcb: &[u8; 8],
    now: UnixTime,
    validity_seconds: u64,
) -> Result<(), SimulatedError> {
    platform.snp.certify(tcb, Validity::new(now, validity_seconds))
}

/// SGX components and PCESVN that the machine's PCK is made with.
pub const PCK_TCB: ([u8; 16], u16) = (crate::tdx::COMPONENTS, crate::tdx::PCESVN as u16);

/// Issues the machine's PCK for SGX components and a PCESVN.
pub fn certify_components(
    platform: &mut Platform,
    components: &[u8; 16],
    pcesvn: u16,
    now: UnixTime,
    validity_seconds: u64,
) -> Result<(), SimulatedError> {
    let validity = Validity::new(now, validity_seconds);
    platform.tdx.certify(components, pcesvn, validity)
}
