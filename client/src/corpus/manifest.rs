//! The manifest of a corpus: pieces of evidence, each with the verdict that it must get.
//!
//! ```toml
//! [[vector]]
//! name = "snp-genoa-v3-example"
//! platform = "snp"                       # snp, tdx, azure-snp, azure-tdx, gcp-snp, gcp-tdx, gcp-vtpm, nvidia,
//!                                        # composite-tdx-nvidia, crl, event-log, nvidia-rim
//! verify_at = "2026-07-01T00:00:00Z"     # the moment of the appraisal
//! file = "snp/example/report.bin"        # relative to the manifest
//! sha256 = "…"                           # of the file; another content is an error of the corpus
//! [vector.expected]
//! verdict = "accept"                     # accept, reject, parse (nothing to appraise it with), incomplete
//! why = "fails: report_signature"        # where a rejection must fail
//! [vector.policy]                        # optional: laid over the default policy of the platform
//! snp.exceptions = []
//! [[vector.companion]]
//! role = "leaf"                          # for people, and where content alone does not tell
//! file = "snp/example/vcek.der"
//! sha256 = "…"
//! ```
//!
//! Keys that are not read here (origin, facts, licence) belong to the corpus.

use std::path::{Path, PathBuf};

use attestation::UnixTime;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use toml::Table;

use crate::{error::ClientError, private_file};

/// Manifests above this are refused (bytes).
const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// Files of a corpus above this are refused (bytes).
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A manifest and the folder that its files are relative to.
pub struct Corpus {
    /// Where the files are.
    pub folder: PathBuf,
    /// The pieces of evidence, in the manifest's order.
    pub vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "vector")]
    vectors: Vec<Vector>,
}

/// One piece of evidence.
#[derive(Clone, Debug, Deserialize)]
pub struct Vector {
    /// Unique name.
    pub name: String,
    /// What kind of evidence it is.
    pub platform: String,
    /// RFC 3339; `None` where the verdict does not depend on time.
    #[serde(default)]
    pub verify_at: Option<String>,
    /// The evidence.
    pub file: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// What must come out.
    pub expected: Expected,
    /// What the corpus's own tool saw.
    #[serde(default)]
    pub seen: Seen,
    /// Laid over the default policy.
    #[serde(default)]
    pub policy: Table,
    /// Facts that the corpus states; only a challenge is read from them.
    #[serde(default)]
    pub facts: Table,
    /// Other files of the same evidence.
    #[serde(default, rename = "companion")]
    pub companions: Vec<Companion>,
}

/// The verdict that a vector must get.
#[derive(Clone, Debug, Deserialize)]
pub struct Expected {
    /// accept, reject, parse, incomplete.
    pub verdict: String,
    /// Why, in words; `fails: a, b` and `refuses a` name checks.
    #[serde(default)]
    pub why: String,
    /// Intel's status, where the verdict rests on it.
    #[serde(default)]
    pub tcb_status: Option<String>,
}

/// Checks by the names of the corpus's own tool.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Seen {
    /// Those that failed.
    #[serde(default)]
    pub failed: Vec<String>,
}

/// Another file of the same evidence.
#[derive(Clone, Debug, Deserialize)]
pub struct Companion {
    /// What it is.
    pub role: String,
    /// Where it is.
    pub file: String,
    /// SHA-256 of the file.
    pub sha256: String,
}

impl Corpus {
    /// Reads the manifest; the files are read when their vector is run.
    pub fn read(path: &Path) -> Result<Self, ClientError> {
        let text = private_file::read_text(path, MANIFEST_BYTES_MAX)?;
        let document: Document = toml::from_str(&text).map_err(|error| ClientError::Config {
            path: path.to_owned(),
            problem: error.to_string().trim_end().to_owned(),
        })?;
        Ok(Self {
            folder: path.parent().map(Path::to_owned).unwrap_or_default(),
            vectors: document.vectors,
        })
    }

    /// The bytes of a file that the manifest names, if they are the ones that it means.
    pub fn file(&self, name: &str, sha256: &str) -> Result<Vec<u8>, ClientError> {
        let path = self.folder.join(name);
        let bytes = private_file::read(&path, FILE_BYTES_MAX)?.to_vec();
        if hex::encode(Sha256::digest(&bytes)) == sha256.to_ascii_lowercase() {
            Ok(bytes)
        } else {
            Err(ClientError::Malformed {
                what: "the corpus",
                problem: format!(
                    "{} is not the file that the manifest means (SHA-256)",
                    path.display()
                ),
            })
        }
    }
}

impl Vector {
    /// The moment of the appraisal, `otherwise` where the manifest names none.
    pub fn moment(&self, otherwise: UnixTime) -> Result<UnixTime, ClientError> {
        match &self.verify_at {
            None => Ok(otherwise),
            Some(text) => UnixTime::parse_rfc3339(text).ok_or_else(|| ClientError::Malformed {
                what: "the corpus",
                problem: format!("{}: verify_at is no moment", self.name),
            }),
        }
    }

    /// The first companion whose role contains `word`.
    pub fn companion(&self, word: &str) -> Option<&Companion> {
        self.companions
            .iter()
            .find(|companion| companion.role.contains(word))
    }
}
