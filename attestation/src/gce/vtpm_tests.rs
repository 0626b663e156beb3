use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use attester::Attester as _;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use simulated::Flavor;

use super::{
    GceVtpmEvidence, GceVtpmQuestion, RULES, VtpmEvidence, VtpmExplanation, conclude, examine,
    explain_gce_ak_certificates, explain_gce_vtpm, explain_gce_vtpm_quote,
};
use crate::azure::tests::platform;
use crate::clause::Outcome;
use crate::event_log::EventKind;
use crate::examination::Examination;
use crate::policy::GceVtpmPolicy;
use crate::tpm::testkit::{
    ATTRIBUTES, Failed, Issue, Log, Message, NOW, RsaKey, another_key, attestation_key, extension, failed,
    intermediate, pem, public_area, root, statement_fields, tlv, utf8, vectors,
};
use crate::x509::TrustAnchor;
use crate::{
    AppraisalPolicy, Bundle, DeviceEvidence, DeviceKind, EndorsementKind, Endorsements, Nonce, PlatformTag,
    StatementFields, UnixTime, Verifier, vtpm_qualifying_data,
};

const ASKED: [u8; 32] = [0x5a; 32];
const INSTANCE: u64 = 0xff00_0000_0000_0001;
const POLICY: &str = r#"
project_ids = ["ours"]
project_numbers = [42]
zones = ["europe-west4-a", "us-west1-b"]
instance_ids = ["18374686479671623681"]
[pcrs]
0 = ["0101010101010101010101010101010101010101010101010101010101010101"]
7 = "any"
"#;

fn values() -> Vec<u8> {
    [[1; 32], [2; 32]].concat()
}

fn number(value: u64) -> Vec<u8> {
    let digits: Vec<_> = value
        .to_be_bytes()
        .into_iter()
        .skip_while(|digit| *digit == 0)
        .collect();
    let sign = if digits.first().is_none_or(|first| *first >= 0x80) {
        &[0][..]
    } else {
        &[]
    };
    tlv(0x02, &[sign.to_vec(), digits])
}

fn instance_info(
    project: &str,
    number_of_project: u64,
    zone: &str,
    instance: u64,
    production: u8,
) -> Vec<u8> {
    let production = tlv(0xa1, &[tlv(0x01, &[alloc::vec![production]])]);
    let properties = tlv(0x30, &[tlv(0xa0, &[number(0)]), production]);
    let info = [
        utf8(zone),
        number(number_of_project),
        utf8(project),
        number(instance),
        utf8("vm"),
        tlv(0xa0, &[properties]),
    ];
    extension("1.3.6.1.4.1.11129.2.1.21", false, tlv(0x30, &info))
}

fn ours() -> Vec<u8> {
    instance_info("ours", 42, "us-west1-b", INSTANCE, 0xff)
}

fn leaf(key: &RsaKey, info: &[u8]) -> Vec<u8> {
    let mut leaf = Issue::leaf(key);
    leaf.extensions.push(info.to_vec());
    leaf.issue()
}

fn question<'a>(policy: &'a GceVtpmPolicy, qualifying_data: &'a [u8]) -> GceVtpmQuestion<'a> {
    GceVtpmQuestion {
        policy,
        qualifying_data,
        now: NOW,
    }
}

/// Evidence in the making.
struct Case {
    evidence: GceVtpmEvidence,
    chain: Option<Vec<Vec<u8>>>,
    event_log: Option<Vec<u8>>,
    policy: String,
}

impl Case {
    fn new() -> Self {
        let message = Message::new(&ASKED, &[0, 7], &values()).encode();
        Self {
            evidence: GceVtpmEvidence {
                ak_public: public_area(attestation_key(), ATTRIBUTES),
                quote_signature: attestation_key().sign(&message),
                quote_message: message,
                pcr_values: values(),
            },
            chain: Some(alloc::vec![leaf(attestation_key(), &ours()), intermediate()]),
            event_log: None,
            policy: POLICY.into(),
        }
    }

    fn info(info: &[u8]) -> Self {
        Self {
            chain: Some(alloc::vec![leaf(attestation_key(), info), intermediate()]),
            ..Self::new()
        }
    }

    fn explained(&self, encoded: &[u8]) -> VtpmExplanation {
        let mut examination = Examination::new(NOW);
        let evidence = VtpmEvidence {
            evidence: encoded,
            certificates: &self.chain.as_deref().map(pem).unwrap_or_default(),
            event_log: self.event_log.as_deref(),
            policy: &GceVtpmPolicy::from_toml(&self.policy).expect("the policy reads"),
            anchor: &TrustAnchor::parse(&root()).expect("a root"),
            qualifying_data: Some(&ASKED),
        };
        examine(&mut examination, &evidence);
        conclude(examination, &RULES)
    }

