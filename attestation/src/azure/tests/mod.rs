//! Azure's evidence under simulated processors and keys of our own, signed as hardware signs.

mod bundle;
mod key;
mod report;
mod runtime;
mod shown;
mod simulated_paravisor;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use std::sync::OnceLock;

use attester::Attester as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256, Sha384};
use simulated::adversary::{Domain, sign_quote, sign_report};
use simulated::{Flavor, Platform};

use super::AzureEvidence;
use super::hcl::assemble;
use crate::tpm::testkit::{
    Failed, Issue, Message, NOW, RsaKey, another_key, attestation_key, failed, intermediate, pem, root,
};
use crate::x509::TrustAnchor;
use crate::{AppraisalPolicy, EndorsementKind, Endorsements, Outcome, PlatformTag, Verdict, Verifier};

const ASKED: [u8; 32] = [0x5a; 32];
const PARAVISOR: [u8; 48] = [9; 48];
const PCRS: [u8; 2] = [4, 11];
const VM_ID: &str = "3c18c97a-0d2a-4565-969d-166cdcef26a3";
const CHAIN: EndorsementKind = EndorsementKind::VtpmAkChain;

pub(crate) fn platform() -> &'static Platform {
    static PLATFORM: OnceLock<Platform> = OnceLock::new();
    let now = simulated::UnixTime::from_seconds(NOW.seconds());
    PLATFORM.get_or_init(|| Platform::manufacture(now, 3600).expect("a platform"))
}

