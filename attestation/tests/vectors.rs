//! Real evidence from public repositories, each with the verdict that it must get.
//!
//! Covered here: SNP reports, TDX quotes with their event logs, and the SNP and TDX parts of Azure, GCP and
//! composite samples. vTPM quotes and GPU evidence need their own verifiers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use attestation::{
    AppraisalPolicy, EndorsementKind, Endorsements, Event, EventLog, Explanation, Outcome, PlatformTag,
    RawEvidence, UnixTime, Verdict, Verifier,
};
use toml::{Table, Value};

/// The vectors, or `None` (said plainly) if they are not here. In CI they must be.
fn vectors() -> Option<(PathBuf, Vec<Table>)> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors");
    let folder = std::env::var_os("ADYTON_VECTORS").map_or(default, PathBuf::from);
    let Ok(manifest) = std::fs::read_to_string(folder.join("MANIFEST.toml")) else {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "no vectors in {}",
            folder.display()
        );
        report(&format!(
            "NOT RUN: no evidence vectors in {} (set ADYTON_VECTORS)",
            folder.display()
        ));
        return None;
    };
    let manifest: Table = toml::from_str(&manifest).expect("the manifest is TOML");
    let vectors = manifest["vector"].as_array().expect("vectors").iter();
    Some((
        folder,
        vectors
            .map(|vector| vector.as_table().expect("a table").clone())
            .collect(),
    ))
}

#[allow(clippy::print_stderr, reason = "tests say what they did not run")]
fn report(line: &str) {
    eprintln!("{line}");
}

fn text<'a>(table: &'a Table, key: &str) -> &'a str {
    table.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn companions(vector: &Table) -> impl Iterator<Item = &Table> {
    vector
        .get("companion")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_table)
}

fn read(folder: &Path, table: &Table) -> Vec<u8> {
    std::fs::read(folder.join(text(table, "file"))).expect("the file of a vector")
}

fn verify_at(vector: &Table) -> UnixTime {
    UnixTime::parse_rfc3339(text(vector, "verify_at")).unwrap_or(UnixTime::from_seconds(1_780_000_000))
}

/// The clauses that failed.
fn failed(explanation: &Explanation) -> BTreeSet<&'static str> {
    explanation
        .clauses
        .iter()
        .filter(|clause| clause.outcome == Outcome::Fail)
        .map(|clause| clause.id)
        .collect()
}

/// The manifest's default policy for SNP: no minimum TCB, no launch digest, SMT allowed. What a
/// policy must name is taken from the report itself, so that only the default checks decide.
fn snp_policy(report: &[u8], provider: &str, with_crl: bool) -> String {
    let hex_at =
        |offset: usize, bytes: usize| hex::encode(report.get(offset..offset + bytes).unwrap_or(&[0; 64]));
    let absent = if with_crl {
        ""
    } else {
        r#""absent-revocation-list", "#
    };
    let every_model: Vec<_> = (0..=255u8).collect();
    let minimum = |generation: &str, fmc: &str| {
        format!(
            "[[snp.minimum_tcb]]\ngeneration = \"{generation}\"\nmodels = {every_model:?}\nsteppings = {every_model:?}\n{fmc}
            boot_loader = 0\ntee = 0\nsnp = 0\nmicrocode = 0\nfirmware = \"0.0.0\"\nmitigations = 0\n"
        )
    };
    format!(
        r#"version = 1
role = "inference"
evidence_age_seconds_max = 60
collateral_age_seconds_max = 31622400
model_digests = ["{zero}"]
config_digests = ["{zero}"]
[snp]
launch_measurements = ["{}"]
host_data = ["{}"]
family_ids = ["{}"]
image_ids = ["{}"]
id_key_digests = ["{}"]
author_key_digests = ["{}"]
guest_svn_minimum = 0
guest_abi_minimum = "0.0"
guest_policy_required = []
guest_policy_accepted = ["smt"]
platform_required = []
enrolled_machines = "any"
report_versions = [2, 3, 4, 5]
vlek_providers = ["{provider}"]
exceptions = [{absent}"milan-vcek"]
{}{}{}"#,
        hex_at(0x90, 48),
        hex_at(0xc0, 32),
        hex_at(0x10, 16),
        hex_at(0x20, 16),
        hex_at(0xe0, 48),
        hex_at(0x110, 48),
        minimum("milan", ""),
        minimum("genoa", ""),
        minimum("turin", "fmc = 0"),
        zero = "00".repeat(32),
    )
}

