//! Real evidence, one piece of each platform, under a policy that accepts it.

use std::path::{Path, PathBuf};

use attestation::{
    AppraisalPolicy, AzureEvidence, DeviceKind, EndorsementKind, Endorsements, NvidiaDevice, PlatformTag,
    RawEvidence, UnixTime, Verdict, Verifier, inspect,
};
use toml::{Table, Value};

use crate::measure;

type Error = Box<dyn std::error::Error>;

pub(crate) fn measure_all() -> Result<(), Error> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors");
    let folder = std::env::var_os("ADYTON_VECTORS").map_or(default, PathBuf::from);
    let Ok(manifest) = std::fs::read_to_string(folder.join("MANIFEST.toml")) else {
        println!("no real evidence: no vectors in {}", folder.display());
        return Ok(());
    };
    let manifest: Table = toml::from_str(&manifest)?;
    let vectors = manifest.get("vector").and_then(Value::as_array);
    let vectors: Vec<&Table> = vectors
        .into_iter()
        .flatten()
        .filter_map(Value::as_table)
        .collect();
    for (platform, goal_ms) in [
        ("snp", Some(2.0)),
        ("tdx", Some(3.0)),
        ("azure-snp", None),
        ("azure-tdx", None),
        ("nvidia", None),
    ] {
        // The first piece that is accepted and brings all that its platform has.
        let found = vectors
            .iter()
            .filter(|vector| text(vector, "platform") == platform)
            .filter(|vector| vector["expected"].get("verdict").and_then(Value::as_str) == Some("accept"))
            .find_map(|vector| Real::read(&folder, vector).ok().filter(Real::is_whole));
        match found {
            Some(real) => real.measure(platform, goal_ms)?,
            None => println!("real {platform}: none among the vectors"),
        }
    }
    Ok(())
}

fn text<'a>(table: &'a Table, key: &str) -> &'a str {
    table.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// One piece of evidence with what lies beside it.
struct Real {
    name: String,
    platform: String,
    now: UnixTime,
    main: Vec<u8>,
    companions: Vec<(String, Vec<u8>)>,
    endorsements: Endorsements,
}

