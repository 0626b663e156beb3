//! Real evidence with what lies beside it.

use std::path::{Path, PathBuf};

use attestation::UnixTime;
use serde::Deserialize;
use toml::{Table, Value};

/// One piece of evidence.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Its name in the corpus.
    pub name: String,
    /// When to verify it, in seconds.
    pub now: UnixTime,
    /// Report or quote.
    pub evidence: Vec<u8>,
    /// What the manufacturer published.
    pub documents: Documents,
}

/// What goes with a report or a quote.
#[derive(Clone, Debug)]
pub enum Documents {
    /// Certificates in DER, leaf first, and the revocation list where there is one.
    Snp {
        /// VCEK or VLEK.
        leaf: Vec<u8>,
        /// ASK or ASVK.
        intermediate: Vec<u8>,
        /// ARK.
        root: Vec<u8>,
        /// The ARK's list.
        list: Option<Vec<u8>>,
    },
    /// Intel's collateral.
    Tdx(Collateral),
}

/// Collateral as the corpus keeps it; lists and signatures are hexadecimal.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the names are Intel's")]
pub struct Collateral {
    pub pck_crl_issuer_chain: String,
    pub root_ca_crl: String,
    pub pck_crl: String,
    pub tcb_info_issuer_chain: String,
    pub tcb_info: String,
    pub tcb_info_signature: String,
    pub qe_identity_issuer_chain: String,
    pub qe_identity: String,
    pub qe_identity_signature: String,
}

/// The folder of the corpus: `ADYTON_VECTORS`, or beside the repository.
pub fn folder() -> PathBuf {
    std::env::var_os("ADYTON_VECTORS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"),
        PathBuf::from,
    )
}

/// Every report with its chain and every quote with its collateral; `None` if there is no corpus.
pub fn read(folder: &Path) -> Option<Vec<Piece>> {
    let manifest = std::fs::read_to_string(folder.join("MANIFEST.toml")).ok()?;
    let manifest: Table = toml::from_str(&manifest).expect("the manifest is TOML");
    let vectors = manifest["vector"].as_array().expect("vectors").iter();
    let vectors = vectors.filter_map(Value::as_table);
    Some(vectors.filter_map(|vector| piece(folder, vector)).collect())
}

fn text<'a>(table: &'a Table, key: &str) -> &'a str {
    table.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn piece(folder: &Path, vector: &Table) -> Option<Piece> {
    let bytes =
        |table: &Table| std::fs::read(folder.join(text(table, "file"))).expect("a file of the corpus");
    let companions = vector.get("companion").and_then(Value::as_array);
    let companions: Vec<&Table> = companions
        .into_iter()
        .flatten()
        .filter_map(Value::as_table)
        .collect();
    let role = |fits: fn(&str) -> bool| {
        let found = companions.iter().find(|companion| fits(text(companion, "role")));
        found.map(|companion| bytes(companion))
    };
    let documents = match text(vector, "platform") {
        "snp" | "gcp-snp" | "azure-snp" => Documents::Snp {
            leaf: role(|role| role == "leaf")?,
            intermediate: role(|role| role.starts_with("amd-as"))?,
            root: role(|role| role.starts_with("amd-ark"))?,
            list: role(|role| role.ends_with(".crl")),
        },
        platform if platform.contains("tdx") => {
            let collateral = role(|role| role == "collateral")?;
            Documents::Tdx(serde_json::from_slice(&collateral).expect("collateral"))
        }
        _ => return None,
    };
    Some(Piece {
        name: text(vector, "name").to_owned(),
        now: UnixTime::parse_rfc3339(text(vector, "verify_at")).expect("a moment"),
        evidence: bytes(vector),
        documents,
    })
}
