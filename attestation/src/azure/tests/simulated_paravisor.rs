//! A simulated paravisor's evidence passes under its own table alone, and each part that is not its own is named.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use std::sync::OnceLock;

use simulated::Flavor;
use simulated::azure::{Paravisor, VtpmAuthority, VtpmKeys};

use super::{CHAIN, Case as RealCase, PARAVISOR, PCRS, VM_ID, platform};
use crate::event_log::EventKind;
use crate::tpm::testkit::{
    Failed, Log, Message, NOW, another_key, attestation_key, authority_key, failed, pem, statement_fields,
};
use crate::{
    AppraisalPolicy, Assurance, AzureEvidence, Bundle, Endorsements, Nonce, PlatformTag, PolicyError,
    Verdict, Verifier, endorsement_lookup, endorsement_subject, inspect, vtpm_qualifying_data,
};

const NONCE: Nonce = Nonce::from_bytes([6; 32]);
const TAG: PlatformTag = PlatformTag::SimulatedAzureAmdSevSnp;

fn authority() -> &'static VtpmAuthority {
    static AUTHORITY: OnceLock<VtpmAuthority> = OnceLock::new();
    AUTHORITY.get_or_init(another_authority)
}

fn another_authority() -> VtpmAuthority {
    VtpmAuthority::manufacture(simulated::UnixTime::from_seconds(NOW.seconds())).expect("an authority")
}

fn head() -> String {
    format!(
        "version = 1\nrole = \"broker\"\nevidence_age_seconds_max = 60\ncollateral_age_seconds_max = 60\n\
         config_digests = [\"{}\"]\n",
        "05".repeat(32)
    )
}

fn log() -> Log {
    Log::default()
        .event(
            4,
            EventKind::EFI_ACTION,
            b"Calling EFI Application from Boot Option",
        )
        .event(11, EventKind::IPL, b"kernel_cmdline: quiet")
}

/// The table of a policy that accepts the guest of [`log`].
fn pcrs(table: &str) -> String {
    let value = |pcr: u8| hex::encode(log().value(pcr.into()));
    format!(
        "[{table}.pcrs]\n4 = [\"{}\"]\n11 = [\"{}\"]\n",
        value(4),
        value(11)
    )
}

/// A bundle of a guest behind the simulated paravisor, and the policy that accepts it.
struct Case {
    bundle: Bundle,
    policy: String,
}

impl Case {
    fn new() -> Self {
        Self::launched(PARAVISOR, authority())
    }

    fn launched(measurement: [u8; 48], authority: &VtpmAuthority) -> Self {
        let statement = statement_fields().encode().expect("a statement");
        let report_data = statement.report_data(&NONCE);
        let keys = VtpmKeys {
            attestation: attestation_key().modulus(),
            endorsement: another_key().modulus(),
        };
        let paravisor = Paravisor::new(platform(), measurement, keys).expect("a paravisor");
        let values = PCRS.map(|pcr| log().value(pcr.into())).concat();
        let message = Message::new(&vtpm_qualifying_data(&report_data), &PCRS, &values).encode();
        let evidence = AzureEvidence {
            hcl_report: paravisor.hcl_report(&report_data).expect("a report"),
            td_quote: None,
            quote_signature: attestation_key().sign(&message),
            quote_message: message,
            pcr_values: values,
        };
        let endorsements = paravisor.endorsements().encode();
        let mut endorsements = Endorsements::decode(&endorsements).expect("endorsements");
        let now = simulated::UnixTime::from_seconds(NOW.seconds());
        let certificate = authority
            .certify(&attestation_key().modulus(), now)
            .expect("a certificate");
        endorsements.insert(CHAIN, pem(&[certificate]));
        Self {
            bundle: Bundle {
                platform: TAG,
                evidence: evidence.encode().expect("it fits"),
                statement: statement.statement_bytes().to_vec(),
                event_log: Some(log().bytes()),
                devices: Vec::new(),
                endorsements,
            },
            policy: [
                head(),
                platform().azure_policy_fragment(self::authority(), &PARAVISOR),
                pcrs("danger.simulated.azure"),
            ]
            .concat(),
        }
    }

    fn policy(mut self, from: &str, to: &str) -> Self {
        assert!(self.policy.contains(from), "{from}");
        self.policy = self.policy.replace(from, to);
        self
    }

    fn evidence(mut self, change: impl FnOnce(&mut AzureEvidence)) -> Self {
        let mut evidence = AzureEvidence::decode(&self.bundle.evidence).expect("evidence");
        change(&mut evidence);
        self.bundle.evidence = evidence.encode().expect("it fits");
        self
    }

    fn read(&self) -> Result<AppraisalPolicy, PolicyError> {
        AppraisalPolicy::from_toml(&self.policy)
    }

