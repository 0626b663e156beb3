//! The examination of one device: genuine, up to date, expected, mine.
//!
//! 1. [`structure`]: what the report is, and who asked for it.
//! 2. [`genuine`]: certificates and signature.
//! 3. [`identity`]: which device this is, of which kind, with which firmware.
//! 4. [`configuration`]: what the policy asks of it.
//! 5. [`Manifests`] and [`measurements`]: what NVIDIA says should be running.
//! 6. [`withdrawn`]: what NVIDIA withdrew.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use sha2::{Digest as _, Sha256, Sha384};

use super::device::{Architecture, DeviceChain};
use super::manifests::Manifests;
use super::opaque::OpaqueData;
use super::report::Report;
use super::version::{DriverVersion, VbiosVersion};
use super::{Mode, appraisal, configuration, identity, manifest_rules, measurements, revocation, rules};
use crate::device::DeviceKind;
use crate::endorsements::{EndorsementKind, Endorsements};
use crate::examination::Examination;
use crate::policy::{NvidiaException, NvidiaPolicy};
use crate::x509::{Certificate, Path, TrustAnchor, pem_certificates};

/// SPDM 1.1 GET_MEASUREMENTS, signature requested, all measurements.
const REQUEST: [u8; 4] = [0x11, 0xe0, 0x01, 0xff];
/// SPDM 1.1 MEASUREMENTS, certificate slot 0.
const RESPONSE: [u8; 4] = [0x11, 0x60, 0x00, 0x00];
const CHAIN_BYTES_MAX: usize = 32 * 1024;

/// What is examined, and against what.
pub(crate) struct Evidence<'a> {
    /// The device's name in clauses, as `gpu 0`.
    pub(crate) name: &'a str,
    /// What the device is said to be.
    pub(crate) kind: DeviceKind,
    /// SPDM request and response.
    pub(crate) evidence: &'a [u8],
    /// PEM, leaf first.
    pub(crate) chain: &'a [u8],
    pub(crate) endorsements: &'a Endorsements,
    pub(crate) policy: &'a NvidiaPolicy,
    pub(crate) anchors: &'a Anchors,
    pub(crate) nonce: &'a [u8; 32],
    pub(crate) collateral_age_seconds_max: u64,
}

/// NVIDIA's roots.
#[derive(Clone, Debug)]
pub(crate) struct Anchors {
    /// Of devices.
    pub(crate) device: TrustAnchor,
    /// Of reference manifests.
    pub(crate) manifest: TrustAnchor,
}

/// What a device's evidence says. Believed only if every clause passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeviceClaims {
    pub(crate) architecture: Architecture,
    /// Serial number of the chip, from the certificate that NVIDIA gave it.
    pub(crate) device_id: Vec<u8>,
    /// SHA-256 of the leaf.
    pub(crate) leaf_digest: [u8; 32],
    /// GPUs only.
    pub(crate) driver: Option<DriverVersion>,
    pub(crate) vbios: Option<VbiosVersion>,
    /// GPUs only.
    pub(crate) mode: Option<Mode>,
    /// The switches at a GPU's links, the GPUs at a switch's links; empty if it does not say.
    pub(crate) peers: Vec<[u8; 8]>,
}

/// Records a clause for each of [`rules::RULES`] and [`manifest_rules::RULES`], under the device's name;
/// claims only if the structure could be read.
pub(crate) fn examine(examination: &mut Examination, evidence: &Evidence<'_>) -> Option<DeviceClaims> {
    let mut part = examination.part();
    let claims = device(&mut part, evidence);
    examination.absorb(part, evidence.name, &[rules::RULES, manifest_rules::RULES]);
    claims
}

