//! Real SNP reports and TDX quotes that are accepted, each with a policy that names what it has.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use attestation::{
    AppraisalPolicy, EndorsementKind, Endorsements, Explanation, Outcome, PlatformTag, RawEvidence, UnixTime,
    Verdict, Verifier,
};
use toml::{Table, Value};

use crate::sweep::say;

/// How old collateral may be.
pub(crate) const COLLATERAL_AGE_SECONDS: u64 = 31_622_400;

/// The folder of vectors and their manifest, or `None` (said plainly) if they are not here. In CI they must be.
pub(crate) fn manifest() -> Option<(PathBuf, Vec<Table>)> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors");
    let folder = std::env::var_os("ADYTON_VECTORS").map_or(default, PathBuf::from);
    let Ok(manifest) = std::fs::read_to_string(folder.join("MANIFEST.toml")) else {
        let absent = format!("no evidence vectors in {}", folder.display());
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{absent}");
        say(&format!("NOT RUN: {absent} (set ADYTON_VECTORS)"));
        return None;
    };
    let manifest: Table = toml::from_str(&manifest).expect("the manifest is TOML");
    let vectors = manifest["vector"].as_array().expect("vectors").iter();
    Some((folder, vectors.filter_map(Value::as_table).cloned().collect()))
}

pub(crate) fn text<'a>(table: &'a Table, key: &str) -> &'a str {
    table.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// One accepted report or quote and all that is needed to appraise it.
pub(crate) struct Real {
    pub(crate) name: String,
    pub(crate) platform: PlatformTag,
    pub(crate) evidence: Vec<u8>,
    pub(crate) endorsements: Endorsements,
    pub(crate) event_log: Option<Vec<u8>>,
    /// The manufacturer's root, which is compiled in.
    pub(crate) root: Vec<u8>,
    pub(crate) now: UnixTime,
    report_data: [u8; 64],
    verifier: Verifier,
}

impl Real {
    /// Every accepted one, `None` if the vectors are not here.
    pub(crate) fn all() -> Option<Vec<Self>> {
        let (folder, vectors) = manifest()?;
        let accepted =
            |vector: &&Table| text(vector["expected"].as_table().expect("expected"), "verdict") == "accept";
        let real: Vec<_> = vectors
            .iter()
            .filter(accepted)
            .filter_map(|vector| Self::of(&folder, vector))
            .collect();
        for real in &real {
            assert!(real.accepts(&real.evidence, &real.endorsements), "{}", real.name);
        }
        Some(real)
    }

    /// The one with this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::all()?.into_iter().find(|real| real.name == name)
    }

    fn of(folder: &Path, vector: &Table) -> Option<Self> {
        let read =
            |table: &Table| std::fs::read(folder.join(text(table, "file"))).expect("the file of a vector");
        let platform = text(vector, "platform");
        let tag = match platform {
            _ if platform.ends_with("snp") => PlatformTag::AmdSevSnp,
            _ if platform.contains("tdx") => PlatformTag::IntelTdx,
            _ => return None,
        };
        let evidence = read(vector);
        let companions = vector.get("companion").and_then(Value::as_array);
        let companions = companions.into_iter().flatten().filter_map(Value::as_table);
        let (mut endorsements, mut event_log, mut root) = (Endorsements::new(), None, Vec::new());
        for companion in companions {
            let role = text(companion, "role");
            match role {
                "leaf" => endorsements.insert(EndorsementKind::SnpLeaf, read(companion)),
                "collateral" => collateral(&mut endorsements, &read(companion)),
                "intel-sgx-root-ca" => root = read(companion),
                _ if role.starts_with("amd-ark") => root = read(companion),
                _ if role.starts_with("amd-as") => {
                    endorsements.insert(EndorsementKind::SnpIntermediate, read(companion));
                }
                _ if role.ends_with(".crl") => endorsements.insert(EndorsementKind::SnpCrl, read(companion)),
                _ if role.to_lowercase().contains("event log") => event_log = Some(read(companion)),
                _ => {}
            }
        }
        let (report_data_at, policy) = if tag == PlatformTag::AmdSevSnp {
            let facts = vector.get("facts").and_then(Value::as_table);
            let provider = facts.map(|facts| text(facts, "csp_id")).unwrap_or_default();
            let with_crl = endorsements.document(EndorsementKind::SnpCrl).is_some();
            (0x50, snp_policy(&evidence, provider, with_crl))
        } else {
            (
                body_at(&evidence) + 520,
                tdx_policy(&evidence, platform == "azure-tdx"),
            )
        };
        let report_data = evidence[report_data_at..report_data_at + 64]
            .try_into()
            .expect("64 bytes");
        Some(Self {
            name: text(vector, "name").to_owned(),
            platform: tag,
            endorsements,
            event_log,
            root,
            now: UnixTime::parse_rfc3339(text(vector, "verify_at")).expect("a moment"),
            report_data,
            verifier: Verifier::new(AppraisalPolicy::from_toml(&policy).expect("the policy reads")),
            evidence,
        })
    }

    pub(crate) fn explain(&self, evidence: &[u8], endorsements: &Endorsements, now: UnixTime) -> Explanation {
        let evidence = RawEvidence {
            platform: self.platform,
            evidence,
            event_log: self.event_log.as_deref(),
            endorsements,
        };
        self.verifier
            .explain_evidence(&evidence, Some(&self.report_data), now)
    }

    pub(crate) fn accepts(&self, evidence: &[u8], endorsements: &Endorsements) -> bool {
        let explanation = self.explain(evidence, endorsements, self.now);
        matches!(explanation.verdict, Verdict::Accepted(_))
    }

    /// Whether it is accepted with another document in the place of its own.
    pub(crate) fn accepts_document(&self, kind: EndorsementKind, document: Vec<u8>) -> bool {
        let mut endorsements = self.endorsements.clone();
        endorsements.insert(kind, document);
        self.accepts(&self.evidence, &endorsements)
    }
}