    fn failed(&self) -> Failed {
        let explanation = self.explained(&self.evidence.encode().expect("it fits"));
        let clauses = &explanation.clauses;
        let passed = clauses.iter().all(|clause| clause.outcome == Outcome::Pass);
        assert_eq!(explanation.error.is_none(), passed);
        failed(clauses)
    }

    #[track_caller]
    fn refused(&self, clauses: &[&str]) {
        assert_eq!(self.failed(), clauses.iter().copied().collect());
    }
}

#[test]
fn a_certified_quote_of_our_instance_passes() {
    Case::new().refused(&[]);
    let encoded = Case::new().evidence.encode().expect("it fits");
    assert!(Case::new().explained(&encoded).error.is_none());
    // Google's own root did not issue the test's certificates.
    let chain = pem(&Case::new().chain.expect("a chain"));
    let policy = GceVtpmPolicy::from_toml(POLICY).expect("the policy reads");
    let explanation = explain_gce_vtpm(&encoded, &chain, None, &question(&policy, &ASKED));
    assert_eq!(failed(&explanation.clauses), ["gce-vtpm-chain"].into());
}

#[test]
fn the_key_is_restricted_certified_and_the_signers() {
    let with = |public: Vec<u8>| {
        let mut case = Case::new();
        case.evidence.ak_public = public;
        case
    };
    // Without `restricted` it signs what anybody hands it; without `fixedTPM` it may be anywhere.
    for bit in [1, 4, 5, 16] {
        with(public_area(attestation_key(), ATTRIBUTES ^ 1 << bit)).refused(&["gce-vtpm-key-attributes"]);
    }
    with(public_area(attestation_key(), ATTRIBUTES | 1 << 17)).refused(&["gce-vtpm-key-attributes"]);
    with(public_area(another_key(), ATTRIBUTES)).refused(&["gce-vtpm-key", "vtpm-quote-signature"]);
    let public = public_area(attestation_key(), ATTRIBUTES);
    with([&public[..], &[0]].concat()).refused(&["gce-vtpm-attestation-key"]);
    let mut case = Case::new();
    case.chain = Some(alloc::vec![leaf(another_key(), &ours()), intermediate()]);
    case.refused(&["gce-vtpm-key"]);
    case.chain = None;
    case.refused(&["gce-vtpm-certificates"]);
    case.chain = Some(alloc::vec![leaf(attestation_key(), &ours())]);
    case.refused(&["gce-vtpm-chain"]);
    let mut expired = Issue {
        not_after: "20210101000000Z",
        ..Issue::leaf(attestation_key())
    };
    expired.extensions.push(ours());
    case.chain = Some(alloc::vec![expired.issue(), intermediate()]);
    case.refused(&["gce-vtpm-validity"]);
}

#[test]
fn the_instance_is_one_of_the_policy() {
    let case = |project, number, zone, instance, production| {
        Case::info(&instance_info(project, number, zone, instance, production))
    };
    case("ours", 42, "europe-west4-a", INSTANCE, 0xff).refused(&[]);
    case("Ours", 42, "us-west1-b", INSTANCE, 0xff).refused(&["gce-vtpm-project"]);
    case("our", 42, "us-west1-b", INSTANCE, 0xff).refused(&["gce-vtpm-project"]);
    case("ours", 43, "us-west1-b", INSTANCE, 0xff).refused(&["gce-vtpm-project"]);
    case("ours", 42, "us-west1", INSTANCE, 0xff).refused(&["gce-vtpm-zone"]);
    case("ours", 42, "us-west1-b", 1, 0xff).refused(&["gce-vtpm-instance-id"]);
    case("ours", 42, "us-west1-b", INSTANCE, 0).refused(&["gce-vtpm-production"]);
    // Not DER's true, no zone at all, and no extension at all.
    case("ours", 42, "us-west1-b", INSTANCE, 1).refused(&["gce-vtpm-instance-info"]);
    case("ours", 42, "", INSTANCE, 0xff).refused(&["gce-vtpm-instance-info"]);
    Case::info(&extension("1.2.3.4", false, Vec::new())).refused(&["gce-vtpm-instance-info"]);
    let any = Case {
        policy: POLICY.replace("[\"18374686479671623681\"]", "\"any\""),
        ..case("ours", 42, "us-west1-b", 1, 0xff)
    };
    any.refused(&[]);
}

#[test]
fn the_quote_is_examined_as_any_other() {
    let mut case = Case::new();
    case.evidence.pcr_values[0] ^= 1;
    case.refused(&["vtpm-pcr-digest", "vtpm-pcr-values"]);
    let mut case = Case::new();
    let message = Message::new(&ASKED, &[0], &values()[..32]).encode();
    case.evidence.quote_signature = attestation_key().sign(&message);
    case.evidence.quote_message = message;
    case.evidence.pcr_values.truncate(32);
    case.refused(&["vtpm-pcr-selection"]);
    let mut case = Case::new();
    case.evidence.quote_signature[9] ^= 1;
    case.refused(&["vtpm-quote-signature"]);
}