impl Real {
    fn read(folder: &Path, vector: &Table) -> Result<Self, Error> {
        let mut companions = Vec::new();
        for companion in vector
            .get("companion")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let companion = companion.as_table().ok_or("a companion")?;
            let bytes = std::fs::read(folder.join(text(companion, "file")))?;
            companions.push((text(companion, "role").to_owned(), bytes));
        }
        let mut real = Self {
            name: text(vector, "name").to_owned(),
            platform: text(vector, "platform").to_owned(),
            now: UnixTime::parse_rfc3339(text(vector, "verify_at")).ok_or("a moment")?,
            main: std::fs::read(folder.join(text(vector, "file")))?,
            companions,
            endorsements: Endorsements::new(),
        };
        for (role, bytes) in &real.companions {
            let kind = match role.as_str() {
                "leaf" => EndorsementKind::SnpLeaf,
                role if role.starts_with("amd-as") => EndorsementKind::SnpIntermediate,
                role if role.ends_with(".crl") => EndorsementKind::SnpCrl,
                "collateral" => {
                    collateral(&mut real.endorsements, bytes)?;
                    continue;
                }
                _ => continue,
            };
            real.endorsements.insert(kind, bytes.clone());
        }
        Ok(real)
    }

    /// Whether nothing is missing: lists, collateral, the vTPM's quote.
    fn is_whole(&self) -> bool {
        let has = |kind| self.endorsements.document(kind).is_some();
        match self.platform.as_str() {
            "snp" => has(EndorsementKind::SnpCrl),
            "tdx" => has(EndorsementKind::TdxTcbInfo),
            "azure-snp" => has(EndorsementKind::SnpCrl) && self.role("tpm-quote-message").is_some(),
            "azure-tdx" => has(EndorsementKind::TdxTcbInfo) && self.role("tpm-quote-message").is_some(),
            _ => self.role("certificate chain").is_some(),
        }
    }

    fn role(&self, prefix: &str) -> Option<&[u8]> {
        let found = self.companions.iter().find(|(role, _)| role.starts_with(prefix));
        found.map(|(_, bytes)| bytes.as_slice())
    }

    fn part(&self, prefix: &str) -> Vec<u8> {
        self.role(prefix).unwrap_or_default().to_vec()
    }

    fn measure(&self, platform: &str, goal_ms: Option<f64>) -> Result<(), Error> {
        let policy = AppraisalPolicy::from_toml(&self.policy())?;
        let report_data = field(&self.main, "REPORT_DATA")
            .or_else(|| field(&self.main, "REPORTDATA"))
            .and_then(|bytes| bytes.try_into().ok())
            .unwrap_or([0; 64]);
        let azure = AzureEvidence {
            hcl_report: self.part("hcl-report"),
            td_quote: (platform == "azure-tdx").then(|| self.main.clone()),
            quote_message: self.part("tpm-quote-message"),
            quote_signature: self.part("tpm-quote-signature"),
            pcr_values: self.part("24 SHA-256 PCR values"),
        };
        let qualifying_data = field(&azure.quote_message, "extraData");
        let nonce = self
            .main
            .get(4..36)
            .and_then(|nonce| nonce.try_into().ok())
            .unwrap_or([0; 32]);
        let chain = self.part("certificate chain");
        let appraise = || {
            let verifier = Verifier::new(policy.clone());
            let raw = |platform| RawEvidence {
                platform,
                evidence: &self.main,
                event_log: None,
                endorsements: &self.endorsements,
            };
            let vtpm = |platform| {
                let asked = qualifying_data.as_deref();
                verifier.explain_azure_evidence(platform, &azure, None, &self.endorsements, asked, self.now)
            };
            match platform {
                "snp" => {
                    verifier.explain_evidence(&raw(PlatformTag::AmdSevSnp), Some(&report_data), self.now)
                }
                "tdx" => verifier.explain_evidence(&raw(PlatformTag::IntelTdx), Some(&report_data), self.now),
                "azure-snp" => vtpm(PlatformTag::AzureAmdSevSnp),
                "azure-tdx" => vtpm(PlatformTag::AzureIntelTdx),
                _ => {
                    let device = NvidiaDevice {
                        name: "device",
                        kind: DeviceKind::NvidiaGpu,
                        evidence: &self.main,
                        chain: &chain,
                        endorsements: &self.endorsements,
                    };
                    verifier.explain_devices(&[device], &nonce, self.now)
                }
            }
        };
        let verdict = match appraise().verdict {
            Verdict::Accepted(_) => String::new(),
            Verdict::Refused(error) => format!(", refused by {}", error.clause().id),
        };
        let companions = self.companions.iter().map(|(_, bytes)| bytes.len());
        let bytes = self.main.len() + companions.sum::<usize>();
        measure(
            &format!("real {platform} ({}{verdict})", self.name),
            bytes,
            goal_ms,
            || {
                std::hint::black_box(appraise());
            },
        );
        Ok(())
    }

    /// A policy that names what the evidence has.
    fn policy(&self) -> String {
        let mut policy = format!(
            "version = 1\nrole = \"broker\"\nevidence_age_seconds_max = 60\ncollateral_age_seconds_max = {}\n\
             config_digests = [\"{}\"]\n",
            315_360_000,
            "00".repeat(32)
        );
        match self.platform.as_str() {
            "snp" => policy.push_str(&snp("snp", &self.main)),
            "tdx" => policy.push_str(&tdx("tdx", &self.main)),
            "nvidia" => {
                // A policy names a processor, too.
                let zero = "00".repeat(48);
                let registers = ["mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"];
                let registers = registers.map(|register| format!("{register} = [\"{zero}\"]\n"));
                policy.push_str(&format!(
                    "[tdx]\n{}xfam = [0]\nenrolled_machines = \"any\"\nevaluation_number_minimum = 0\n{NVIDIA}",
                    registers.concat()
                ));
            }
            _ => {
                let hcl = self.part("hcl-report");
                let named = |name: &str| {
                    let fields = inspect(&hcl).unwrap_or_default();
                    let field = fields.into_iter().find(|field| field.name == name);
                    field.map(|field| field.value.to_string()).unwrap_or_default()
                };
                policy.push_str(&format!(
                    "[azure]\nvm_ids = \"any\"\nroot_certificate_thumbprints = [\"{}\"]\nuser_data = [\"{:0>128}\"]\n\
                     exceptions = [\"absent-ak-certificate\", \"absent-user-data\", \"console-enabled\", \
                     \"persisted-vtpm\", \"secure-boot-disabled\"]\n[azure.pcrs]\n",
                    named("root-cert-thumbprint"),
                    Some(named("user-data")).filter(|data| data.len() == 128).unwrap_or_default().to_lowercase(),
                ));
                for (pcr, value) in self.part("24 SHA-256 PCR values").chunks(32).enumerate() {
                    policy.push_str(&format!("{pcr} = [\"{}\"]\n", hex::encode(value)));
                }
                policy.push_str(&if self.platform == "azure-tdx" {
                    tdx("azure.tdx", &self.main)
                } else {
                    snp("azure.snp", &self.main)
                });
            }
        }
        policy
    }
}