fn device(examination: &mut Examination, evidence: &Evidence<'_>) -> Option<DeviceClaims> {
    let found = format!("{} bytes of another shape", evidence.evidence.len());
    let report = Report::parse(evidence.evidence);
    let report = examination.require(
        &rules::REPORT_FORMAT,
        report,
        "an SPDM request and its response",
        found,
    )?;
    structure(examination, &report, evidence);
    let opaque = OpaqueData::parse(report.opaque);
    let opaque = examination.require(
        &rules::OPAQUE_DATA,
        opaque,
        "records of known form, each type once",
        "other bytes",
    );
    let certificates = certificates(evidence.chain);
    let chain = DeviceChain::parse(&certificates);
    let chain = examination.require(
        &rules::CERTIFICATES,
        chain,
        "leaf, device and authorities",
        "missing or malformed",
    )?;
    genuine(examination, &report, &chain, &evidence.anchors.device);
    let opaque = opaque?;
    let mut claims = identity::examine(examination, &opaque, &chain, evidence);
    if let Some(claims) = &mut claims {
        claims.leaf_digest = Sha256::digest(certificates.first()?).into();
        configuration::versions(examination, &opaque, claims, evidence.policy);
        configuration::modes(examination, &opaque, claims, evidence.policy);
    }
    let manifests = Manifests::examine(examination, claims.as_ref(), evidence);
    if let Some(claims) = &claims {
        manifests.subjects(examination, claims, &chain);
        measurements::examine(examination, &report, &manifests.list(), evidence.policy);
    }
    withdrawn(examination, &chain, &manifests, evidence);
    claims
}

fn structure(examination: &mut Examination, report: &Report<'_>, evidence: &Evidence<'_>) {
    let request = report.request;
    examination.check(
        &rules::REQUEST,
        request.header == REQUEST && request.slot == 0 && report.response_header == RESPONSE,
        format!("{}, slot 0, {}", hex::encode(REQUEST), hex::encode(RESPONSE)),
        format!(
            "{}, slot {}, {}",
            hex::encode(request.header),
            request.slot,
            hex::encode(report.response_header)
        ),
    );
    examination.check(
        &rules::TRAILING,
        matches!(report.trailing, [] | [0]),
        "nothing, or one zero byte",
        match report.trailing {
            [] => "nothing".to_owned(),
            [0] => "one zero byte".to_owned(),
            trailing => format!("{} bytes", trailing.len()),
        },
    );
    examination.check(
        &rules::NONCE,
        request.nonce == evidence.nonce,
        hex::encode(evidence.nonce),
        hex::encode(request.nonce),
    );
}

/// DER of the certificates in PEM; none if they are anything else.
fn certificates(chain: &[u8]) -> Vec<Vec<u8>> {
    let text = Some(chain).filter(|text| text.len() <= CHAIN_BYTES_MAX);
    text.and_then(|text| pem_certificates(text).ok())
        .unwrap_or_default()
}

fn genuine(
    examination: &mut Examination,
    report: &Report<'_>,
    chain: &DeviceChain<'_>,
    anchor: &TrustAnchor,
) {
    let path = Path::walk(&chain.certificates, anchor);
    let signs = chain.leaf().is_signer();
    examination.check(
        &rules::CHAIN,
        path.is_ok() && signs,
        format!("a path to {}", anchor.common_name),
        match &path {
            Ok(_) if signs => "such a path".to_owned(),
            Ok(_) => "a leaf that may not sign".to_owned(),
            Err(fault) => format!("{fault:?}"),
        },
    );
    if let Ok(path) = path {
        let now = examination.now();
        examination.check(
            &rules::VALIDITY,
            path.is_valid_at(now),
            format!("{} to {}", path.not_before, path.not_after),
            now.to_string(),
        );
        examination.relies_until(path.not_after);
    }
    let digest = Sha384::digest(report.signed).into();
    let key = chain.leaf().public_key().ok();
    let signed = key.is_some_and(|key| key.verifies_p384(&digest, report.signature));
    examination.check(
        &rules::REPORT_SIGNATURE,
        signed,
        "the leaf's signature over request and response",
        if signed { "valid" } else { "not valid" },
    );
}

/// Revocation of everything that was relied upon.
fn withdrawn(
    examination: &mut Examination,
    chain: &DeviceChain<'_>,
    manifests: &Manifests,
    evidence: &Evidence<'_>,
) {
    let anchors = evidence.anchors;
    let (Ok(device), Ok(manifest)) = (
        Certificate::parse(&anchors.device.certificate),
        Certificate::parse(&anchors.manifest.certificate),
    ) else {
        return;
    };
    let signers: Vec<_> = manifests
        .list()
        .into_iter()
        .map(|(_, manifest)| appraisal::certificates(manifest))
        .collect();
    let mut links = revocation::links(&chain.certificates, &device, 1);
    for certificates in &signers {
        links.extend(revocation::links(certificates, &manifest, 0));
    }
    revocation::examine(
        examination,
        &links,
        evidence.endorsements.document(EndorsementKind::NvidiaOcsp),
        evidence.policy.excepts(NvidiaException::UncheckedRevocation),
        evidence.collateral_age_seconds_max,
    );
}
