//! Real evidence: the verdict of each piece of a corpus, and the clauses on which it fails.

use std::path::{Path, PathBuf};

use client::corpus::{manifest::Corpus, run};
use sha2::{Digest as _, Sha256};

/// A corpus that was appraised.
pub struct Evidence {
    /// SHA-256 of the manifest, hexadecimal: another corpus gives another page.
    pub manifest_sha256: String,
    /// Every piece, in the manifest's order.
    pub pieces: Vec<Piece>,
}

/// One piece of evidence.
pub struct Piece {
    /// Its name in the corpus.
    pub name: String,
    /// accept, reject, parse, incomplete.
    pub verdict: &'static str,
    /// Whether that is what the corpus expects, for the reasons that it expects.
    pub agrees: bool,
    /// Clauses that fail.
    pub fails: Vec<&'static str>,
    /// Clauses that hold.
    pub holds: Vec<&'static str>,
}

/// `ADYTON_VECTORS`, or the folder beside the repository.
pub fn folder() -> PathBuf {
    std::env::var_os("ADYTON_VECTORS").map_or_else(|| super::root().join("../shared/vectors"), PathBuf::from)
}

/// Appraises every piece of the corpus in `folder`; `None` if there is no corpus.
pub fn run(folder: &Path) -> Result<Option<Evidence>, Box<dyn std::error::Error>> {
    let path = folder.join("MANIFEST.toml");
    if !path.exists() {
        return Ok(None);
    }
    let manifest_sha256 = hex::encode(Sha256::digest(std::fs::read(&path)?));
    let corpus = Corpus::read(&path)?;
    let pieces = corpus.vectors.iter().map(|vector| {
        let judged = run::judge(&corpus, vector)?;
        Ok(Piece {
            agrees: judged.agrees(),
            name: judged.name,
            verdict: judged.verdict,
            fails: judged.failed,
            holds: judged.held,
        })
    });
    let pieces = pieces.collect::<Result<_, client::ClientError>>()?;
    Ok(Some(Evidence {
        manifest_sha256,
        pieces,
    }))
}