    #[track_caller]
    fn refused(&self, clauses: &[&str]) {
        let verifier = Verifier::new(self.read().expect("the policy reads"));
        assert_eq!(self.failed(&verifier), clauses.iter().copied().collect());
    }

    fn failed(&self, verifier: &Verifier) -> Failed {
        let explanation = verifier.explain(&self.bundle, &NONCE, NOW);
        let failed = failed(&explanation.clauses);
        match explanation.verdict {
            Verdict::Accepted(assurance) => {
                assert_eq!((assurance, failed.len()), (Assurance::Simulated, 0));
            }
            Verdict::Refused(_) => assert!(!failed.is_empty()),
        }
        failed
    }
}

#[test]
fn its_own_table_accepts_it_and_says_that_it_is_simulated() {
    let case = Case::new();
    case.refused(&[]);
    let verifier = Verifier::new(case.read().expect("the policy reads"));
    let verified = verifier.appraise(&case.bundle, &NONCE, NOW).expect("accepted");
    assert_eq!(verified.assurance(), Assurance::Simulated);
    assert_eq!(verified.claims().platform(), TAG);
    assert_eq!(verified.claims().launch_measurement(), &PARAVISOR);
    assert!(verified.claims().vtpm().is_some());
    assert!(!verified.claims().boot().is_empty(), "what the log says");
    let evidence = AzureEvidence::decode(&case.bundle.evidence).expect("evidence");
    assert_eq!(evidence.hcl_report.len(), 2600);
    let fields = inspect(&evidence.hcl_report).expect("an HCL report");
    let keys = fields.iter().find(|field| field.name == "keys").expect("keys");
    assert_eq!(format!("{}", keys.value), "HCLAkPub, HCLEkPub");
    let (report, of) = (&evidence.hcl_report[32..1216], &case.bundle.evidence);
    let snp = PlatformTag::SimulatedAmdSevSnp;
    assert_eq!(endorsement_subject(TAG, of), endorsement_subject(snp, report));
    assert_eq!(endorsement_lookup(TAG, of), endorsement_lookup(snp, report));
}

#[test]
fn each_part_that_is_another_is_named() {
    // Another authority for vTPMs, and another root in the policy.
    Case::launched(PARAVISOR, &another_authority()).refused(&["azure-ak-chain"]);
    Case::launched([8; 48], authority()).refused(&["snp-measurement"]);
    let value = |pcr: u32| hex::encode(log().value(pcr));
    for pcr in [4, 11] {
        Case::new()
            .policy(&value(pcr), &"0b".repeat(32))
            .refused(&["vtpm-pcr-values"]);
    }
    Case::new()
        .policy("\n11 = ", "\n9 = \"any\"\n11 = ")
        .refused(&["vtpm-pcr-selection"]);
    let user_data = |evidence: &mut AzureEvidence| {
        let found = evidence
            .hcl_report
            .windows(11)
            .position(|part| part == b"\"user-data\"");
        let at = found.expect("user data") + 13;
        evidence.hcl_report[at] = if evidence.hcl_report[at] == b'1' {
            b'2'
        } else {
            b'1'
        };
    };
    let clauses = ["azure-runtime-data-hash", "azure-user-data", "report-data"];
    Case::new().evidence(user_data).refused(&clauses);
    Case::new()
        .evidence(|evidence| evidence.hcl_report[32 + 0x2a0] ^= 1)
        .refused(&["snp-report-signature"]);
    Case::new()
        .evidence(|evidence| evidence.quote_signature = authority_key().sign(&evidence.quote_message))
        .refused(&["vtpm-quote-signature"]);
    let mut other_log = Case::new();
    let altered = log().event(11, EventKind::IPL, b"kernel_cmdline: debug");
    other_log.bundle.event_log = Some(altered.bytes());
    other_log.refused(&["vtpm-event-log"]);
    // An event whose data are not what was measured.
    let mut renamed = Case::new();
    let log = renamed.bundle.event_log.as_mut().expect("a log");
    let at = log
        .windows(5)
        .position(|part| part == b"quiet")
        .expect("the line");
    log[at] ^= 1;
    renamed.refused(&["vtpm-event-log"]);
    Case::new()
        .policy("\"secure-boot-disabled\", ", "")
        .refused(&["azure-secure-boot"]);
    let mut late = Case::new();
    late.bundle.statement.clear();
    assert!(
        !late
            .failed(&Verifier::new(late.read().expect("it reads")))
            .is_empty()
    );
}

