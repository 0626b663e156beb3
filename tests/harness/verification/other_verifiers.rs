//! How other verifiers judge the same bytes: the table that `attestation/differential` asserts.

use std::path::Path;

use serde::Deserialize;

/// One disagreement and why.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disagreement {
    /// The other verifier.
    pub verifier: String,
    /// Evidence on which it disagrees.
    pub evidence: Vec<String>,
    /// Our verdict.
    pub ours: String,
    /// Its verdict.
    pub theirs: String,
    /// Why, in words.
    pub why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(rename = "disagreement")]
    disagreements: Vec<Disagreement>,
}

/// Reads the table.
pub fn read(root: &Path) -> Result<Vec<Disagreement>, Box<dyn std::error::Error>> {
    let path = root.join("attestation/differential/disagreements.toml");
    let table: Table = toml::from_str(&std::fs::read_to_string(path)?)?;
    Ok(table.disagreements)
}