const NVIDIA: &str = r#"[nvidia]
gpus = 1
modes = ["single-gpu", "multi-gpu", "protected-pcie"]
enrolled_devices = "any"
video_decoder = true
minimum_versions = [
    { architecture = "hopper", driver = "0.0", vbios = "00.00.00.00.00" },
    { architecture = "blackwell", driver = "0.0", vbios = "00.00.00.00.00" },
]
exceptions = [
    { name = "no-reference-manifest", reason = "measured without" },
    { name = "no-revocation-check", reason = "measured without" },
    { name = "no-switch-evidence", reason = "measured without" },
]
"#;

fn field(evidence: &[u8], name: &str) -> Option<Vec<u8>> {
    let fields = inspect(evidence)?;
    fields
        .into_iter()
        .find(|field| field.name == name)?
        .value
        .to_bytes()
}

fn listed(evidence: &[u8], keys: &[(&str, &str)]) -> String {
    let line = |(key, name): &(&str, &str)| {
        let value = field(evidence, name).unwrap_or_default();
        format!("{key} = [\"{}\"]\n", hex::encode(value))
    };
    keys.iter().map(line).collect()
}

fn snp(table: &str, report: &[u8]) -> String {
    let keys = [
        ("launch_measurements", "MEASUREMENT"),
        ("host_data", "HOST_DATA"),
        ("family_ids", "FAMILY_ID"),
        ("image_ids", "IMAGE_ID"),
        ("id_key_digests", "ID_KEY_DIGEST"),
        ("author_key_digests", "AUTHOR_KEY_DIGEST"),
    ];
    let every: Vec<u8> = (0..=255).collect();
    let minima: String = ["milan\"", "genoa\"", "turin\"\nfmc = 0"]
        .iter()
        .map(|generation| {
            format!(
                "[[{table}.minimum_tcb]]\ngeneration = \"{generation}\nmodels = {every:?}\nsteppings = {every:?}\n\
                 boot_loader = 0\ntee = 0\nsnp = 0\nmicrocode = 0\nfirmware = \"0.0.0\"\nmitigations = 0\n"
            )
        })
        .collect();
    format!(
        "[{table}]\n{}guest_svn_minimum = 0\nguest_abi_minimum = \"0.0\"\nguest_policy_required = []\n\
         guest_policy_accepted = [\"smt\"]\nplatform_required = []\nenrolled_machines = \"any\"\n\
         report_versions = [2, 3, 4, 5]\nexceptions = [\"milan-vcek\"]\n{minima}",
        listed(report, &keys)
    )
}

fn tdx(table: &str, quote: &[u8]) -> String {
    let keys = [
        ("mrtd", "MRTD"),
        ("rtmr0", "RTMR0"),
        ("rtmr1", "RTMR1"),
        ("rtmr2", "RTMR2"),
        ("rtmr3", "RTMR3"),
        ("mrconfigid", "MRCONFIGID"),
        ("mrowner", "MROWNER"),
        ("mrownerconfig", "MROWNERCONFIG"),
    ];
    let number = |name: &str| {
        let fields = inspect(quote).unwrap_or_default();
        let value = fields
            .into_iter()
            .find(|field| field.name == name)
            .map(|field| field.value);
        match value {
            Some(attestation::FieldValue::Number(number)) => number,
            _ => 0,
        }
    };
    format!(
        "[{table}]\n{}td_attributes = [{}]\nxfam = [{}]\nenrolled_machines = \"any\"\nevaluation_number_minimum = 0\n",
        listed(quote, &keys),
        number("TDATTRIBUTES"),
        number("XFAM"),
    )
}

fn collateral(endorsements: &mut Endorsements, bytes: &[u8]) -> Result<(), Error> {
    let collateral: serde_json::Value = serde_json::from_slice(bytes)?;
    let part = |key: &str| collateral[key].as_str().unwrap_or_default().to_owned();
    let signed = |name: &str, key: &str| {
        let signature = part(&format!("{key}_signature"));
        format!("{{\"{name}\":{},\"signature\":\"{signature}\"}}", part(key)).into_bytes()
    };
    endorsements.insert(EndorsementKind::TdxRootCrl, hex::decode(part("root_ca_crl"))?);
    endorsements.insert(EndorsementKind::TdxPckCrl, hex::decode(part("pck_crl"))?);
    endorsements.insert(EndorsementKind::TdxTcbInfo, signed("tcbInfo", "tcb_info"));
    endorsements.insert(
        EndorsementKind::TdxQeIdentity,
        signed("enclaveIdentity", "qe_identity"),
    );
    let chain = part("tcb_info_issuer_chain").into_bytes();
    endorsements.insert(EndorsementKind::TdxTcbSigningChain, chain);
    Ok(())
}