fn snp(folder: &Path, vector: &Table, provider: &str, change: (&str, &str)) -> Explanation {
    let report = read(folder, vector);
    let mut endorsements = Endorsements::new();
    for companion in companions(vector) {
        let kind = match text(companion, "role") {
            "leaf" => EndorsementKind::SnpLeaf,
            role if role.starts_with("amd-as") => EndorsementKind::SnpIntermediate,
            role if role.ends_with(".crl") => EndorsementKind::SnpCrl,
            _ => continue,
        };
        endorsements.insert(kind, read(folder, companion));
    }
    let with_crl = endorsements.document(EndorsementKind::SnpCrl).is_some();
    let policy = snp_policy(&report, provider, with_crl).replace(change.0, change.1);
    let verifier = Verifier::new(AppraisalPolicy::from_toml(&policy).expect("the policy reads"));
    let report_data = report
        .get(0x50..0x90)
        .and_then(|data| data.try_into().ok())
        .unwrap_or([0; 64]);
    let evidence = RawEvidence {
        platform: PlatformTag::AmdSevSnp,
        evidence: &report,
        event_log: None,
        endorsements: &endorsements,
    };
    verifier.explain_evidence(&evidence, Some(&report_data), verify_at(vector))
}

/// No change of the policy.
const SAME: (&str, &str) = ("", "");

/// What the manifest calls a failed check, as our clause.
fn snp_clause(check: &str) -> Option<&'static str> {
    Some(match check {
        "report_signature" => "snp-report-signature",
        "chip_id_matches_hwid" => "snp-chip-id",
        "tcb_matches_cert" => "snp-tcb-certified",
        "leaf_issued_by_intermediate" => "snp-leaf-signature",
        "crl_fresh" => "snp-crl-current",
        "validity_at_time" => "snp-certificate-validity",
        "reserved_areas_zero" => "snp-reserved-zero",
        "policy.debug" => "snp-debug",
        "vmpl!=0" => "snp-vmpl",
        _ => return None,
    })
}

#[test]
fn snp_evidence_gets_its_expected_verdict() {
    let Some((folder, vectors)) = vectors() else {
        return;
    };
    let mut count = 0;
    for vector in vectors
        .iter()
        .filter(|vector| text(vector, "platform").ends_with("snp"))
    {
        let name = text(vector, "name");
        let expected = vector["expected"].as_table().expect("expected");
        let facts = vector.get("facts").and_then(Value::as_table);
        let provider = facts.map(|facts| text(facts, "csp_id")).unwrap_or_default();
        let explanation = snp(&folder, vector, provider, SAME);
        if text(expected, "verdict") == "accept" {
            let refused_by = |provider, change| self::failed(&snp(&folder, vector, provider, change));
            if !provider.is_empty() {
                assert_eq!(
                    refused_by("CN=somebody.else", SAME),
                    ["snp-vlek-provider"].into(),
                    "{name}"
                );
            } else if text(vector, "generation") == "Milan" {
                let strict = ("\"milan-vcek\"", "");
                assert_eq!(refused_by("", strict), ["snp-signing-key"].into(), "{name}");
            }
        }
        let failed = failed(&explanation);
        match text(expected, "verdict") {
            "accept" => assert!(
                matches!(explanation.verdict, Verdict::Accepted(_)),
                "{name}: {failed:?}"
            ),
            // No endorsement key certificate exists: all that may be wrong is that it is missing.
            "parse" => assert_eq!(failed, ["snp-certificates"].into(), "{name}"),
            "reject" => {
                assert!(matches!(explanation.verdict, Verdict::Refused(_)), "{name}");
                let seen = vector["seen"]["failed"]
                    .as_array()
                    .expect("seen")
                    .iter()
                    .filter_map(Value::as_str);
                let policy = text(expected, "why").split("refuses ").nth(1);
                let mut clauses: BTreeSet<_> = seen.chain(policy).filter_map(snp_clause).collect();
                if name == "snp-turin-v5-tcb-reserved-changed" {
                    clauses = ["snp-report-signature", "snp-tcb-layout"].into();
                }
                if name == "snp-genoa-v3-tinfoil-stale-crl" {
                    clauses.insert("snp-collateral-age");
                }
                assert!(!clauses.is_empty(), "{name}: {expected:?}");
                assert_eq!(failed, clauses, "{name}");
            }
            other => panic!("{name}: verdict {other}"),
        }
        count += 1;
    }
    assert_eq!(count, 29, "vectors with an SNP report");
}