fn jwk(kid: &str, key: &RsaKey) -> String {
    let modulus = URL_SAFE_NO_PAD.encode(key.modulus());
    format!(r#"{{"kid":"{kid}","key_ops":["sign"],"kty":"RSA","e":"AQAB","n":"{modulus}"}}"#)
}

fn runtime() -> String {
    format!(
        r#"{{"keys":[{},{}],"vm-configuration":{{"root-cert-thumbprint":"","console-enabled":false,"secure-boot":true,"tpm-enabled":true,"tpm-persisted":false,"filtered-vpci-devices-allowed":false,"vmUniqueId":"{VM_ID}"}},"user-data":"{}"}}"#,
        jwk("HCLAkPub", attestation_key()),
        jwk("HCLEkPub", another_key()),
        "00".repeat(64)
    )
}

fn values() -> Vec<u8> {
    [[1; 32], [2; 32]].concat()
}

/// Evidence in the making, with the policy that accepts it.
#[derive(Clone)]
struct Case {
    flavor: Flavor,
    runtime: String,
    hash_type: u32,
    report_type: u32,
    /// What the hardware signs as report data.
    report_data: [u8; 64],
    evidence: AzureEvidence,
    endorsements: Endorsements,
    asked: Vec<u8>,
    policy: String,
}

impl Case {
    fn new(flavor: Flavor) -> Self {
        let case = Self {
            flavor,
            runtime: String::new(),
            hash_type: 1,
            report_type: match flavor {
                Flavor::Snp => 2,
                Flavor::Tdx => 4,
            },
            report_data: [0; 64],
            evidence: AzureEvidence {
                hcl_report: Vec::new(),
                td_quote: None,
                quote_message: Vec::new(),
                quote_signature: Vec::new(),
                pcr_values: values(),
            },
            endorsements: Endorsements::new(),
            asked: ASKED.to_vec(),
            policy: policy(flavor),
        };
        case.runtime(&runtime())
            .message(&Message::new(&ASKED, &PCRS, &values()))
            .chain(&[Issue::leaf(attestation_key()).issue(), intermediate()])
    }

    /// The same with these runtime data, hashed with SHA-256.
    fn runtime(mut self, runtime: &str) -> Self {
        self.runtime = runtime.into();
        self.report_data = [0; 64];
        self.report_data[..32].copy_from_slice(&Sha256::digest(runtime));
        self.launch()
    }

    /// The same with `from` in the runtime data read as `to`.
    fn setting(self, from: &str, to: &str) -> Self {
        assert!(self.runtime.contains(from), "{from}");
        let changed = self.runtime.replace(from, to);
        self.runtime(&changed)
    }

    /// Has the hardware sign the report data, and puts the HCL report together.
    fn launch(mut self) -> Self {
        let attester = platform().attester(self.flavor, PARAVISOR, [0; 32]);
        let collected = attester.evidence(&self.report_data).expect("evidence");
        let mut signed = collected.evidence;
        let chain = self.endorsements.remove(CHAIN);
        self.endorsements = Endorsements::decode(&collected.endorsements.encode()).expect("endorsements");
        if let Some(chain) = chain {
            self.endorsements.insert(CHAIN, chain);
        }
        let report = match self.flavor {
            Flavor::Snp => {
                sign_report(platform(), &mut signed, Domain::Hardware).expect("a signature");
                signed
            }
            Flavor::Tdx => {
                sign_quote(platform(), &mut signed, Domain::Hardware).expect("a signature");
                let report = td_report(&signed);
                self.evidence.td_quote = Some(signed);
                report
            }
        };
        self.evidence.hcl_report =
            assemble(self.report_type, self.hash_type, &report, self.runtime.as_bytes());
        self
    }

    fn message(self, message: &Message) -> Self {
        self.message_by(attestation_key(), message)
    }

    fn message_by(mut self, key: &RsaKey, message: &Message) -> Self {
        self.evidence.quote_message = message.encode();
        self.evidence.quote_signature = key.sign(&self.evidence.quote_message);
        self
    }

    fn chain(mut self, certificates: &[Vec<u8>]) -> Self {
        self.endorsements.insert(CHAIN, pem(certificates));
        self
    }

    /// The same with a policy in which `from` reads `to`.
    fn policy(mut self, from: &str, to: &str) -> Self {
        assert!(self.policy.contains(from), "{from}");
        self.policy = self.policy.replace(from, to);
        self
    }

    fn excepting(self, exception: &str) -> Self {
        self.policy("exceptions = []", &format!("exceptions = [\"{exception}\"]"))
    }

    fn change(mut self, change: impl FnOnce(&mut AzureEvidence)) -> Self {
        change(&mut self.evidence);
        self
    }

    fn tag(&self) -> PlatformTag {
        match self.flavor {
            Flavor::Snp => PlatformTag::AzureAmdSevSnp,
            Flavor::Tdx => PlatformTag::AzureIntelTdx,
        }
    }

    /// The clauses that failed.
    fn failed(&self) -> Failed {
        self.failed_as(self.tag())
    }

    fn failed_as(&self, tag: PlatformTag) -> Failed {
        let explanation = verifier(&self.policy).explain_azure_evidence(
            tag,
            &self.evidence,
            None,
            &self.endorsements,
            Some(&self.asked),
            NOW,
        );
        let failed = failed(&explanation.clauses);
        let passed = explanation
            .clauses
            .iter()
            .all(|clause| clause.outcome == Outcome::Pass);
        assert_eq!(matches!(explanation.verdict, Verdict::Accepted(_)), passed);
        assert!(passed || !failed.is_empty());
        failed
    }

    #[track_caller]
    fn refused(&self, clauses: &[&str]) {
        assert_eq!(self.failed(), clauses.iter().copied().collect());
    }
}

/// The TDREPORT of which the quote was made.
fn td_report(quote: &[u8]) -> Vec<u8> {
    let body = &quote[48..632];
    let mut report = alloc::vec![0; 1024];
    report[0] = 0x81;
    report[128..192].copy_from_slice(&body[520..584]);
    report[264..384].copy_from_slice(&body[..120]);
    report[512..912].copy_from_slice(&body[120..520]);
    rehash(&mut report);
    report
}

fn rehash(report: &mut [u8]) {
    let (tcb, info) = (
        Sha384::digest(&report[256..495]),
        Sha384::digest(&report[512..1024]),
    );
    report[32..80].copy_from_slice(&tcb);
    report[80..128].copy_from_slice(&info);
}

fn policy(flavor: Flavor) -> String {
    let simulated = platform().policy_fragment(flavor, &PARAVISOR);
    let simulated = simulated.replace("danger.simulated", "azure");
    let processor: Vec<_> = simulated
        .lines()
        .filter(|line| !line.starts_with("root_certificate"))
        .collect();
    format!(
        "version = 1\nrole = \"broker\"\nevidence_age_seconds_max = 60\ncollateral_age_seconds_max = 60\n\
         config_digests = [\"{}\"]\n[azure]\nvm_ids = [\"{VM_ID}\"]\nexceptions = []\n[azure.pcrs]\n\
         4 = [\"{}\"]\n11 = [\"{}\"]\n{}\n",
        "05".repeat(32),
        "01".repeat(32),
        "02".repeat(32),
        processor.join("\n")
    )
}

/// A verifier that takes the simulated roots and the test's for the manufacturers'.
fn verifier(policy: &str) -> Verifier {
    let anchors = |flavor: Flavor| {
        let header = format!(
            "version = 1\nrole = \"broker\"\nevidence_age_seconds_max = 60\ncollateral_age_seconds_max = 60\n\
             config_digests = [\"{}\"]\n{}",
            "05".repeat(32),
            platform().policy_fragment(flavor, &PARAVISOR)
        );
        AppraisalPolicy::from_toml(&header).expect("the policy reads")
    };
    static ROOT: OnceLock<Vec<u8>> = OnceLock::new();
    let azure = TrustAnchor::parse(ROOT.get_or_init(root)).expect("a root");
    let tdx = anchors(Flavor::Tdx).simulated_tdx.expect("a table");
    let snp = anchors(Flavor::Snp).simulated_snp.expect("a table");
    Verifier::with_roots(
        AppraisalPolicy::from_toml(policy).expect("the policy reads"),
        alloc::vec![(
            crate::snp::Generation::Genoa,
            snp.root_certificate.expect("a root").0
        )],
        tdx.root_certificate.expect("a root").0,
        azure,
    )
}

const FLAVORS: [Flavor; 2] = [Flavor::Snp, Flavor::Tdx];
