//! `disagreements.toml`: where the verifiers differ, and why. docs/verification.md shows it.

use serde::Deserialize;

/// One reason, and the evidence that it is about.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disagreement {
    /// The other verifier.
    pub verifier: String,
    /// Pieces of the corpus, or mutants by name.
    pub evidence: Vec<String>,
    /// Our opinion.
    pub ours: String,
    /// Theirs.
    pub theirs: String,
    /// Why they differ.
    pub why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default, rename = "disagreement")]
    disagreements: Vec<Disagreement>,
}

/// The table.
pub fn read() -> Vec<Disagreement> {
    let table: Table = toml::from_str(include_str!("../disagreements.toml")).expect("the table is TOML");
    table.disagreements
}
