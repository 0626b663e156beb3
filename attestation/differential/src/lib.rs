//! Other verifiers on the same evidence: [`sev`](https://crates.io/crates/sev) for reports and
//! [`dcap-qvl`](https://crates.io/crates/dcap-qvl) for quotes. Nothing of ours links this crate.
//!
//! Each answers a narrower question than our Verifier: signature and chain of a report; signatures, collateral and
//! status of a quote. [`ours`] is our verdict on that question, from the clauses that belong to it. Wherever the two
//! differ, `disagreements.toml` says why, and `tests/second_opinions.rs` holds the table complete and true.

pub mod corpus;
pub mod mutants;
pub mod ours;
pub mod table;
pub mod theirs;

/// What a verifier said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Opinion {
    /// Genuine, and up to date where that was asked.
    Accept,
    /// Anything else.
    Reject,
    /// No answer: it panicked.
    Panic,
}

impl Opinion {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Opinion::Accept => "accept",
            Opinion::Reject => "reject",
            Opinion::Panic => "panic",
        }
    }

    /// Accept if it `holds`.
    pub fn of(holds: bool) -> Self {
        if holds { Opinion::Accept } else { Opinion::Reject }
    }
}