#[test]
fn a_log_of_another_boot_is_refused() {
    let mut case = Case::new();
    let log = Log::default().event(0, EventKind::SEPARATOR, &[0; 4]);
    case.event_log = Some(log.bytes());
    case.refused(&["vtpm-event-log"]);
    // PCR 2 was not quoted.
    case.event_log = Some(Log::default().event(2, EventKind::SEPARATOR, &[0; 4]).bytes());
    case.refused(&[]);
}

/// In a bundle the vTPM is a device: listed by the statement, asked with a hash of its report data. Its
/// certificates here are not Google's, which is all that may be wrong.
#[test]
fn as_a_device_it_is_bound_to_the_processors_report_data() {
    let leaf = leaf(attestation_key(), &ours());
    let fields = StatementFields {
        device_digests: alloc::vec![Sha256::digest(&leaf).into()],
        ..statement_fields()
    };
    let statement = fields.encode().expect("a statement");
    let nonce = Nonce::from_bytes([6; 32]);
    let report_data = statement.report_data(&nonce);
    let attester = platform().attester(Flavor::Snp, [9; 48], [0; 32]);
    let collected = attester.evidence(&report_data).expect("evidence");
    let device = |asked: &[u8]| {
        let message = Message::new(asked, &[0, 7], &values()).encode();
        let evidence = GceVtpmEvidence {
            quote_signature: attestation_key().sign(&message),
            quote_message: message,
            ..Case::new().evidence
        };
        let mut endorsements = Endorsements::new();
        endorsements.insert(EndorsementKind::VtpmAkChain, pem(&[intermediate()]));
        DeviceEvidence {
            kind: DeviceKind::GceVtpm,
            evidence: evidence.encode().expect("it fits"),
            certificates: pem(core::slice::from_ref(&leaf)),
            endorsements,
        }
    };
    let policy = |vtpm: &str| {
        format!(
            "version = 1\nrole = \"broker\"\nevidence_age_seconds_max = 60\ncollateral_age_seconds_max = 60\n\
             config_digests = [\"{}\"]\n{vtpm}\n{}",
            "05".repeat(32),
            platform().policy_fragment(Flavor::Snp, &[9; 48])
        )
    };
    let wanted = policy(&format!(
        "[gce_vtpm]\n{}",
        POLICY.replace("[pcrs]", "[gce_vtpm.pcrs]")
    ));
    let failed = |policy: &str, devices: Vec<DeviceEvidence>| {
        let bundle = Bundle {
            platform: PlatformTag::SimulatedAmdSevSnp,
            evidence: collected.evidence.clone(),
            statement: statement.statement_bytes().to_vec(),
            event_log: None,
            endorsements: Endorsements::decode(&collected.endorsements.encode()).expect("endorsements"),
            devices,
        };
        let verifier = Verifier::new(AppraisalPolicy::from_toml(policy).expect("the policy reads"));
        failed(&verifier.explain(&bundle, &nonce, NOW).clauses)
    };
    let good = device(&vtpm_qualifying_data(&report_data));
    assert_eq!(
        failed(&wanted, alloc::vec![good.clone()]),
        ["gce-vtpm-chain"].into()
    );
    // Asked by somebody else, or with the nonce of another kind of device.
    for asked in [&[0x5a; 32][..], &crate::device_nonce(&report_data)] {
        let failed = failed(&wanted, alloc::vec![device(asked)]);
        assert_eq!(failed, ["gce-vtpm-chain", "vtpm-extra-data"].into());
    }
    // Not asked for, missing, doubled.
    assert_eq!(
        failed(&policy(""), alloc::vec![good.clone()]),
        ["devices-accepted"].into()
    );
    let missing = failed(&wanted, Vec::new());
    assert_eq!(missing, ["devices-accepted", "statement-devices"].into());
    let doubled = failed(&wanted, alloc::vec![good.clone(), good]);
    assert!(doubled.is_superset(&["devices-accepted", "statement-devices"].into()));
}

#[test]
fn evidence_with_a_td_quote_is_none_of_this() {
    let case = Case::new();
    let evidence = &case.evidence;
    let encoded = crate::AzureEvidence {
        hcl_report: evidence.ak_public.clone(),
        td_quote: Some(Vec::new()),
        quote_message: evidence.quote_message.clone(),
        quote_signature: evidence.quote_signature.clone(),
        pcr_values: evidence.pcr_values.clone(),
    };
    let encoded = encoded.encode().expect("it fits");
    let failed = failed(&case.explained(&encoded).clauses);
    assert_eq!(failed, ["gce-vtpm-evidence-format"].into());
}

