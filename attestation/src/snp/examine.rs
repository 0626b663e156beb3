//! The examination of an SNP report: genuine, up to date, expected.
//!
//! Every step records clauses and goes on as far as it can, so that an explanation shows all that is
//! wrong. Only what a later step needs stops it.

use alloc::format;
use alloc::string::{String, ToString as _};

use sha2::{Digest, Sha384};

use super::generation::Generation;
use super::leaf::Leaf;
use super::report::{Report, SigningKey};
use super::rules;
use super::tcb::TcbVersion;
use crate::claims::Claims;
use crate::endorsements::{EndorsementKind, Endorsements};
use crate::examination::Examination;
use crate::policy::{GuestAllowance, MinimumTcb, SnpException, SnpPolicy};
use crate::simulated::SignatureDomain;
use crate::x509::{Certificate, RevocationList, TrustAnchor};
use crate::{PlatformTag, statement};

/// What is examined, and against what.
pub(crate) struct Evidence<'a> {
    pub(crate) platform: PlatformTag,
    pub(crate) domain: SignatureDomain,
    pub(crate) report: &'a [u8],
    pub(crate) endorsements: &'a Endorsements,
    pub(crate) policy: &'a SnpPolicy,
    pub(crate) anchors: &'a [(Generation, TrustAnchor)],
    pub(crate) collateral_age_seconds_max: u64,
    /// `None` if the statement could not be read.
    pub(crate) report_data: Option<&'a [u8; 64]>,
}

const DEBUG_BIT: u32 = 19;
const MIGRATE_MA_BIT: u32 = 18;
const RESERVED_ONE_BIT: u32 = 17;
const FIRST_RESERVED_BIT: u32 = 26;

/// Records a clause for each of [`rules::RULES`]; claims only if the structure could be read.
pub(crate) fn examine(examination: &mut Examination, evidence: &Evidence<'_>) -> Option<Claims> {
    let found = format!("{} bytes", evidence.report.len());
    let report = Report::parse(evidence.report);
    let report = examination.require(&rules::REPORT_FORMAT, report, "1184 bytes", found)?;
    let version = u64::from(report.version());
    let versions = &evidence.policy.report_versions;
    if !examination.check(
        &rules::REPORT_VERSION,
        versions.contains(version),
        versions.to_string(),
        format!("{version:#x}"),
    ) {
        return None;
    }
    structure(examination, &report);
    expected(examination, &report, evidence);
    let endorsed = endorsement(examination, &report, evidence)?;
    up_to_date(examination, &report, &endorsed, evidence.policy);
    Some(Claims {
        platform: evidence.platform,
        launch_measurement: *report.measurement(),
        hardware_id: endorsed.leaf.hardware_id,
    })
}

fn structure(examination: &mut Examination, report: &Report<'_>) {
    let algorithm = report.signature_algorithm();
    examination.check(
        &rules::SIGNATURE_ALGORITHM,
        algorithm == 1,
        "1, ECDSA P-384 with SHA-384",
        algorithm.to_string(),
    );
    let reserved = report.reserved_not_zero();
    let found = reserved.map_or(String::from("zero"), |offset| format!("not zero at {offset:#x}"));
    examination.check(&rules::RESERVED_ZERO, reserved.is_none(), "zero", found);
    let masked = report.chip_key_is_masked();
    examination.check(&rules::CHIP_KEY, !masked, "0", if masked { "1" } else { "0" });
}

/// What the manufacturer's certificates say, once they hold.
struct Endorsed {
    generation: Generation,
    leaf: Leaf,
}