/// The same evidence under the tables of real machines, and a real machine's under this one, even where each root is
/// taken for the other's.
#[test]
fn simulated_and_real_evidence_do_not_pass_as_each_other() {
    let mut simulated = Case::new();
    let real = RealCase::new(Flavor::Snp)
        .policy(&format!("[\"{VM_ID}\"]"), "\"any\"")
        .policy(
            "exceptions = []",
            "exceptions = [\"secure-boot-disabled\", \"console-enabled\", \"interactive-console\"]",
        );
    let (before, after) = real.policy.split_once("[azure.pcrs]").expect("a table");
    let (_, after) = after.split_once("[azure.snp]").expect("a table");
    let of_real = format!("{before}{}[azure.snp]{after}", pcrs("azure"));
    // With the simulated processor's root in AMD's place, and the test's own in Azure's.
    let verifier = super::verifier(&of_real);
    assert_eq!(simulated.failed(&verifier), ["platform-accepted"].into());
    simulated.bundle.platform = PlatformTag::AzureAmdSevSnp;
    let clauses = ["azure-ak-chain", "snp-report-signature"].into();
    assert_eq!(
        simulated.failed(&verifier),
        clauses,
        "simulated evidence posing as real"
    );
    let built_in = Verifier::new(AppraisalPolicy::from_toml(&of_real).expect("it reads"));
    assert!(simulated.failed(&built_in).contains("snp-root"));
    for tag in [PlatformTag::SimulatedAmdSevSnp, PlatformTag::AmdSevSnp] {
        simulated.bundle.platform = tag;
        let own = Verifier::new(simulated.read().expect("it reads"));
        assert_eq!(simulated.failed(&own), ["platform-accepted"].into(), "{tag}");
    }

    let own = Verifier::new(Case::new().read().expect("it reads"));
    let explain = |tag| {
        let (evidence, endorsements) = (&real.evidence, &real.endorsements);
        let asked = Some(&real.asked[..]);
        let explanation = own.explain_azure_evidence(tag, evidence, None, endorsements, asked, NOW);
        assert!(matches!(explanation.verdict, Verdict::Refused(_)));
        failed(&explanation.clauses)
    };
    assert_eq!(explain(PlatformTag::AzureAmdSevSnp), ["platform-accepted"].into());
    let posing = explain(TAG);
    for clause in ["snp-report-signature", "azure-ak-chain"] {
        assert!(
            posing.contains(clause),
            "real evidence posing as simulated: {posing:?}"
        );
    }
}

#[test]
fn its_table_names_its_own_roots_and_no_other_processor() {
    let line = |text: &str, key: &str| {
        let lines = text.lines().find(|line| line.starts_with(key));
        format!("{}\n", lines.expect("the key"))
    };
    let case = Case::new();
    case.read().expect("it reads");
    let root = line(&case.policy, "vtpm_root_certificate");
    let snp_root = line(&case.policy, "root_certificate");
    for (from, to) in [
        (&root[..], ""),
        (&snp_root[..], ""),
        (&root[..], "vtpm_root_certificate = \"AAAA\"\n"),
        ("[danger.simulated.azure.snp]", "[danger.simulated.azure.tdx]"),
        ("[danger.simulated.azure.snp]", "[danger.simulated.snp]"),
        (
            "[danger.simulated.azure.pcrs]",
            "[danger.simulated.azure.registers]",
        ),
        ("guest_svn_minimum", "vmpl = 1\nguest_svn_minimum"),
        ("danger.simulated.azure", "azure"),
        ("danger.simulated.azure", "danger.azure"),
    ] {
        let error = Case::new().policy(from, to).read().expect_err(to);
        assert!(!format!("{error}").is_empty());
    }
    let measurement = simulated::measure(Flavor::Tdx, b"executable", b"config");
    let tdx = platform().policy_fragment(Flavor::Tdx, &measurement);
    let mut both = Case::new();
    both.policy
        .push_str(&tdx.replace("danger.simulated.tdx", "danger.simulated.azure.tdx"));
    let error = both.read().expect_err("a second processor");
    assert!(
        format!("{error}").contains("danger.simulated.azure.tdx: SEV-SNP is simulated"),
        "{error}"
    );
    // The real table has its root built in.
    let real = RealCase::new(Flavor::Snp).policy("[azure]\n", &format!("[azure]\n{root}"));
    let error = AppraisalPolicy::from_toml(&real.policy).expect_err("a root of its own");
    assert!(
        format!("{error}").contains("azure.vtpm_root_certificate"),
        "{error}"
    );
    let real = AppraisalPolicy::from_toml(&RealCase::new(Flavor::Snp).policy).expect("it reads");
    assert!(!real.accepts(TAG) && real.accepts(PlatformTag::AzureAmdSevSnp));
    let own = case.read().expect("it reads");
    for tag in PlatformTag::ALL {
        assert_eq!(own.accepts(tag), tag == TAG, "{tag}");
    }
}