#[test]
fn a_real_certificate_leads_to_googles_root_and_names_its_instance() {
    let Some(folder) = vectors() else { return };
    let folder = folder.join("gcp/gcp-vtpm-ak-certificate-openpcc");
    let read = |name: &str| std::fs::read(folder.join(name)).expect("the file of a vector");
    let (ak, intermediate) = (read("ak.der"), read("intermediate.der"));
    let example = include_str!("../../examples/gce-vtpm-policy.toml");
    let policy = |from: &str, to: &str| {
        assert!(example.contains(from), "{from}");
        GceVtpmPolicy::from_toml(&example.replace(from, to)).expect("the policy reads")
    };
    let now = UnixTime::parse_rfc3339("2026-07-01T00:00:00Z").expect("a moment");
    let failed = |chain: &[Vec<u8>], policy: &GceVtpmPolicy, now| {
        let explanation = explain_gce_ak_certificates(&pem(chain), policy, now);
        assert_eq!(
            explanation.error.is_none(),
            failed(&explanation.clauses).is_empty()
        );
        failed(&explanation.clauses)
    };
    let chain = [ak, intermediate];
    assert_eq!(failed(&chain, &policy("zones", "zones"), now), [].into());
    for (from, to, clause) in [
        ("nonvolatile-dev", "somebody-elses", "gce-vtpm-project"),
        ("227362733779", "1", "gce-vtpm-project"),
        ("us-west1-b", "us-west1-c", "gce-vtpm-zone"),
        ("8033817256003918212", "1", "gce-vtpm-instance-id"),
    ] {
        assert_eq!(failed(&chain, &policy(from, to), now), [clause].into());
    }
    let policy = policy("zones", "zones");
    let earlier = UnixTime::parse_rfc3339("2024-07-01T00:00:00Z").expect("a moment");
    assert_eq!(failed(&chain, &policy, earlier), ["gce-vtpm-validity"].into());
    assert_eq!(failed(&chain[..1], &policy, now), ["gce-vtpm-chain"].into());
    for at in (0..chain[0].len()).step_by(3) {
        let mut changed = chain.clone();
        changed[0][at] ^= 1 << (at % 8);
        assert!(!failed(&changed, &policy, now).is_empty(), "byte {at}");
    }
}

#[test]
fn a_real_quote_holds_alone() {
    let Some(folder) = vectors() else { return };
    let folder = folder.join("gcp/gcp-vtpm-cos85-nonce9009");
    let read = |name: &str| std::fs::read(folder.join(name)).expect("the file of a vector");
    let signature = read("quote-sha256.tpmt-sig");
    let evidence = GceVtpmEvidence {
        ak_public: read("ak-pub.tpmt"),
        quote_message: read("quote-sha256.msg"),
        quote_signature: crate::rsassa_signature(&signature)
            .expect("a TPMT_SIGNATURE")
            .to_vec(),
        // The values travel in the capture's protocol buffer; see `tpm::tests` for those.
        pcr_values: alloc::vec![0; 768],
    };
    let any: Vec<_> = (0..23).map(|pcr| format!("{pcr} = \"any\"\n")).collect();
    let policy = POLICY.split_once("[pcrs]").expect("a table").0;
    let policy = format!("{policy}[pcrs]\n{}23 = [\"{}\"]", any.concat(), "00".repeat(32));
    let policy = GceVtpmPolicy::from_toml(&policy).expect("the policy reads");
    let explanation = explain_gce_vtpm_quote(&evidence, None, &question(&policy, &[0x90, 0x09]));
    assert_eq!(failed(&explanation.clauses), ["vtpm-pcr-digest"].into());
    let skipped = explanation
        .clauses
        .iter()
        .filter(|clause| clause.outcome == Outcome::Skipped);
    assert_eq!(skipped.count(), 0);
    let explanation = explain_gce_vtpm_quote(&evidence, None, &question(&policy, &[0x90]));
    assert_eq!(
        failed(&explanation.clauses),
        ["vtpm-extra-data", "vtpm-pcr-digest"].into()
    );
    assert!(
        explanation
            .error
            .expect("refused")
            .to_string()
            .contains("vtpm-pcr-digest")
    );
}

proptest! {
    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = super::Instance::parse(&bytes);
        let _ = GceVtpmEvidence::decode(&bytes);
        let policy = GceVtpmPolicy::from_toml(POLICY).expect("the policy reads");
        prop_assert!(explain_gce_ak_certificates(&bytes, &policy, NOW).error.is_some());
        prop_assert!(explain_gce_vtpm(&bytes, &bytes, Some(&bytes), &question(&policy, &bytes)).error.is_some());
    }
}
