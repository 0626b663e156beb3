//! What a person reads of an appraisal: one clause per check.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// The question that a clause helps to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    /// Is it genuine hardware?
    Genuine,
    /// Is it up to date?
    UpToDate,
    /// Is it the code I expect?
    Expected,
    /// Is it mine: this nonce, these keys?
    Mine,
}

impl Question {
    /// The question as a person asks it.
    pub const fn text(self) -> &'static str {
        match self {
            Question::Genuine => "Is it genuine hardware?",
            Question::UpToDate => "Is it up to date?",
            Question::Expected => "Is it the code I expect?",
            Question::Mine => "Is it mine?",
        }
    }
}

/// How a clause came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Checked, and it holds.
    Pass,
    /// Checked, and it does not hold.
    Fail,
    /// Not checked, because something before it failed. Never counts as passed.
    Skipped,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Pass => "PASS",
            Outcome::Fail => "FAIL",
            Outcome::Skipped => "SKIPPED",
        })
    }
}

/// One check and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// Stable identifier, for example `snp-report-signature`.
    pub id: &'static str,
    /// The question that it belongs to.
    pub question: Question,
    /// The specification that asks for it.
    pub citation: &'static str,
    /// How it came out.
    pub outcome: Outcome,
    /// What the policy or the specification asks for.
    pub expected: String,
    /// What was there; empty where skipped.
    pub found: String,
}

/// The whole appraisal for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Every clause of the platform, in the order of the questions.
    pub clauses: Vec<Clause>,
    /// The verdict that [`crate::Verifier::appraise`] gives on the same arguments.
    pub verdict: Verdict,
}

/// Accepted, or refused by the first clause that did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every clause passed.
    Accepted(crate::Assurance),
    /// The error of [`crate::Verifier::appraise`].
    Refused(crate::AppraisalError),
}

/// What a clause is about, for documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClauseNote {
    /// See [`Clause::id`].
    pub id: &'static str,
    /// See [`Clause::question`].
    pub question: Question,
    /// See [`Clause::citation`].
    pub citation: &'static str,
    /// What gets through without it.
    pub stops: &'static str,
}

/// Clauses that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClauseGroup {
    /// What they are about.
    pub title: &'static str,
    /// The clauses, in the order in which they are read.
    pub clauses: Vec<ClauseNote>,
}

/// Every clause that this verifier knows.
pub fn catalogue() -> Vec<ClauseGroup> {
    crate::verifier::every_rule()
        .into_iter()
        .map(|(title, rules)| ClauseGroup {
            title,
            clauses: rules.iter().map(|rule| rule.note()).collect(),
        })
        .collect()
}
