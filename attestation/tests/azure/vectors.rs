//! Real evidence by its parts, and the policy that names what it has. The quotes carry other people's nonces.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use attestation::{
    AppraisalPolicy, AzureEvidence, EndorsementKind, Endorsements, Explanation, Outcome, PlatformTag,
    UnixTime, Verdict, Verifier,
};
use toml::{Table, Value};

/// The vectors, or `None` (said plainly) if they are not here. In CI they must be.
#[allow(clippy::print_stderr, reason = "tests say what they did not run")]
pub(crate) fn vectors() -> Option<(PathBuf, Vec<Table>)> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors");
    let folder = std::env::var_os("ADYTON_VECTORS").map_or(default, PathBuf::from);
    let Ok(manifest) = std::fs::read_to_string(folder.join("MANIFEST.toml")) else {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "no vectors in {}",
            folder.display()
        );
        eprintln!(
            "NOT RUN: no evidence vectors in {} (set ADYTON_VECTORS)",
            folder.display()
        );
        return None;
    };
    let manifest: Table = toml::from_str(&manifest).expect("the manifest is TOML");
    let vectors = manifest["vector"].as_array().expect("vectors").iter();
    let vectors = vectors.filter_map(Value::as_table);
    let azure = vectors.filter(|vector| text(vector, "platform").starts_with("azure-"));
    Some((folder, azure.cloned().collect()))
}

pub(crate) fn text<'a>(table: &'a Table, key: &str) -> &'a str {
    table.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// One vector's files by what they are.
pub(crate) struct Real<'a> {
    folder: &'a Path,
    vector: &'a Table,
    pub(crate) name: &'a str,
    pub(crate) on_tdx: bool,
    facts: &'a Table,
}

impl<'a> Real<'a> {
    pub(crate) fn new(folder: &'a Path, vector: &'a Table) -> Self {
        Self {
            folder,
            vector,
            name: text(vector, "name"),
            on_tdx: text(vector, "platform") == "azure-tdx",
            facts: vector["facts"].as_table().expect("facts"),
        }
    }

    pub(crate) fn read(&self, table: &Table) -> Vec<u8> {
        std::fs::read(self.folder.join(text(table, "file"))).expect("the file of a vector")
    }

