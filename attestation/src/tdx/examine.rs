//! The examination of a TDX quote: genuine, up to date, expected.
//!
//! 1. [`structure`]: what the quote is.
//! 2. [`launch`]: what was launched, and how.
//! 3. [`chain`]: the path from the quote to the root.
//! 4. [`currency`]: what Intel says of platform, module and quoting enclave, and since when.

use alloc::format;
use alloc::string::{String, ToString as _};

use super::collateral::{QeIdentity, Signed, TcbInfo};
use super::pck::Pck;
use super::quote::{self, Quote};
use super::{chain, currency, launch, rules};
use crate::PlatformTag;
use crate::claims::Claims;
use crate::endorsements::{EndorsementKind, Endorsements};
use crate::examination::Examination;
use crate::fields::Fields;
use crate::policy::TdxPolicy;
use crate::simulated::SignatureDomain;
use crate::x509::{TrustAnchor, pem_certificates};

/// What is examined, and against what.
pub(crate) struct Evidence<'a> {
    pub(crate) platform: PlatformTag,
    pub(crate) domain: SignatureDomain,
    pub(crate) quote: &'a [u8],
    pub(crate) endorsements: &'a Endorsements,
    /// The log behind the run-time measurement registers, if one was sent.
    pub(crate) event_log: Option<&'a [u8]>,
    pub(crate) policy: &'a TdxPolicy,
    pub(crate) anchor: &'a TrustAnchor,
    pub(crate) collateral_age_seconds_max: u64,
    /// `None` if the statement could not be read.
    pub(crate) report_data: Option<&'a [u8; 64]>,
}

const ECDSA_P256: u16 = 2;
const TEE_TDX: u32 = 0x81;
const INTEL: [u8; 16] = [
    0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
];

/// Records a clause for each of [`rules::RULES`]; claims only if the structure could be read.
pub(crate) fn examine(examination: &mut Examination, evidence: &Evidence<'_>) -> Option<Claims> {
    let version = quote::version(evidence.quote);
    let known = matches!(version, Some(4 | 5));
    let found = version.map_or(String::from("none"), |version| version.to_string());
    if !examination.check(&rules::QUOTE_VERSION, known, "4 or 5", found) {
        return None;
    }
    let found = format!("{} bytes of another shape", evidence.quote.len());
    let quote = Quote::parse(evidence.quote);
    let quote = examination.require(&rules::QUOTE_FORMAT, quote, "a quote with its PCK chain", found)?;
    structure(examination, &quote);
    let log = launch::examine(examination, &quote, evidence);
    let pck = genuine(examination, &quote, evidence)?;
    let mut boot = Fields::default();
    if let Some(log) = log {
        log.boot_fields(&mut boot);
    }
    Some(Claims {
        platform: evidence.platform,
        launch_measurement: *quote.body.mrtd(),
        hardware_id: pck.ppid.to_vec(),
        vtpm: None,
        boot: boot.into_vec(),
    })
}

fn structure(examination: &mut Examination, quote: &Quote<'_>) {
    let header = quote.header;
    let (key_type, tee_type) = (header.attestation_key_type(), header.tee_type());
    examination.check(
        &rules::QUOTE_HEADER,
        key_type == ECDSA_P256 && tee_type == TEE_TDX && header.qe_vendor() == INTEL,
        format!(
            "key type {ECDSA_P256}, TEE type {TEE_TDX:#x}, QE vendor {}",
            hex::encode(INTEL)
        ),
        format!(
            "key type {key_type}, TEE type {tee_type:#x}, QE vendor {}",
            hex::encode(header.qe_vendor())
        ),
    );
    let zero = header
        .reserved()
        .iter()
        .chain(quote.trailing)
        .all(|byte| *byte == 0);
    examination.check(
        &rules::RESERVED_ZERO,
        zero,
        "zero",
        if zero { "zero" } else { "not zero" },
    );
}

fn genuine(examination: &mut Examination, quote: &Quote<'_>, evidence: &Evidence<'_>) -> Option<Pck> {
    let document = |kind| evidence.endorsements.document(kind).unwrap_or_default();
    let pck_chain = pem_certificates(quote.pck_chain).unwrap_or_default();
    let chain = chain::PckChain::parse(&pck_chain);
    let chain = examination.require(
        &rules::CERTIFICATES,
        chain,
        "PCK, PCK CA, root",
        "missing or malformed",
    )?;
    chain.check(examination, evidence.anchor);
    chain::signatures(examination, quote, &chain, evidence.domain);
    let pck = Pck::parse(&chain.pck).ok();
    let pck = examination.require(
        &rules::PCK_PROFILE,
        pck,
        "the SGX extensions of a PCK",
        "missing or malformed",
    )?;
    let machines = &evidence.policy.enrolled_machines;
    let found = hex::encode(pck.ppid);
    examination.check(
        &rules::ENROLLED,
        machines.contains(&pck.ppid),
        machines.to_string(),
        found,
    );

    let signing_chain = pem_certificates(document(EndorsementKind::TdxTcbSigningChain)).unwrap_or_default();
    let signer = chain::TcbSigner::parse(&signing_chain);
    let signs = signer
        .as_ref()
        .is_some_and(|signer| signer.is_anchored(evidence.anchor));
    examination.check(
        &rules::TCB_SIGNER,
        signs,
        format!("{}, {}", chain::TCB_SIGNER_NAME, evidence.anchor.common_name),
        if signs {
            chain::TCB_SIGNER_NAME
        } else {
            "missing, or no such path"
        },
    );
    chain::validity(examination, &chain, signer.as_ref(), evidence.anchor);
    chain::revocation(examination, &chain, signer.as_ref(), evidence);

    let key = signer.map(|signer| signer.key);
    let tcb_info = Signed::tcb_info(document(EndorsementKind::TdxTcbInfo))
        .zip(key.as_ref())
        .and_then(|(signed, key)| signed.open::<TcbInfo>(key));
    let tcb_info = examination.require(
        &rules::TCB_INFO,
        tcb_info,
        "signed by the TCB signer",
        "missing or not valid",
    );
    let qe_identity = Signed::qe_identity(document(EndorsementKind::TdxQeIdentity))
        .zip(key.as_ref())
        .and_then(|(signed, key)| signed.open::<QeIdentity>(key));
    let qe_identity = examination.require(
        &rules::QE_IDENTITY,
        qe_identity,
        "signed by the TCB signer",
        "missing or not valid",
    );
    let (tcb_info, qe_identity) = tcb_info.zip(qe_identity)?;
    currency::collateral(examination, &tcb_info, &qe_identity, &pck, evidence);
    currency::levels(examination, quote, &tcb_info, &qe_identity, &pck, evidence);
    Some(pck)
}
