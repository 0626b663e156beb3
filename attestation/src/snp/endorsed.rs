//! The path from the report to a root: certificates, revocation, signature, chip.

use alloc::format;
use alloc::string::{String, ToString as _};

use sha2::{Digest, Sha384};

use super::examine::Evidence;
use super::generation::Generation;
use super::leaf::Leaf;
use super::report::{Report, SigningKey};
use super::rules;
use crate::endorsements::EndorsementKind;
use crate::examination::Examination;
use crate::policy::{SnpException, SnpPolicy};
use crate::x509::{Certificate, RevocationList, TrustAnchor};

/// What the manufacturer's certificates say, once they hold.
pub(super) struct Endorsed {
    pub(super) generation: Generation,
    pub(super) leaf: Leaf,
}

/// Records the clauses; what the certificates say only if they could be read.
pub(super) fn examine(
    examination: &mut Examination,
    report: &Report<'_>,
    evidence: &Evidence<'_>,
) -> Option<Endorsed> {
    let document = |kind| evidence.endorsements.document(kind);
    let parse = |kind| document(kind).and_then(|bytes| Certificate::parse(bytes).ok());
    let certificates = parse(EndorsementKind::SnpLeaf).zip(parse(EndorsementKind::SnpIntermediate));
    let (leaf, intermediate) = examination.require(
        &rules::CERTIFICATES,
        certificates,
        "leaf and intermediate",
        "missing or malformed",
    )?;

    let anchor = evidence
        .anchors
        .iter()
        .find(|(_, anchor)| anchor.subject == intermediate.issuer);
    let (generation, anchor) =
        examination.require(&rules::ROOT, anchor, "a root of the policy", "another root")?;
    let generation = *generation;
    validity(examination, &leaf, &intermediate, anchor);
    revocation(examination, &intermediate, anchor, evidence);

    let signing_key = report.signing_key();
    signing_key_accepted(examination, signing_key, generation, evidence.policy);
    let intermediate_name = match signing_key {
        Some(SigningKey::Vlek) => format!("SEV-VLEK-{generation}"),
        _ => format!("SEV-{generation}"),
    };
    let named = intermediate.common_name() == Some(intermediate_name.as_str());
    let issued =
        named && intermediate.is_authority() && intermediate.is_issued_by(&anchor.subject, &anchor.key);
    examination.check(
        &rules::INTERMEDIATE,
        issued,
        format!("{intermediate_name}, signed by {}", anchor.common_name),
        name_and_outcome(&intermediate, issued),
    );
    let intermediate_key = intermediate.public_key().ok();
    let issued = intermediate_key.is_some_and(|key| leaf.is_issued_by(intermediate.subject, &key));
    examination.check(
        &rules::LEAF,
        issued,
        format!("signed by {intermediate_name}"),
        name_and_outcome(&leaf, issued),
    );

    let leaf_key = leaf.public_key().ok();
    let digest: [u8; 48] = Sha384::new_with_prefix(evidence.domain.prefix())
        .chain_update(report.signed_bytes())
        .finalize()
        .into();
    let signed = leaf_key.is_some_and(|key| key.verifies_p384(&digest, &report.signature()));
    examination.check(
        &rules::REPORT_SIGNATURE,
        signed,
        "the leaf's signature over bytes 0 to 0x2a0",
        if signed { "valid" } else { "not valid" },
    );

    let profile = Leaf::parse(&leaf, generation).ok();
    let expected = format!("the extensions of a {generation} leaf");
    let leaf = examination.require(&rules::LEAF_PROFILE, profile, &expected, "others, or malformed")?;
    examination.check(
        &rules::LEAF_KIND,
        Some(leaf.kind) == signing_key,
        signing_key.map_or("no key", SigningKey::name),
        leaf.kind.name(),
    );
    let provider = core::str::from_utf8(&leaf.provider).unwrap_or_default();
    let providers = &evidence.policy.vlek_providers;
    examination.check(
        &rules::PROVIDER,
        leaf.kind == SigningKey::Vcek || providers.iter().any(|name| name == provider),
        if leaf.kind == SigningKey::Vcek {
            String::from("any, with a VCEK")
        } else {
            providers.join(" or ")
        },
        provider,
    );
    identity(examination, report, generation, &leaf);
    let machines = &evidence.policy.enrolled_machines;
    examination.check(
        &rules::ENROLLED,
        machines.contains(&leaf.hardware_id),
        machines.to_string(),
        hex::encode(&leaf.hardware_id),
    );
    Some(Endorsed { generation, leaf })
}

fn name_and_outcome(certificate: &Certificate<'_>, issued: bool) -> String {
    let name = certificate.common_name().unwrap_or("no single common name");
    format!("{name}, {}", if issued { "valid" } else { "not valid" })
}