/// The path from the report to a root: certificates, revocation, signature, chip.
fn endorsement(examination: &mut Examination, report: &Report<'_>, evidence: &Evidence<'_>) -> Option<Endorsed> {
    let document = |kind| evidence.endorsements.document(kind);
    let parse = |kind| document(kind).and_then(|bytes| Certificate::parse(bytes).ok());
    let certificates =
        parse(EndorsementKind::SnpLeaf).zip(parse(EndorsementKind::SnpIntermediate));
    let (leaf, intermediate) =
        examination.require(&rules::CERTIFICATES, certificates, "leaf and intermediate", "missing or malformed")?;

    let anchor = evidence.anchors.iter().find(|(_, anchor)| anchor.subject == intermediate.issuer);
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
    let issued = named && intermediate.is_authority() && intermediate.is_issued_by(&anchor.subject, &anchor.key);
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
    let digest: [u8; 48] =
        Sha384::new_with_prefix(evidence.domain.prefix()).chain_update(report.signed_bytes()).finalize().into();
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
        if leaf.kind == SigningKey::Vcek { String::from("any, with a VCEK") } else { providers.join(" or ") },
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
        Some(SigningKey::Vcek) if generation == Generation::Milan => {
            (policy.exceptions.contains(&SnpException::MilanVcek), "no Milan VCEK (BadFuse), unless excepted")
        }
        Some(SigningKey::Vcek) => (true, "VCEK"),
        Some(SigningKey::Vlek) => (!policy.vlek_providers.is_empty(), "VCEK, or VLEK of a named provider"),
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
    let not_before = leaf.not_before.max(intermediate.not_before).max(anchor.not_before);
    let not_after = leaf.not_after.min(intermediate.not_after).min(anchor.not_after);
    let valid = leaf.is_valid_at(now) && intermediate.is_valid_at(now) && anchor.is_valid_at(now);
    examination.check(&rules::VALIDITY, valid, format!("{not_before} to {not_after}"), now.to_string());
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
    if bytes.is_none() && evidence.policy.exceptions.contains(&SnpException::AbsentRevocationList) {
        for rule in [&rules::CRL_SIGNATURE, &rules::NOT_REVOKED, &rules::CRL_CURRENT, &rules::COLLATERAL_AGE] {
            examination.check(rule, true, "a list, or the exception absent-revocation-list", "the exception");
        }
        return;
    }
    let list = bytes.and_then(|bytes| RevocationList::parse(bytes).ok());
    let list = list.filter(|list| list.is_issued_by(&anchor.subject, &anchor.key));
    let expected = format!("a list signed by {}", anchor.common_name);
    let Some(list) = examination.require(&rules::CRL_SIGNATURE, list, &expected, "missing or not valid") else {
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
    let age = now.seconds_since(list.this_update);
    let age_max = evidence.collateral_age_seconds_max;
    examination.check(
        &rules::COLLATERAL_AGE,
        age.is_some_and(|age| age <= age_max),
        format!("at most {age_max} s"),
        age.map_or(String::from("issued after now"), |age| format!("{age} s")),
    );
    examination.relies_until(list.this_update.plus_seconds(age_max));
}

/// Whether certificate, report and processor are of one generation and one chip.
fn identity(examination: &mut Examination, report: &Report<'_>, generation: Generation, leaf: &Leaf) {
    let (same, found) = match report.processor() {
        // Version 2 names no processor: the verified chain does.
        None => (true, format!("{generation}, by its chain")),
        Some([family, model, stepping]) => {
            let processor = Generation::of_processor(family, model);
            let name = processor.map_or("unknown", Generation::name);
            (processor == Some(generation), format!("{name}, CPUID {family:02x}/{model:02x}/{stepping:x}"))
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

fn up_to_date(examination: &mut Examination, report: &Report<'_>, endorsed: &Endorsed, policy: &SnpPolicy) {
    let generation = endorsed.generation;
    let parse = |bytes| TcbVersion::parse(generation, bytes);
    let versions = (
        parse(report.reported_tcb()),
        parse(report.committed_tcb()),
        parse(report.current_tcb()),
        parse(report.launch_tcb()),
    );
    let versions = match versions {
        (Some(reported), Some(committed), Some(current), Some(launch)) => Some([reported, committed, current, launch]),
        _ => None,
    };
    let expected = format!("the layout of {generation}");
    let Some([reported, committed, current, launch]) =
        examination.require(&rules::TCB_LAYOUT, versions, &expected, "reserved bytes not zero")
    else {
        return;
    };
    let certified = endorsed.leaf.tcb;
    examination.check(&rules::TCB_CERTIFIED, reported == certified, certified.to_string(), reported.to_string());
    let ordered = committed.is_at_least(&reported) && current.is_at_least(&committed) && current.is_at_least(&launch);
    examination.check(
        &rules::TCB_ORDER,
        ordered,
        "reported <= committed <= current, launch <= current",
        format!("reported {reported}; committed {committed}; current {current}; launch {launch}"),
    );
    let (firmware, current_firmware) = (report.committed_firmware(), report.current_firmware());
    examination.check(
        &rules::FIRMWARE_ORDER,
        firmware <= current_firmware,
        format!("at most {current_firmware}"),
        firmware.to_string(),
    );

    let minima = minima(report, generation, policy);
    let processor = report.processor().map_or(String::from("not named"), |[family, model, stepping]| {
        format!("{family:02x}/{model:02x}/{stepping:x}")
    });
    let known = !minima.is_empty();
    examination.check(&rules::PROCESSOR, known, "an entry of minimum_tcb", format!("{generation} {processor}"));
    for minimum in minima {
        let floor = minimum.tcb();
        for (rule, tcb) in
            [(&rules::TCB_REPORTED, reported), (&rules::TCB_COMMITTED, committed), (&rules::TCB_LAUNCH, launch)]
        {
            examination.check(rule, tcb.is_at_least(&floor), format!("at least {floor}"), tcb.to_string());
        }
        examination.check(
            &rules::FIRMWARE,
            firmware >= minimum.firmware,
            format!("at least {}", minimum.firmware),
            firmware.to_string(),
        );
        let mitigations = report.launch_mitigations() & report.current_mitigations();
        examination.check(
            &rules::MITIGATIONS,
            mitigations & minimum.mitigations == minimum.mitigations,
            format!("at least {:#x}", minimum.mitigations),
            format!("{mitigations:#x}"),
        );
    }
}

/// The policy's entries for this processor. A version 2 report names none: every entry of its
/// generation must hold.
fn minima<'a>(
    report: &Report<'_>,
    generation: Generation,
    policy: &'a SnpPolicy,
) -> alloc::vec::Vec<&'a MinimumTcb> {
    let of_generation = policy.minimum_tcb.iter().filter(|entry| entry.generation == generation);
    match report.processor() {
        None => of_generation.collect(),
        Some([_, model, stepping]) => of_generation
            .filter(|entry| entry.models.contains(model.into()) && entry.steppings.contains(stepping.into()))
            .collect(),
    }
}

fn expected(examination: &mut Examination, report: &Report<'_>, evidence: &Evidence<'_>) {
    let policy = evidence.policy;
    if let Some(report_data) = evidence.report_data {
        statement::check_report_data(examination, report_data, report.report_data());
    }
    macro_rules! any_of {
        ($rule:ident, $list:expr, $value:expr) => {
            examination.check(&rules::$rule, $list.contains($value), $list.to_string(), hex::encode($value))
        };
    }
    any_of!(MEASUREMENT, policy.launch_measurements, report.measurement());
    any_of!(HOST_DATA, policy.host_data, report.host_data());
    any_of!(FAMILY_ID, policy.family_ids, report.family_id());
    any_of!(IMAGE_ID, policy.image_ids, report.image_id());
    any_of!(ID_KEY, policy.id_key_digests, report.id_key_digest());
    let author = report.author_key_digest();
    let consistent = report.author_key_enabled() == author.iter().any(|byte| *byte != 0);
    examination.check(
        &rules::AUTHOR_KEY,
        consistent && policy.author_key_digests.contains(author),
        policy.author_key_digests.to_string(),
        format!("{}, AUTHOR_KEY_EN {}", hex::encode(author), u8::from(report.author_key_enabled())),
    );
    let vmpl = report.vmpl();
    examination.check(&rules::VMPL, vmpl == policy.vmpl, policy.vmpl.to_string(), vmpl.to_string());
    examination.check(
        &rules::GUEST_SVN,
        report.guest_svn() >= policy.guest_svn_minimum,
        format!("at least {}", policy.guest_svn_minimum),
        report.guest_svn().to_string(),
    );
    let platform_info = report.platform_info();
    let required = policy.platform_required.iter().fold(0u64, |bits, protection| bits | 1 << protection.bit());
    examination.check(
        &rules::PLATFORM_INFO,
        platform_info & required == required,
        format!("bits {required:#x}"),
        format!("{platform_info:#x}"),
    );
    guest_policy(examination, report, policy);
}

fn guest_policy(examination: &mut Examination, report: &Report<'_>, policy: &SnpPolicy) {
    let guest = report.policy();
    let found = format!("{guest:#x}");
    let has = |bit: u32| guest >> bit & 1 == 1;
    examination.check(&rules::DEBUG, !has(DEBUG_BIT), "0", if has(DEBUG_BIT) { "1" } else { "0" });
    let unbound = report.report_id_ma() == &[0xff; 32];
    examination.check(
        &rules::MIGRATION,
        !has(MIGRATE_MA_BIT) && unbound,
        "no migration agent",
        format!("MIGRATE_MA {}, REPORT_ID_MA {}", u8::from(has(MIGRATE_MA_BIT)), if unbound { "none" } else { "set" }),
    );
    examination.check(
        &rules::POLICY_RESERVED,
        has(RESERVED_ONE_BIT) && guest >> FIRST_RESERVED_BIT == 0,
        "bit 17 set, bits 26 to 63 clear",
        found.clone(),
    );
    let required = policy.guest_policy_required.iter().fold(0u64, |bits, protection| bits | 1 << protection.bit());
    examination.check(
        &rules::POLICY_REQUIRED,
        guest & required == required,
        format!("bits {required:#x}"),
        found.clone(),
    );
    let refused = GuestAllowance::ALL
        .into_iter()
        .filter(|allowance| !policy.guest_policy_accepted.contains(allowance))
        .fold(0u64, |bits, allowance| bits | 1 << allowance.bit());
    examination.check(&rules::POLICY_ALLOWED, guest & refused == 0, format!("not bits {refused:#x}"), found);
    let [minor, major, ..] = guest.to_le_bytes();
    let minimum = policy.guest_abi_minimum;
    examination.check(
        &rules::POLICY_ABI,
        (major, minor) >= (minimum.major, minimum.minor),
        format!("at least {minimum}"),
        format!("{major}.{minor}"),
    );
}
