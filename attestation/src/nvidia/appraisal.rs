//! Appraisals that need no confidential VM: of one reference manifest, of devices alone.

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::manifest::Manifest;
use super::manifest_rules::{self as rules, RULES};
use super::{Anchors, Evidence, examine_set};
use crate::examination::{Examination, Rule};
use crate::policy::NvidiaPolicy;
use crate::roots;
use crate::x509::{Certificate, Path, TrustAnchor};
use crate::{Assurance, DeviceKind, Endorsements, Explanation, UnixTime, Verdict, Verifier};

/// Records a clause for each of [`RULES`]; the manifest if it could be read. Whether it is believed, the
/// clauses say.
pub(super) fn examine(
    examination: &mut Examination,
    document: &[u8],
    anchor: &TrustAnchor,
) -> Option<Manifest> {
    let manifest = Manifest::parse(document);
    let manifest = examination.require(
        &rules::FORMAT,
        manifest,
        "a signed manifest",
        format!("{} bytes of another shape", document.len()),
    )?;
    let certificates = certificates(&manifest);
    let leaf = certificates.first();
    let signed = leaf.is_some_and(|leaf| {
        leaf.is_signer() && leaf.public_key().is_ok_and(|key| manifest.signature.holds(&key))
    });
    examination.check(
        &rules::SIGNATURE,
        signed,
        "the first certificate's signature over the whole document",
        if signed { "valid" } else { "not valid" },
    );
    let path = Path::walk(&certificates, anchor);
    examination.check(
        &rules::CHAIN,
        path.is_ok(),
        format!("a path to {}", anchor.common_name),
        match &path {
            Ok(_) => "such a path".to_string(),
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
    Some(manifest)
}

/// The signer's certificates, leaf first; none if one of them cannot be read.
pub(super) fn certificates(manifest: &Manifest) -> Vec<Certificate<'_>> {
    let parsed = manifest.signature.certificates.iter();
    parsed
        .map(|bytes| Certificate::parse(bytes).ok())
        .collect::<Option<_>>()
        .unwrap_or_default()
}

/// One device of a machine, before anybody checked it.
#[derive(Clone, Copy, Debug)]
pub struct NvidiaDevice<'a> {
    /// The device's name in clauses, as `gpu 0`.
    pub name: &'a str,
    /// What the device is said to be; its certificates must say the same.
    pub kind: DeviceKind,
    /// SPDM request and response.
    pub evidence: &'a [u8],
    /// Certificates in PEM, leaf first.
    pub chain: &'a [u8],
    /// Reference manifests and OCSP responses for this device.
    pub endorsements: &'a Endorsements,
}

impl Verifier {
    /// Examines the NVIDIA devices of a machine on their own, against the policy's `[nvidia]`; without
    /// that table everything is refused. The verdict is on the devices alone: nothing says that they
    /// belong to a confidential VM, and nothing can be sealed to them.
    pub fn explain_devices(
        &self,
        devices: &[NvidiaDevice<'_>],
        nonce: &[u8; 32],
        now: UnixTime,
    ) -> Explanation {
        let mut examination = Examination::new(now);
        self.examine_nvidia(&mut examination, devices, nonce);
        explanation(
            examination,
            &[super::RULES, super::MANIFEST_RULES, super::SET_RULES],
        )
    }

    /// Records the clauses of every device and of the set, if the policy has a table for them.
    pub(crate) fn examine_nvidia(
        &self,
        examination: &mut Examination,
        devices: &[NvidiaDevice<'_>],
        nonce: &[u8; 32],
    ) {
        if let Some(policy) = &self.policy().nvidia {
            let age = self.policy().collateral_age_seconds_max;
            examine_all(examination, policy, age, devices, nonce, &roots::nvidia());
        }
    }
}

/// Records the clauses of every device and of the set.
pub(crate) fn examine_all(
    examination: &mut Examination,
    policy: &NvidiaPolicy,
    collateral_age_seconds_max: u64,
    devices: &[NvidiaDevice<'_>],
    nonce: &[u8; 32],
    anchors: &Anchors,
) {
    let devices: Vec<_> = devices
        .iter()
        .map(|device| Evidence {
            name: device.name,
            kind: device.kind,
            evidence: device.evidence,
            chain: device.chain,
            endorsements: device.endorsements,
            policy,
            anchors,
            nonce,
            collateral_age_seconds_max,
        })
        .collect();
    examine_set(examination, &devices, policy);
}

/// Appraises a reference manifest of NVIDIA on its own: format, signature, path to NVIDIA's root for
/// manifests, and validity at `now`. Says nothing about a device.
pub fn explain_reference_manifest(document: &[u8], now: UnixTime) -> Explanation {
    let mut examination = Examination::new(now);
    examine(&mut examination, document, &roots::nvidia().manifest);
    explanation(examination, &[RULES])
}

fn explanation(examination: Examination, rules: &[&[&'static Rule]]) -> Explanation {
    let conclusion = examination.conclude(rules);
    let verdict = conclusion
        .error
        .map_or(Verdict::Accepted(Assurance::Hardware), Verdict::Refused);
    Explanation {
        clauses: conclusion.clauses,
        verdict,
    }
}
