//! Records checks as clauses and concludes from them.
//!
//! A platform's examination is a list of [`Rule`]s and code that records an outcome for each. What
//! the code does not record is SKIPPED, and only an examination in which every rule passed concludes
//! well: a check that is lost refuses everything instead of accepting more.

use alloc::borrow::ToOwned as _;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::clause::{Clause, ClauseNote, Outcome, Question};
use crate::{AppraisalError, UnixTime};

/// What one check is about.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: &'static str,
    pub(crate) question: Question,
    /// The section that asks for it.
    pub(crate) citation: &'static str,
    /// What gets through without it.
    pub(crate) stops: &'static str,
    pub(crate) fault: Fault,
}

/// Declares rules, one static each, and `RULES` with all of them in the order in which they are read:
/// `NAME = "stable-id", Question, Fault, "citation", "what it stops";`.
macro_rules! rules {
    ($($name:ident = $id:literal, $question:ident, $fault:ident, $citation:literal, $stops:literal;)*) => {
        $(pub(super) static $name: $crate::examination::Rule = $crate::examination::Rule::new(
            $id,
            $crate::clause::Question::$question,
            $crate::examination::Fault::$fault,
            $citation,
            $stops,
        );)*
        /// Every rule, in the order in which they are read.
        pub(crate) static RULES: &[&$crate::examination::Rule] = &[$(&$name),*];
    };
}
pub(crate) use rules;

/// The kind of [`AppraisalError`] that a failed rule becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Malformed,
    Unsupported,
    Untrusted,
    OutsideValidity,
    Revoked,
    OutOfDate,
    Mismatch,
    Refused,
}

impl Rule {
    pub(crate) const fn new(
        id: &'static str,
        question: Question,
        fault: Fault,
        citation: &'static str,
        stops: &'static str,
    ) -> Self {
        Self {
            id,
            question,
            citation,
            stops,
            fault,
        }
    }

    /// The rule for documentation.
    pub(crate) const fn note(&self) -> ClauseNote {
        ClauseNote {
            id: self.id,
            question: self.question,
            citation: self.citation,
            stops: self.stops,
        }
    }

    fn clause(&self, outcome: Outcome, expected: String, found: String) -> Clause {
        Clause {
            id: self.id,
            question: self.question,
            citation: self.citation,
            outcome,
            expected,
            found,
        }
    }
}

/// One examination in progress.
#[derive(Debug)]
pub(crate) struct Examination {
    now: UnixTime,
    valid_until: UnixTime,
    recorded: Vec<(&'static Rule, Clause)>,
}

/// What an examination came to.
#[derive(Debug)]
pub(crate) struct Conclusion {
    pub(crate) clauses: Vec<Clause>,
    /// `None` only if every rule was recorded and passed.
    pub(crate) error: Option<AppraisalError>,
    /// The earliest end of validity of whatever was relied upon.
    pub(crate) valid_until: UnixTime,
}

impl Examination {
    pub(crate) fn new(now: UnixTime) -> Self {
        Self {
            now,
            valid_until: UnixTime::MAX,
            recorded: Vec::new(),
        }
    }

    pub(crate) fn now(&self) -> UnixTime {
        self.now
    }