/// Where the body of a quote begins.
pub(crate) fn body_at(quote: &[u8]) -> usize {
    if quote.first() == Some(&5) { 54 } else { 48 }
}

/// The clauses that failed.
pub(crate) fn failed(explanation: &Explanation) -> BTreeSet<&'static str> {
    let clauses = explanation.clauses.iter();
    clauses
        .filter(|clause| clause.outcome == Outcome::Fail)
        .map(|clause| clause.id)
        .collect()
}

fn collateral(endorsements: &mut Endorsements, bytes: &[u8]) {
    let collateral: serde_json::Value = serde_json::from_slice(bytes).expect("JSON");
    let part = |key: &str| collateral[key].as_str().expect("a string").to_owned();
    let list = |key: &str| hex::decode(part(key)).expect("hexadecimal");
    let signed = |name: &str, key: &str| {
        let signature = part(&format!("{key}_signature"));
        format!("{{\"{name}\":{},\"signature\":\"{signature}\"}}", part(key)).into_bytes()
    };
    for (kind, document) in [
        (EndorsementKind::TdxRootCrl, list("root_ca_crl")),
        (EndorsementKind::TdxPckCrl, list("pck_crl")),
        (EndorsementKind::TdxTcbInfo, signed("tcbInfo", "tcb_info")),
        (
            EndorsementKind::TdxQeIdentity,
            signed("enclaveIdentity", "qe_identity"),
        ),
        (
            EndorsementKind::TdxTcbSigningChain,
            part("tcb_info_issuer_chain").into_bytes(),
        ),
    ] {
        endorsements.insert(kind, document);
    }
}

fn common() -> String {
    let zero = "00".repeat(32);
    format!(
        "version = 1\nrole = \"inference\"\nevidence_age_seconds_max = 60\n\
         collateral_age_seconds_max = {COLLATERAL_AGE_SECONDS}\nmodel_digests = [\"{zero}\"]\n\
         config_digests = [\"{zero}\"]\n"
    )
}

fn snp_policy(report: &[u8], provider: &str, with_crl: bool) -> String {
    let hex_at = |offset: usize, bytes: usize| hex::encode(&report[offset..offset + bytes]);
    let absent = if with_crl {
        ""
    } else {
        "\"absent-revocation-list\", "
    };
    let every: Vec<_> = (0..=255u8).collect();
    let minima = [("milan", ""), ("genoa", ""), ("turin", "fmc = 0\n")].map(|(generation, fmc)| {
        format!(
            "[[snp.minimum_tcb]]\ngeneration = \"{generation}\"\nmodels = {every:?}\nsteppings = {every:?}\n{fmc}\
             boot_loader = 0\ntee = 0\nsnp = 0\nmicrocode = 0\nfirmware = \"0.0.0\"\nmitigations = 0\n"
        )
    });
    format!(
        "{}[snp]\nlaunch_measurements = [\"{}\"]\nhost_data = [\"{}\"]\nfamily_ids = [\"{}\"]\nimage_ids = [\"{}\"]\n\
         id_key_digests = [\"{}\"]\nauthor_key_digests = [\"{}\"]\nguest_svn_minimum = 0\n\
         guest_abi_minimum = \"0.0\"\nguest_policy_required = []\nguest_policy_accepted = [\"smt\"]\n\
         platform_required = []\nenrolled_machines = \"any\"\nreport_versions = [2, 3, 4, 5]\n\
         vlek_providers = [\"{provider}\"]\nexceptions = [{absent}\"milan-vcek\"]\n{}",
        common(),
        hex_at(0x90, 48),
        hex_at(0xc0, 32),
        hex_at(0x10, 16),
        hex_at(0x20, 16),
        hex_at(0xe0, 48),
        hex_at(0x110, 48),
        minima.concat(),
    )
}

fn tdx_policy(quote: &[u8], azure: bool) -> String {
    let body = &quote[body_at(quote)..];
    let registers = [
        ("mrtd", 136),
        ("rtmr0", 328),
        ("rtmr1", 376),
        ("rtmr2", 424),
        ("rtmr3", 472),
        ("mrconfigid", 184),
        ("mrowner", 232),
        ("mrownerconfig", 280),
    ]
    .map(|(name, offset)| format!("{name} = [\"{}\"]\n", hex::encode(&body[offset..offset + 48])));
    let xfam = u64::from_le_bytes(body[128..136].try_into().expect("8 bytes"));
    // Azure's paravisor owns SEPT_VE_DISABLE.
    let attributes = if azure {
        "[0x1000_0000, 0]"
    } else {
        "[0x1000_0000]"
    };
    format!(
        "{}[tdx]\n{}td_attributes = {attributes}\nxfam = [{xfam}]\nenrolled_machines = \"any\"\n\
         evaluation_number_minimum = 0\n",
        common(),
        registers.concat(),
    )
}