fn signing_key_accepted(
    examination: &mut Examination,
    signing_key: Option<SigningKey>,
    generation: Generation,
    policy: &SnpPolicy,
) {
    let (holds, expected) = match signing_key {
        Some(SigningKey::Vcek) if generation == Generation::Milan => (
            policy.exceptions.contains(&SnpException::MilanVcek),
            "no Milan VCEK (BadFuse), unless excepted",
        ),
        Some(SigningKey::Vcek) => (true, "VCEK"),
        Some(SigningKey::Vlek) => (
            !policy.vlek_providers.is_empty(),
            "VCEK, or VLEK of a named provider",
        ),
        None => (false, "VCEK or VLEK"),
    };
    let found = signing_key.map_or(String::from("none"), |key| format!("{generation} {}", key.name()));
    examination.check(&rules::SIGNING_KEY, holds, expected, found);
}

fn validity(
    examination: &mut Examination,
    leaf: &Certificate<'_>,
    intermediate: &Certificate<'_>,
    anchor: &TrustAnchor,
) {
    let now = examination.now();
    let not_before = leaf
        .not_before
        .max(intermediate.not_before)
        .max(anchor.not_before);
    let not_after = leaf.not_after.min(intermediate.not_after).min(anchor.not_after);
    let valid = leaf.is_valid_at(now) && intermediate.is_valid_at(now) && anchor.is_valid_at(now);
    examination.check(
        &rules::VALIDITY,
        valid,
        format!("{not_before} to {not_after}"),
        now.to_string(),
    );
    examination.relies_until(not_after);
}

/// AMD's leaves all have serial 0: the list can only name the intermediate.
fn revocation(
    examination: &mut Examination,
    intermediate: &Certificate<'_>,
    anchor: &TrustAnchor,
    evidence: &Evidence<'_>,
) {
    let bytes = evidence.endorsements.document(EndorsementKind::SnpCrl);
    if bytes.is_none()
        && evidence
            .policy
            .exceptions
            .contains(&SnpException::AbsentRevocationList)
    {
        for rule in [
            &rules::CRL_SIGNATURE,
            &rules::NOT_REVOKED,
            &rules::CRL_CURRENT,
            &rules::COLLATERAL_AGE,
        ] {
            examination.check(
                rule,
                true,
                "a list, or the exception absent-revocation-list",
                "the exception",
            );
        }
        return;
    }
    let list = bytes.and_then(|bytes| RevocationList::parse(bytes).ok());
    let list = list.filter(|list| list.is_issued_by(&anchor.subject, &anchor.key));
    let expected = format!("a list signed by {}", anchor.common_name);
    let Some(list) = examination.require(&rules::CRL_SIGNATURE, list, &expected, "missing or not valid")
    else {
        return;
    };
    let listed = list.lists(intermediate.serial);
    let serial = hex::encode(intermediate.serial);
    let found = format!("serial {serial} {}", if listed { "listed" } else { "not listed" });
    examination.check(&rules::NOT_REVOKED, !listed, "the intermediate not listed", found);
    let now = examination.now();
    examination.check(
        &rules::CRL_CURRENT,
        list.is_current_at(now),
        format!("{} to {}", list.this_update, list.next_update),
        now.to_string(),
    );
    examination.relies_until(list.next_update);
    examination.check_age(
        &rules::COLLATERAL_AGE,
        list.this_update,
        evidence
            .policy
            .revocation_list_age_seconds_max
            .unwrap_or(evidence.collateral_age_seconds_max),
    );
}

/// Whether certificate, report and processor are of one generation and one chip.
fn identity(examination: &mut Examination, report: &Report<'_>, generation: Generation, leaf: &Leaf) {
    let (same, found) = match report.processor() {
        // Version 2 names no processor: the verified chain does.
        None => (true, format!("{generation}, by its chain")),
        Some([family, model, stepping]) => {
            let processor = Generation::of_processor(family, model);
            let name = processor.map_or("unknown", Generation::name);
            (
                processor == Some(generation),
                format!("{name}, CPUID {family:02x}/{model:02x}/{stepping:x}"),
            )
        }
    };
    examination.check(&rules::GENERATION, same, generation.name(), found);
    let chip_id = report.chip_id();
    let (same, expected) = match leaf.kind {
        SigningKey::Vcek => {
            let (id, rest) = chip_id.split_at(leaf.hardware_id.len());
            let zero = leaf.hardware_id.iter().all(|byte| *byte == 0);
            let same = id == leaf.hardware_id && rest.iter().all(|byte| *byte == 0) && !zero;
            (same, hex::encode(&leaf.hardware_id))
        }
        // A VLEK names no chip, so there is nothing to compare with.
        SigningKey::Vlek => (true, String::from("any, with a VLEK")),
    };
    examination.check(&rules::CHIP_ID, same, expected, hex::encode(chip_id));
}
