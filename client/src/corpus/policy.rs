//! The default policy of a corpus: what every vector is held to, whoever's it is.
//!
//! No launch measurement, no minimum TCB and no list of machines can be right for everybody's evidence, so the
//! references are drafted from the evidence itself ([`crate::policy::draft`]) and only the checks that need none
//! decide:
//!
//! - SNP: signature, chain, validity, TCB of the certificate, chip identity, generation; debug, migration, reserved
//!   policy bits, VMPL other than 0 and a masked chip key are refused. A revocation list that is there must hold.
//! - TDX: signatures, chain, both lists, QE and module identity, everything fresh; UpToDate only; debug, any other bit
//!   of TUD, migratable and SEPT_VE_DISABLE clear are refused (on Azure the paravisor owns that last bit).
//! - Azure: runtime data, the vTPM's key from it, its quote, the digest of its PCRs.
//! - NVIDIA: signature, chain, nonce, FWID; no reference manifest, no OCSP.

use attestation::{AppraisalPolicy, EndorsementKind, Endorsements, FieldValue, inspect};
use toml::{Table, Value};

use super::manifest::Vector;
use crate::{
    commands::policy::evaluation_number,
    error::ClientError,
    policy::draft::{REFUSED_ATTRIBUTES, Source, draft},
};

/// Ten years, in seconds: a corpus is old, and its moment is the vector's own.
const COLLATERAL_AGE_SECONDS: i64 = 10 * 366 * 24 * 3600;

/// The policy for a CPU's raw evidence, laid under the vector's own keys.
pub fn of_processor(
    vector: &Vector,
    evidence: &[u8],
    endorsements: &Endorsements,
) -> Result<AppraisalPolicy, ClientError> {
    read(vector, processor_table(vector, evidence, endorsements)?)
}

/// The same for Azure: the processor's table inside `[azure]`, and every PCR as it was quoted.
pub fn of_azure(
    vector: &Vector,
    evidence: &[u8],
    hcl_report: &[u8],
    endorsements: &Endorsements,
    pcr_values: &[u8],
) -> Result<AppraisalPolicy, ClientError> {
    let mut policy = processor_table(vector, evidence, endorsements)?;
    let mut azure = Table::new();
    for name in ["snp", "tdx"] {
        if let Some(table) = policy.remove(name) {
            azure.insert(name.to_owned(), table);
        }
    }
    azure.insert("pcrs".to_owned(), Value::Table(pcrs(pcr_values)));
    azure.insert("vm_ids".to_owned(), "any".into());
    // What the paravisor was told, and what the guest told it, is the site's to decide.
    let fields = inspect(hcl_report).unwrap_or_default();
    let text = |name: &str| {
        let field = fields.iter().find(|field| field.name == name);
        field.map(|field| field.value.to_string()).unwrap_or_default()
    };
    azure.insert(
        "root_certificate_thumbprints".to_owned(),
        strings(&[&text("root-cert-thumbprint")]),
    );
    let user_data = text("user-data");
    if user_data.len() == 128 {
        azure.insert("user_data".to_owned(), strings(&[&user_data.to_lowercase()]));
    }
    let accepted = [
        "absent-ak-certificate",
        "secure-boot-disabled",
        "console-enabled",
        "interactive-console",
        "ipmi-enabled",
        "filtered-devices",
        "persisted-vtpm",
        "absent-user-data",
    ];
    azure.insert("exceptions".to_owned(), strings(&accepted));
    policy.insert("azure".to_owned(), Value::Table(azure));
    read(vector, policy)
}

/// For devices alone: the versions and modes that there are, and no documents of the manufacturer.
pub fn of_devices(vector: &Vector, gpus: usize, switches: usize) -> Result<AppraisalPolicy, ClientError> {
    const NVIDIA: &str = r#"
        modes = ["single-gpu", "multi-gpu", "protected-pcie"]
        enrolled_devices = "any"
        video_decoder = true
        minimum_versions = [
            { architecture = "hopper", driver = "0.0", vbios = "00.00.00.00.00" },
            { architecture = "blackwell", driver = "0.0", vbios = "00.00.00.00.00" },
            { architecture = "ls10", vbios = "00.00.00.00.00" },
        ]
        exceptions = [
            { name = "no-reference-manifest", reason = "the corpus has none" },
            { name = "no-revocation-check", reason = "the corpus has none" },
            { name = "no-switch-evidence", reason = "the corpus has none" },
        ]
    "#;
    let mut nvidia: Table = NVIDIA
        .parse()
        .map_err(|error: toml::de::Error| ClientError::State(error.to_string()))?;
    for (key, count) in [("gpus", gpus), ("switches", switches)] {
        nvidia.insert(
            key.to_owned(),
            Value::Integer(i64::try_from(count).unwrap_or(i64::MAX)),
        );
    }
    let mut policy = processor_table(vector, &[], &Endorsements::new())?;
    policy.insert("nvidia".to_owned(), Value::Table(nvidia));
    read(vector, policy)
}

/// Every PCR of the SHA-256 bank with the value that it has.
fn pcrs(values: &[u8]) -> Table {
    let values = values.chunks(32).enumerate();
    values
        .map(|(pcr, value)| (pcr.to_string(), strings(&[&hex::encode(value)])))
        .collect()
}

fn strings(values: &[&str]) -> Value {
    Value::Array(values.iter().map(|value| Value::from(*value)).collect())
}

fn numbers(values: impl Iterator<Item = i64>) -> Value {
    Value::Array(values.map(Value::Integer).collect())
}