    /// Records whether `rule` holds, and returns it.
    pub(crate) fn check(
        &mut self,
        rule: &'static Rule,
        holds: bool,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> bool {
        let outcome = if holds { Outcome::Pass } else { Outcome::Fail };
        self.recorded
            .push((rule, rule.clause(outcome, expected.into(), found.into())));
        holds
    }

    /// Records that a structure was read, and returns it.
    pub(crate) fn require<T>(
        &mut self,
        rule: &'static Rule,
        value: Option<T>,
        expected: &str,
        otherwise: impl Into<String>,
    ) -> Option<T> {
        let found = if value.is_some() {
            expected.to_owned()
        } else {
            otherwise.into()
        };
        self.check(rule, value.is_some(), expected, found);
        value
    }

    /// Records whether something issued at `issued` is at most `seconds_max` old, and relies on it so long.
    pub(crate) fn check_age(&mut self, rule: &'static Rule, issued: UnixTime, seconds_max: u64) {
        let age = self.now.seconds_since(issued);
        self.check(
            rule,
            age.is_some_and(|age| age <= seconds_max),
            format!("at most {seconds_max} s"),
            age.map_or(String::from("issued after now"), |age| format!("{age} s")),
        );
        self.relies_until(issued.plus_seconds(seconds_max));
    }

    /// An examination of a part that occurs more than once, a device or a document, at the same time.
    pub(crate) fn part(&self) -> Self {
        Self::new(self.now)
    }

    /// Takes over what a part recorded, under its name. Each part answers for each of its `rules`: one
    /// that it did not record is SKIPPED, whatever its neighbours recorded.
    pub(crate) fn absorb(&mut self, part: Self, name: &str, rules: &[&[&'static Rule]]) {
        for rule in rules.iter().flat_map(|rules| rules.iter()) {
            let missing = !part
                .recorded
                .iter()
                .any(|(recorded, _)| core::ptr::eq(*recorded, *rule));
            if missing {
                let clause = rule.clause(Outcome::Skipped, name.to_owned(), String::new());
                self.recorded.push((rule, clause));
            }
        }
        for (rule, mut clause) in part.recorded {
            if clause.outcome != Outcome::Skipped {
                clause.found = format!("{name}: {}", clause.found);
            }
            self.recorded.push((rule, clause));
        }
        self.relies_until(part.valid_until);
    }

    /// Notes that what was relied upon ends at `until`.
    pub(crate) fn relies_until(&mut self, until: UnixTime) {
        self.valid_until = self.valid_until.min(until);
    }

    /// Orders the clauses by question and finds the first that did not pass.
    pub(crate) fn conclude(mut self, rules: &[&[&'static Rule]]) -> Conclusion {
        let mut clauses: Vec<(Fault, Clause)> = Vec::new();
        for rule in rules.iter().flat_map(|rules| rules.iter()) {
            let mut found = false;
            self.recorded.retain(|(recorded, clause)| {
                let is_this = core::ptr::eq(*recorded, *rule);
                if is_this {
                    clauses.push((rule.fault, clause.clone()));
                    found = true;
                }
                !is_this
            });
            if !found {
                clauses.push((
                    rule.fault,
                    rule.clause(Outcome::Skipped, String::new(), String::new()),
                ));
            }
        }
        // A clause of no listed rule still counts.
        clauses.extend(
            self.recorded
                .into_iter()
                .map(|(rule, clause)| (rule.fault, clause)),
        );
        clauses.sort_by_key(|(_, clause)| clause.question);
        let first = |outcome| clauses.iter().find(|(_, clause)| clause.outcome == outcome);
        let error = first(Outcome::Fail)
            .or_else(|| first(Outcome::Skipped))
            .map(|(fault, clause)| error(*fault, clause.clone()));
        let error = match (error, clauses.is_empty()) {
            (None, true) => Some(error_of_nothing()),
            (error, _) => error,
        };
        let clauses = clauses.into_iter().map(|(_, clause)| clause).collect();
        Conclusion {
            clauses,
            error,
            valid_until: self.valid_until,
        }
    }
}

/// An examination without rules accepts nothing.
fn error_of_nothing() -> AppraisalError {
    static NOTHING: Rule = Rule::new(
        "nothing-examined",
        Question::Genuine,
        Fault::Unsupported,
        "Adyton",
        "a verdict over nothing",
    );
    error(
        NOTHING.fault,
        NOTHING.clause(Outcome::Skipped, String::new(), String::new()),
    )
}

fn error(fault: Fault, clause: Clause) -> AppraisalError {
    let clause = Box::new(clause);
    match fault {
        Fault::Malformed => AppraisalError::Malformed(clause),
        Fault::Unsupported => AppraisalError::Unsupported(clause),
        Fault::Untrusted => AppraisalError::Untrusted(clause),
        Fault::OutsideValidity => AppraisalError::OutsideValidity(clause),
        Fault::Revoked => AppraisalError::Revoked(clause),
        Fault::OutOfDate => AppraisalError::OutOfDate(clause),
        Fault::Mismatch => AppraisalError::Mismatch(clause),
        Fault::Refused => AppraisalError::Refused(clause),
    }
}

#[cfg(test)]
mod tests {
    use super::{Examination, Fault, Rule};
    use crate::clause::{Outcome, Question};
    use crate::{AppraisalError, UnixTime};

    static FIRST: Rule = Rule::new("first", Question::Genuine, Fault::Untrusted, "test", "");
    static SECOND: Rule = Rule::new("second", Question::Mine, Fault::Mismatch, "test", "");

    #[test]
    fn every_rule_must_pass() {
        let mut examination = Examination::new(UnixTime::from_seconds(0));
        examination.check(&FIRST, true, "", "");
        examination.check(&SECOND, true, "", "");
        assert!(examination.conclude(&[&[&SECOND, &FIRST]]).error.is_none());
    }

    #[test]
    fn a_rule_that_nobody_recorded_is_skipped_and_refuses() {
        let mut examination = Examination::new(UnixTime::from_seconds(0));
        examination.check(&FIRST, true, "", "");
        let conclusion = examination.conclude(&[&[&FIRST, &SECOND]]);
        assert_eq!(conclusion.clauses[1].outcome, Outcome::Skipped);
        assert!(matches!(conclusion.error, Some(AppraisalError::Mismatch(clause)) if clause.id == "second"));
    }

    #[test]
    fn the_first_failure_in_the_order_of_the_questions_is_the_error() {
        let mut examination = Examination::new(UnixTime::from_seconds(0));
        examination.check(&SECOND, false, "", "");
        examination.check(&FIRST, false, "", "");
        let error = examination.conclude(&[&[&SECOND, &FIRST]]).error;
        assert_eq!(error.map(|error| error.clause().id), Some("first"));
    }

    #[test]
    fn a_rule_that_failed_once_failed() {
        let mut examination = Examination::new(UnixTime::from_seconds(0));
        examination.check(&FIRST, true, "", "");
        examination.check(&FIRST, false, "", "");
        assert!(examination.conclude(&[&[&FIRST]]).error.is_some());
    }

    #[test]
    fn a_failure_of_an_unlisted_rule_counts() {
        let mut examination = Examination::new(UnixTime::from_seconds(0));
        examination.check(&FIRST, true, "", "");
        examination.check(&SECOND, false, "", "");
        assert!(examination.conclude(&[&[&FIRST]]).error.is_some());
    }

    #[test]
    fn a_part_answers_for_its_rules_whatever_its_neighbours_recorded() {
        let mut examination = Examination::new(UnixTime::from_seconds(0));
        for (name, both) in [("whole", true), ("half", false)] {
            let mut part = examination.part();
            part.check(&FIRST, true, "", "so");
            if both {
                part.check(&SECOND, true, "", "so");
            }
            part.relies_until(UnixTime::from_seconds(name.len() as u64));
            examination.absorb(part, name, &[&[&FIRST, &SECOND]]);
        }
        let conclusion = examination.conclude(&[&[&FIRST, &SECOND]]);
        assert!(
            matches!(conclusion.error, Some(AppraisalError::Mismatch(clause)) if clause.expected == "half")
        );
        assert_eq!(conclusion.clauses[1].found, "half: so");
        assert_eq!(conclusion.valid_until, UnixTime::from_seconds(4));
    }

    #[test]
    fn nothing_examined_is_refused() {
        assert!(
            Examination::new(UnixTime::from_seconds(0))
                .conclude(&[])
                .error
                .is_some()
        );
    }
}