    pub(crate) fn companions(&self) -> impl Iterator<Item = &'a Table> {
        let companions = self.vector.get("companion").and_then(Value::as_array);
        companions.into_iter().flatten().filter_map(Value::as_table)
    }

    pub(crate) fn companion(&self, role: &str) -> Option<Vec<u8>> {
        let companion = self
            .companions()
            .find(|companion| text(companion, "role").starts_with(role));
        companion.map(|companion| self.read(companion))
    }

    pub(crate) fn now(&self) -> UnixTime {
        UnixTime::parse_rfc3339(text(self.vector, "verify_at"))
            .unwrap_or(UnixTime::from_seconds(1_780_000_000))
    }

    pub(crate) fn tag(&self) -> PlatformTag {
        if self.on_tdx {
            PlatformTag::AzureIntelTdx
        } else {
            PlatformTag::AzureAmdSevSnp
        }
    }

    pub(crate) fn evidence(&self) -> AzureEvidence {
        let main = self.read(self.vector);
        let main_is_hcl = text(self.vector, "file").ends_with("hcl-report.bin");
        let part = |role: &str| self.companion(role).unwrap_or_default();
        AzureEvidence {
            hcl_report: if main_is_hcl {
                main.clone()
            } else {
                part("hcl-report")
            },
            td_quote: (self.on_tdx && !main_is_hcl).then_some(main),
            quote_message: part("tpm-quote-message"),
            quote_signature: part("tpm-quote-signature"),
            pcr_values: part("24 SHA-256 PCR values"),
        }
    }

    pub(crate) fn asked(&self) -> Vec<u8> {
        hex::decode(text(self.facts, "tpm_extra_data")).expect("hexadecimal")
    }

    pub(crate) fn endorsements(&self) -> Endorsements {
        let mut endorsements = Endorsements::new();
        let mut ak_chain = Vec::new();
        for companion in self.companions() {
            let bytes = self.read(companion);
            match text(companion, "role") {
                "leaf" => endorsements.insert(EndorsementKind::SnpLeaf, bytes),
                "collateral" => collateral(&mut endorsements, &bytes),
                role if role.starts_with("amd-as") => {
                    endorsements.insert(EndorsementKind::SnpIntermediate, bytes);
                }
                role if role.ends_with(".crl") => endorsements.insert(EndorsementKind::SnpCrl, bytes),
                role if role.starts_with("vTPM AK certificate chain") => ak_chain.push(bytes),
                _ => {}
            }
        }
        if !ak_chain.is_empty() {
            endorsements.insert(EndorsementKind::VtpmAkChain, pem(&ak_chain));
        }
        endorsements
    }

    /// A policy that names what the evidence has, and every departure that it needs.
    pub(crate) fn policy(&self, evidence: &AzureEvidence, with_crl: bool) -> String {
        let values = evidence.pcr_values.chunks(32).enumerate();
        let pcrs: String = values
            .map(|(pcr, value)| format!("{pcr} = [\"{}\"]\n", hex::encode(value)))
            .collect();
        let pcrs = if pcrs.is_empty() {
            format!("0 = [\"{}\"]\n", "00".repeat(32))
        } else {
            pcrs
        };
        let settings = self.facts.get("vm_configuration").and_then(Value::as_table);
        let thumbprint = settings.map_or("", |settings| text(settings, "root_cert_thumbprint"));
        let user_data = match text(self.facts, "user_data") {
            "" => "00".repeat(64),
            user_data => user_data.to_owned(),
        };
        format!(
            r#"version = 1
role = "inference"
evidence_age_seconds_max = 60
collateral_age_seconds_max = 31622400
model_digests = ["{zero}"]
config_digests = ["{zero}"]
[azure]
vm_ids = "any"
user_data = ["{user_data}"]
root_certificate_thumbprints = ["{thumbprint}"]
exceptions = ["console-enabled", "persisted-vtpm", "secure-boot-disabled", "absent-ak-certificate", "absent-user-data"]
[azure.pcrs]
{pcrs}{}"#,
            if self.on_tdx {
                tdx(evidence)
            } else {
                snp(evidence, with_crl)
            },
            zero = "00".repeat(32),
        )
    }

    pub(crate) fn explain(&self, evidence: &AzureEvidence) -> Explanation {
        self.explain_with(evidence, &self.endorsements(), |policy| policy)
    }

    pub(crate) fn explain_with(
        &self,
        evidence: &AzureEvidence,
        endorsements: &Endorsements,
        change: impl FnOnce(String) -> String,
    ) -> Explanation {
        self.explain_log(evidence, None, endorsements, change)
    }

    pub(crate) fn explain_log(
        &self,
        evidence: &AzureEvidence,
        event_log: Option<&[u8]>,
        endorsements: &Endorsements,
        change: impl FnOnce(String) -> String,
    ) -> Explanation {
        let with_crl = endorsements.document(EndorsementKind::SnpCrl).is_some();
        let policy = change(self.policy(&self.evidence(), with_crl));
        let policy = AppraisalPolicy::from_toml(&policy).expect("the policy reads");
        let explanation = Verifier::new(policy).explain_azure_evidence(
            self.tag(),
            evidence,
            event_log,
            endorsements,
            Some(&self.asked()),
            self.now(),
        );
        let passed = explanation
            .clauses
            .iter()
            .all(|clause| clause.outcome == Outcome::Pass);
        assert_eq!(
            matches!(explanation.verdict, Verdict::Accepted(_)),
            passed,
            "{}",
            self.name
        );
        explanation
    }
}