fn tdx_policy(quote: &[u8], azure: bool) -> String {
    let body = if quote.first() == Some(&5) { 54 } else { 48 };
    let hex_at =
        |offset: usize| hex::encode(quote.get(body + offset..body + offset + 48).unwrap_or(&[0; 48]));
    let xfam = quote
        .get(body + 128..body + 136)
        .and_then(|xfam| xfam.try_into().ok())
        .unwrap_or([0; 8]);
    // Azure's paravisor owns SEPT_VE_DISABLE.
    let attributes = if azure {
        "[0x1000_0000, 0]"
    } else {
        "[0x1000_0000]"
    };
    format!(
        r#"version = 1
role = "inference"
evidence_age_seconds_max = 60
collateral_age_seconds_max = 31622400
model_digests = ["{zero}"]
config_digests = ["{zero}"]
[tdx]
mrtd = ["{}"]
rtmr0 = ["{}"]
rtmr1 = ["{}"]
rtmr2 = ["{}"]
rtmr3 = ["{}"]
mrconfigid = ["{}"]
mrowner = ["{}"]
mrownerconfig = ["{}"]
td_attributes = {attributes}
xfam = [{}]
enrolled_machines = "any"
evaluation_number_minimum = 0
"#,
        hex_at(136),
        hex_at(328),
        hex_at(376),
        hex_at(424),
        hex_at(472),
        hex_at(184),
        hex_at(232),
        hex_at(280),
        u64::from_le_bytes(xfam),
        zero = "00".repeat(32),
    )
}

fn tdx(folder: &Path, vector: &Table) -> Explanation {
    let policy = tdx_policy(&read(folder, vector), text(vector, "platform") == "azure-tdx");
    tdx_under(folder, vector, &policy)
}

fn tdx_under(folder: &Path, vector: &Table, policy: &str) -> Explanation {
    let quote = read(folder, vector);
    let mut endorsements = Endorsements::new();
    for companion in companions(vector).filter(|companion| text(companion, "role") == "collateral") {
        let collateral: serde_json::Value = serde_json::from_slice(&read(folder, companion)).expect("JSON");
        let part = |key: &str| collateral[key].as_str().expect("a string").to_owned();
        let list = |key: &str| hex::decode(part(key)).expect("hexadecimal");
        let signed = |name: &str, key: &str| {
            format!(
                "{{\"{name}\":{},\"signature\":\"{}\"}}",
                part(key),
                part(&format!("{key}_signature"))
            )
            .into_bytes()
        };
        endorsements.insert(EndorsementKind::TdxRootCrl, list("root_ca_crl"));
        endorsements.insert(EndorsementKind::TdxPckCrl, list("pck_crl"));
        endorsements.insert(EndorsementKind::TdxTcbInfo, signed("tcbInfo", "tcb_info"));
        endorsements.insert(
            EndorsementKind::TdxQeIdentity,
            signed("enclaveIdentity", "qe_identity"),
        );
        endorsements.insert(
            EndorsementKind::TdxTcbSigningChain,
            part("tcb_info_issuer_chain").into_bytes(),
        );
    }
    let verifier = Verifier::new(AppraisalPolicy::from_toml(policy).expect("the policy reads"));
    let body = if quote.first() == Some(&5) { 54 } else { 48 };
    let report_data = quote
        .get(body + 520..body + 584)
        .and_then(|data| data.try_into().ok())
        .unwrap_or([0; 64]);
    let log =
        companions(vector).find(|companion| text(companion, "role").to_lowercase().contains("event log"));
    let log = log.map(|companion| read(folder, companion));
    let evidence = RawEvidence {
        platform: PlatformTag::IntelTdx,
        evidence: &quote,
        event_log: log.as_deref(),
        endorsements: &endorsements,
    };
    verifier.explain_evidence(&evidence, Some(&report_data), verify_at(vector))
}

/// The policy with every register judged by its events, of which it lists those of the log but for one.
fn by_events(policy: &str, log: &EventLog, without: Option<usize>) -> String {
    let mut policy: Vec<String> = policy.lines().map(str::to_owned).collect();
    for line in &mut policy {
        if let Some(register) = line.strip_prefix("rtmr").and_then(|line| line.chars().next()) {
            let number = register.to_digit(10).expect("a number");
            if log.registers().contains(&(number + 1)) {
                *line = format!("rtmr{number} = \"events\"");
            }
        }
    }
    let digests = log
        .events()
        .iter()
        .enumerate()
        .filter(|(at, _)| Some(*at) != without);
    let digests = digests
        .filter_map(|(_, event)| event.sha384().map(hex::encode))
        .collect::<Vec<_>>();
    policy.push(format!("event_digests = {digests:?}"));
    policy.join("\n")
}

