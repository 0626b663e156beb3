//! docs/verification.md: what the Verifier checks, generated from the Verifier itself.
//!
//! 1. `attestation::catalogue()` names the clauses.
//! 2. [`asserted`] finds the tests that name each of them.
//! 3. [`evidence`] runs a corpus of real evidence, where there is one: what fails which clause.
//! 4. [`checklist`] holds what ought to be checked against the clauses.
//! 5. [`other_verifiers`] reads how two other verifiers judge the same bytes.
//! 6. [`page`] writes it all down. The committed page must be the generated one.

pub mod asserted;
pub mod checklist;
pub mod evidence;
pub mod page;
// The table is in a workspace of its own, as the other verifiers are: the file is read here, not the crate.
#[path = "../../../attestation/differential/src/table.rs"]
pub mod other_verifiers;

use std::path::PathBuf;

/// The root of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The page, with the corpus in `ADYTON_VECTORS` (default: beside the repository) where it is there.
pub fn generate() -> Result<page::Page, Box<dyn std::error::Error>> {
    Ok(page::Page {
        catalogue: attestation::catalogue(),
        tests: asserted::scan(&root())?,
        evidence: evidence::run(&evidence::folder())?,
        disagreements: other_verifiers::read(),
    })
}