pub(crate) fn failed(explanation: &Explanation) -> BTreeSet<&'static str> {
    let clauses = explanation.clauses.iter();
    clauses
        .filter(|clause| clause.outcome == Outcome::Fail)
        .map(|clause| clause.id)
        .collect()
}

fn snp(evidence: &AzureEvidence, with_crl: bool) -> String {
    let report = evidence.hcl_report.get(32..32 + 1184).expect("a report");
    let hex_at = |offset: usize, bytes: usize| hex::encode(&report[offset..offset + bytes]);
    let every: Vec<_> = (0..=255u8).collect();
    let minimum: String = ["milan", "genoa"]
        .iter()
        .map(|generation| {
            format!(
                "[[azure.snp.minimum_tcb]]\ngeneration = \"{generation}\"\nmodels = {every:?}\nsteppings = {every:?}\n\
                 boot_loader = 0\ntee = 0\nsnp = 0\nmicrocode = 0\nfirmware = \"0.0.0\"\nmitigations = 0\n"
            )
        })
        .collect();
    format!(
        r#"[azure.snp]
launch_measurements = ["{}"]
family_ids = ["{}"]
image_ids = ["{}"]
id_key_digests = ["{}"]
guest_svn_minimum = 0
guest_abi_minimum = "0.0"
guest_policy_required = []
guest_policy_accepted = ["smt"]
platform_required = []
enrolled_machines = "any"
report_versions = [2, 3, 4, 5]
exceptions = [{}"milan-vcek"]
{minimum}"#,
        hex_at(0x90, 48),
        hex_at(0x10, 16),
        hex_at(0x20, 16),
        hex_at(0xe0, 48),
        if with_crl {
            ""
        } else {
            r#""absent-revocation-list", "#
        },
    )
}

fn tdx(evidence: &AzureEvidence) -> String {
    let mrtd = evidence.hcl_report.get(32 + 528..32 + 576).expect("a TDREPORT");
    let zero = "00".repeat(48);
    format!(
        r#"[azure.tdx]
mrtd = ["{}"]
rtmr0 = ["{zero}"]
rtmr1 = ["{zero}"]
rtmr2 = ["{zero}"]
rtmr3 = ["{zero}"]
td_attributes = [0x10000000, 0]
xfam = [0x618e7]
enrolled_machines = "any"
evaluation_number_minimum = 0
"#,
        hex::encode(mrtd)
    )
}

fn collateral(endorsements: &mut Endorsements, bytes: &[u8]) {
    let collateral: serde_json::Value = serde_json::from_slice(bytes).expect("JSON");
    let part = |key: &str| collateral[key].as_str().expect("a string").to_owned();
    let list = |key: &str| hex::decode(part(key)).expect("hexadecimal");
    let signed = |name: &str, key: &str| {
        let signature = part(&format!("{key}_signature"));
        format!("{{\"{name}\":{},\"signature\":\"{signature}\"}}", part(key)).into_bytes()
    };
    endorsements.insert(EndorsementKind::TdxRootCrl, list("root_ca_crl"));
    endorsements.insert(EndorsementKind::TdxPckCrl, list("pck_crl"));
    endorsements.insert(EndorsementKind::TdxTcbInfo, signed("tcbInfo", "tcb_info"));
    let identity = signed("enclaveIdentity", "qe_identity");
    endorsements.insert(EndorsementKind::TdxQeIdentity, identity);
    let chain = part("tcb_info_issuer_chain").into_bytes();
    endorsements.insert(EndorsementKind::TdxTcbSigningChain, chain);
}

pub(crate) fn pem(certificates: &[Vec<u8>]) -> Vec<u8> {
    use base64::Engine as _;
    let encode = |der| base64::engine::general_purpose::STANDARD.encode(der);
    let block = |der| {
        format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            encode(der)
        )
    };
    certificates.iter().map(block).collect::<String>().into_bytes()
}