#[test]
fn real_registers_are_judged_by_their_events() {
    let Some((folder, vectors)) = vectors() else {
        return;
    };
    let mut count = 0;
    for name in [
        "gcp-tdx-cos113-ccel",
        "tdx-v4-ccel-lunal",
        "tdx-v4-dstack-event-log",
        "composite-tdx-8xhopper-near",
    ] {
        let vector = vectors
            .iter()
            .find(|vector| text(vector, "name") == name)
            .expect(name);
        let policy = tdx_policy(&read(&folder, vector), false);
        let log =
            companions(vector).find(|companion| text(companion, "role").to_lowercase().contains("event log"));
        let log = EventLog::parse(&read(&folder, log.expect("a log"))).expect("it reads");
        let explanation = tdx_under(&folder, vector, &by_events(&policy, &log, None));
        assert_eq!(failed(&explanation), BTreeSet::new(), "{name}");
        // Every event counts. An event that is there twice is listed twice.
        for (at, event) in log.events().iter().enumerate() {
            let twin = |other: &Event| other.sha384() == event.sha384();
            if log.events().iter().filter(|other| twin(other)).count() > 1 {
                continue;
            }
            let clause = ["tdx-rtmr0", "tdx-rtmr1", "tdx-rtmr2", "tdx-rtmr3"][event.register() as usize - 1];
            let explanation = tdx_under(&folder, vector, &by_events(&policy, &log, Some(at)));
            assert_eq!(failed(&explanation), [clause].into(), "{name} event {at}");
            count += 1;
        }
    }
    assert!(count > 90, "{count} events");
}

#[test]
fn a_second_separator_is_out_of_order_where_events_decide() {
    let Some((folder, vectors)) = vectors() else {
        return;
    };
    let name = "gcp-tdx-cos113-ccel-duplicate-separator";
    let vector = vectors
        .iter()
        .find(|vector| text(vector, "name") == name)
        .expect(name);
    let log = companions(vector).find(|companion| text(companion, "role") == "CCEL event log");
    let log = EventLog::parse(&read(&folder, log.expect("a log"))).expect("it reads");
    let policy = by_events(&tdx_policy(&read(&folder, vector), false), &log, None);
    let expected = ["tdx-event-order", "tdx-rtmr0-replay", "tdx-rtmr1-replay"];
    assert_eq!(failed(&tdx_under(&folder, vector, &policy)), expected.into());
}

const NO_COLLATERAL: &[&str] = &[
    "tdx-crl-signatures",
    "tdx-qe-identity-signature",
    "tdx-tcb-info-signature",
    "tdx-tcb-signer",
];
const PREPRODUCTION: &[&str] = &[
    "tdx-attributes",
    "tdx-crl-signatures",
    "tdx-pck-chain",
    "tdx-qe-identity-signature",
    "tdx-tcb-info-signature",
    "tdx-tcb-signer",
];

#[test]
fn tdx_evidence_gets_its_expected_verdict() {
    let Some((folder, vectors)) = vectors() else {
        return;
    };
    let mut count = 0;
    for vector in vectors
        .iter()
        .filter(|vector| text(vector, "platform").contains("tdx"))
    {
        let (name, platform) = (text(vector, "name"), text(vector, "platform"));
        // One has no quote.
        if text(vector, "file").ends_with("hcl-report.bin") {
            continue;
        }
        let expected = vector["expected"].as_table().expect("expected");
        let explanation = tdx(&folder, vector);
        let failed = failed(&explanation);
        let refused: &[&str] = match name {
            "azure-tdx-coco" | "tdx-v4-granite-coco" | "tdx-v4-phala-later-collateral" => &["tdx-tcb-status"],
            "gcp-tdx-endorsed-mrtd" => NO_COLLATERAL,
            "gcp-tdx-cos113-ccel-duplicate-separator" => &["tdx-rtmr0-replay", "tdx-rtmr1-replay"],
            "tdx-v4-preproduction-root-coco" => PREPRODUCTION,
            "tdx-reject-sgx-v3-phala" => &["tdx-quote-version"],
            "tdx-v4-debug-coco" => &["tdx-attributes", "tdx-debug"],
            "tdx-v4-spr-google-2023" => &["tdx-attributes", "tdx-platform-level", "tdx-reserved-zero"],
            "tdx-v5-alibaba-automata" => &["tdx-service-td"],
            "tdx-v5-phala-no-level" => &["tdx-platform-level"],
            _ => &[],
        };
        assert_eq!(
            refused.is_empty(),
            text(expected, "verdict") == "accept",
            "{name} ({platform}): {expected:?}"
        );
        assert_eq!(failed, refused.iter().copied().collect(), "{name}");
        assert_eq!(
            matches!(explanation.verdict, Verdict::Accepted(_)),
            refused.is_empty(),
            "{name}"
        );
        count += 1;
    }
    assert_eq!(count, 25, "vectors with a quote");
}