/// Lays `over` over `under`, table by table.
fn merge(under: &mut Table, over: &Table) {
    for (key, value) in over {
        match (under.get_mut(key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => merge(under, over),
            _ => {
                under.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Lays the vector's own keys over `policy` and reads it as the Verifier does.
pub fn read(vector: &Vector, mut policy: Table) -> Result<AppraisalPolicy, ClientError> {
    merge(&mut policy, &vector.policy);
    let text = toml::to_string(&policy).map_err(|error| ClientError::State(error.to_string()))?;
    AppraisalPolicy::from_toml(&text).map_err(|source| ClientError::Policy {
        path: format!("the policy of {}", vector.name).into(),
        source,
    })
}

fn processor_table(
    vector: &Vector,
    evidence: &[u8],
    endorsements: &Endorsements,
) -> Result<Table, ClientError> {
    let leaf = endorsements.document(EndorsementKind::SnpLeaf);
    let source = Source {
        evidence,
        leaf,
        evaluation_number: endorsements
            .document(EndorsementKind::TdxTcbInfo)
            .and_then(evaluation_number),
        ..Source::default()
    };
    let mut policy: Table = match draft(&source) {
        Ok(text) => text.parse().map_err(|error: toml::de::Error| {
            ClientError::State(format!("the draft for {} does not read: {error}", vector.name))
        })?,
        // What cannot be read is refused for its format, whatever the policy: any that can be read will do.
        Err(_) => unreadable(vector),
    };
    policy.insert(
        "collateral_age_seconds_max".to_owned(),
        Value::Integer(COLLATERAL_AGE_SECONDS),
    );
    if let Some(Value::Table(snp)) = policy.get_mut("snp") {
        relax_snp(snp, endorsements);
    }
    if let Some(Value::Table(tdx)) = policy.get_mut("tdx") {
        relax_tdx(vector, tdx, evidence);
    }
    Ok(policy)
}

/// The draft for evidence of zeros: it accepts nothing that exists.
fn unreadable(vector: &Vector) -> Table {
    let zero = |bytes: usize| strings(&[&"00".repeat(bytes)]);
    let mut policy = Table::new();
    policy.insert("version".into(), Value::Integer(1));
    policy.insert("role".into(), "inference".into());
    policy.insert("evidence_age_seconds_max".into(), Value::Integer(3600));
    policy.insert("model_digests".into(), zero(32));
    policy.insert("config_digests".into(), zero(32));
    let mut table = Table::new();
    if vector.platform.contains("tdx") {
        for register in ["mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"] {
            table.insert(register.into(), zero(48));
        }
        table.insert("xfam".into(), numbers([0].into_iter()));
        table.insert("enrolled_machines".into(), "any".into());
        table.insert("evaluation_number_minimum".into(), Value::Integer(0));
        policy.insert("tdx".into(), Value::Table(table));
    } else {
        table.insert("launch_measurements".into(), zero(48));
        table.insert("guest_svn_minimum".into(), Value::Integer(0));
        table.insert("guest_abi_minimum".into(), "0.0".into());
        table.insert("guest_policy_required".into(), strings(&[]));
        table.insert("platform_required".into(), strings(&[]));
        table.insert("enrolled_machines".into(), "any".into());
        policy.insert("snp".into(), Value::Table(table));
    }
    policy
}

fn relax_snp(snp: &mut Table, endorsements: &Endorsements) {
    let mut exceptions = vec!["milan-vcek"];
    if endorsements.document(EndorsementKind::SnpCrl).is_none() {
        exceptions.push("absent-revocation-list");
    }
    let every = || numbers(0..=255);
    let minimum = |generation: &str| {
        let mut entry = Table::new();
        entry.insert("generation".into(), generation.into());
        entry.insert("models".into(), every());
        entry.insert("steppings".into(), every());
        if generation == "turin" {
            entry.insert("fmc".into(), Value::Integer(0));
        }
        for component in ["boot_loader", "tee", "snp", "microcode", "mitigations"] {
            entry.insert(component.into(), Value::Integer(0));
        }
        entry.insert("firmware".into(), "0.0.0".into());
        Value::Table(entry)
    };
    for (key, value) in [
        ("vmpl", Value::Integer(0)),
        (
            "revocation_list_age_seconds_max",
            Value::Integer(COLLATERAL_AGE_SECONDS),
        ),
        ("guest_svn_minimum", Value::Integer(0)),
        ("guest_abi_minimum", "0.0".into()),
        ("guest_policy_required", strings(&[])),
        ("guest_policy_accepted", strings(&["smt", "cxl"])),
        ("platform_required", strings(&[])),
        ("enrolled_machines", "any".into()),
        ("report_versions", numbers(2..=5)),
        ("exceptions", strings(&exceptions)),
        (
            "minimum_tcb",
            Value::Array(["milan", "genoa", "turin"].map(minimum).into()),
        ),
    ] {
        snp.insert(key.to_owned(), value);
    }
}

fn relax_tdx(vector: &Vector, tdx: &mut Table, evidence: &[u8]) {
    tdx.insert("enrolled_machines".to_owned(), "any".into());
    tdx.insert("evaluation_number_minimum".to_owned(), Value::Integer(0));
    if vector.platform.starts_with("azure") {
        let fields = inspect(evidence).unwrap_or_default();
        let attributes = fields.iter().find(|field| field.name == "TDATTRIBUTES");
        // Whatever they are, but for what no policy can accept.
        if let Some(FieldValue::Number(attributes)) = attributes.map(|field| &field.value)
            && attributes & REFUSED_ATTRIBUTES == 0
        {
            tdx.insert(
                "td_attributes".to_owned(),
                Value::Array(vec![Value::Integer(attributes.cast_signed())]),
            );
        }
    }
}
