//! An appraisal for a person and for a script.

use std::fmt::Write as _;

use attestation::{
    AppraisalError, Assurance, Clause, Explanation, Outcome, PlatformTag, Question, Statement, UnixTime,
    Verdict,
};
use serde_json::{Value, json};

use crate::output::{BAD, FAINT, GOOD, NOTICE, STRONG, printable};

/// Longest value that stands in the table whole; longer ones show both ends.
const VALUE_CHARS_MAX: usize = 44;

/// What was appraised, when, and how it came out.
pub struct Appraised<'a> {
    /// URL or file.
    pub subject: &'a str,
    /// What kind of evidence it claims to be.
    pub platform: PlatformTag,
    /// The statement's bytes; empty where there is none.
    pub statement: &'a [u8],
    /// Length of the bundle or the raw evidence.
    pub bytes: usize,
    /// As of when.
    pub at: UnixTime,
    /// Every clause and the verdict.
    pub explanation: &'a Explanation,
    /// What ties it to whoever asks.
    pub binding: Binding,
}

/// What ties evidence to whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Statement and nonce.
    Nonce,
    /// Report data that were asked for.
    ReportData,
    /// Whatever report data there were: nothing.
    Unbound,
    /// Nobody said what report data there must be: the clause stays open.
    Unknown,
}

impl Appraised<'_> {
    /// The verdict first, then, where asked for, every clause grouped by question.
    /// `columns` is the terminal's width; citations are left out where they do not fit.
    pub fn text(&self, explain: bool, columns: Option<usize>) -> String {
        let mut text = headline(&self.explanation.verdict, self.subject);
        let _ = writeln!(
            text,
            "{FAINT}{} evidence, {} bytes, as of {}{FAINT:#}",
            self.platform, self.bytes, self.at
        );
        match self.binding {
            Binding::Unbound => {
                let _ = writeln!(
                    text,
                    "{NOTICE}UNBOUND{NOTICE:#}  nothing ties this evidence to you: anybody may have asked for it, at any time"
                );
            }
            Binding::Unknown => {
                let _ = writeln!(
                    text,
                    "{NOTICE}NOT BOUND{NOTICE:#}  say what the evidence must carry with --report-data, or take any with --unbound"
                );
            }
            Binding::Nonce | Binding::ReportData => {}
        }
        if let Verdict::Refused(error) = &self.explanation.verdict {
            text.push_str(&refusal(error));
        }
        if explain {
            text.push_str(&clause_table(&self.explanation.clauses, columns));
            if let Ok(statement) = Statement::parse(self.statement) {
                text.push_str(&statement_lines(&statement));
            }
        } else {
            let _ = writeln!(text, "{}", counts(&self.explanation.clauses));
        }
        text
    }

    /// The same as one JSON document; always with every clause.
    pub fn document(&self) -> Value {
        let (verdict, assurance, error) = match &self.explanation.verdict {
            Verdict::Accepted(assurance) => ("accepted", Some(assurance_word(*assurance)), None),
            Verdict::Refused(error) => (refused_word(error), None, Some(error)),
        };
        json!({
            "verdict": verdict,
            "assurance": assurance,
            "exit_code": error.map_or(0, AppraisalError::exit_code),
            "subject": self.subject,
            "platform": self.platform.as_str(),
            "bound": matches!(self.binding, Binding::Nonce | Binding::ReportData),
            "at": self.at.to_string(),
            "error": error.map(|error| json!({
                "code": error.code(),
                "clause": error.clause().id,
                "message": error.to_string(),
                "hint": error.hint(),
            })),
            "clauses": self.explanation.clauses.iter().map(clause_document).collect::<Vec<_>>(),
            "statement": Statement::parse(self.statement).ok().map(|statement| statement_document(&statement)),
        })
    }
}

/// `hardware` or `simulated`.
pub fn assurance_word(assurance: Assurance) -> &'static str {
    match assurance {
        Assurance::Hardware => "hardware",
        Assurance::Simulated => "simulated",
    }
}

/// The first line: the verdict in colour.
pub fn headline(verdict: &Verdict, subject: &str) -> String {
    match verdict {
        Verdict::Accepted(Assurance::Hardware) => format!("{GOOD}ACCEPTED{GOOD:#}  {subject}\n"),
        Verdict::Accepted(Assurance::Simulated) => format!(
            "{GOOD}ACCEPTED{GOOD:#} {NOTICE}SIMULATED{NOTICE:#}  {subject}  {NOTICE}no hardware protects anything here{NOTICE:#}\n"
        ),
        Verdict::Refused(error) => format!("{BAD}{}{BAD:#}  {subject}\n", refused_word(error).to_uppercase()),
    }
}

/// Every clause, aligned, under the question that it helps to answer.
pub fn clause_table(clauses: &[Clause], columns: Option<usize>) -> String {
    let id_width = clauses.iter().map(|clause| clause.id.len()).max().unwrap_or(0);
    let citation_width = clauses
        .iter()
        .map(|clause| clause.citation.len())
        .max()
        .unwrap_or(0);
    let needed = id_width + VALUE_CHARS_MAX + citation_width + 15;
    let cite = columns.is_none_or(|columns| columns >= needed);
    let mut text = String::new();
    for question in [
        Question::Genuine,
        Question::UpToDate,
        Question::Expected,
        Question::Mine,
    ] {
        let mut of_question = clauses
            .iter()
            .filter(|clause| clause.question == question)
            .peekable();
        if of_question.peek().is_some() {
            let _ = writeln!(text, "\n{STRONG}{}{STRONG:#}", question.text());
        }
        for clause in of_question {
            clause_lines(&mut text, clause, id_width, cite);
        }
    }
    text
}

fn clause_lines(text: &mut String, clause: &Clause, id_width: usize, cite: bool) {
    let (id, expected, found) = (clause.id, printable(&clause.expected), printable(&clause.found));
    let citation = if cite {
        format!("{FAINT}{}{FAINT:#}", clause.citation)
    } else {
        String::new()
    };
    let mut line = |mark: String, value: &str| {
        let line = format!("  {mark}  {id:id_width$}  {value:VALUE_CHARS_MAX$}  {citation}");
        let _ = writeln!(text, "{}", line.trim_end());
    };
    match clause.outcome {
        Outcome::Pass if found.is_empty() => line(format!("{GOOD}PASS{GOOD:#}   "), "none"),
        Outcome::Pass => line(format!("{GOOD}PASS{GOOD:#}   "), &shortened(&found)),
        Outcome::Skipped => line(format!("{NOTICE}SKIPPED{NOTICE:#}"), "not reached"),
        // A failure is worth its full values, on lines of their own.
        Outcome::Fail => {
            line(format!("{BAD}FAIL{BAD:#}   "), "");
            let _ = writeln!(
                text,
                "           expected  {expected}\n           found     {BAD}{found}{BAD:#}"
            );
        }
    }
}

fn refusal(error: &AppraisalError) -> String {
    let clause = error.clause();
    format!(
        "\n  {STRONG}{}{STRONG:#} {FAINT}[{}]{FAINT:#}\n  expected  {}\n  found     {BAD}{}{BAD:#}\n  {STRONG}hint{STRONG:#}      {}\n",
        clause.id,
        error.code(),
        printable(&clause.expected),
        printable(&clause.found),
        error.hint()
    )
}

fn counts(clauses: &[Clause]) -> String {
    let count = |outcome| clauses.iter().filter(|clause| clause.outcome == outcome).count();
    let (passed, failed, skipped) = (
        count(Outcome::Pass),
        count(Outcome::Fail),
        count(Outcome::Skipped),
    );
    format!(
        "{FAINT}{passed} clauses passed, {failed} failed, {skipped} not reached; --explain lists them{FAINT:#}"
    )
}

fn statement_lines(statement: &Statement) -> String {
    let fields = statement.fields();
    let mut text = format!("\n{STRONG}What it says of itself{STRONG:#}\n");
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:18}{value}");
    };
    line("software", printable(&fields.software_version));
    line("boot id", hex::encode(fields.boot_id));
    for digest in &fields.model_digests {
        line("model digest", hex::encode(digest));
    }
    line("config digest", hex::encode(fields.config_digest));
    line("receipt key", hex::encode(fields.receipt_key));
    line("key lifetime", format!("{} s", fields.key_lifetime_seconds));
    text
}

fn statement_document(statement: &Statement) -> Value {
    let fields = statement.fields();
    json!({
        "sha256": hex::encode(statement.sha256()),
        "software_version": fields.software_version,
        "boot_id": hex::encode(fields.boot_id),
        "model_digests": fields.model_digests.iter().map(hex::encode).collect::<Vec<_>>(),
        "config_digest": hex::encode(fields.config_digest),
        "policy_digest": hex::encode(fields.policy_digest),
        "receipt_key": hex::encode(fields.receipt_key),
        "key_lifetime_seconds": fields.key_lifetime_seconds,
    })
}

fn clause_document(clause: &Clause) -> Value {
    json!({
        "id": clause.id,
        "question": clause.question.text(),
        "citation": clause.citation,
        "outcome": clause.outcome.to_string().to_lowercase(),
        "expected": clause.expected,
        "found": clause.found,
    })
}

fn refused_word(error: &AppraisalError) -> &'static str {
    match error.exit_code() {
        crate::error::EXIT_MALFORMED => "malformed",
        crate::error::EXIT_UNSUPPORTED => "unsupported",
        _ => "rejected",
    }
}

fn shortened(value: &str) -> String {
    let length = value.chars().count();
    if length <= VALUE_CHARS_MAX {
        return value.to_owned();
    }
    let kept = VALUE_CHARS_MAX - 1;
    let head: String = value.chars().take(kept - kept / 3).collect();
    let tail: String = value.chars().skip(length - kept / 3).collect();
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clause(id: &'static str, question: Question, outcome: Outcome) -> Clause {
        let (expected, found) = ("aa".repeat(48), "bb".repeat(48));
        Clause {
            id,
            question,
            citation: "a page",
            outcome,
            expected,
            found,
        }
    }

    #[test]
    fn clauses_stand_under_their_question_and_a_failure_shows_its_values_whole() {
        let clauses = [
            clause("nonce", Question::Mine, Outcome::Skipped),
            clause("launch-measurement", Question::Expected, Outcome::Fail),
            clause("signature", Question::Genuine, Outcome::Pass),
        ];
        let text = anstream::adapter::strip_str(&clause_table(&clauses, None)).to_string();
        let at = |needle: &str| text.find(needle).unwrap_or_else(|| panic!("{needle} in\n{text}"));
        assert!(at("Is it genuine hardware?") < at("PASS     signature"));
        assert!(at("PASS     signature") < at("Is it the code I expect?"));
        assert!(at("FAIL     launch-measurement") < at("Is it mine?"));
        assert!(at("Is it mine?") < at("SKIPPED  nonce"));
        assert!(text.contains(&"bb".repeat(48)) && text.contains(&"aa".repeat(48)));
        assert!(!text.contains("Is it up to date?"), "no heading without a clause");
    }

    #[test]
    fn a_narrow_terminal_loses_citations_and_nothing_else() {
        let clauses = [clause("signature", Question::Genuine, Outcome::Pass)];
        let strip = |text: String| anstream::adapter::strip_str(&text).to_string();
        let (wide, narrow) = (
            strip(clause_table(&clauses, None)),
            strip(clause_table(&clauses, Some(70))),
        );
        assert!(wide.contains("a page") && !narrow.contains("a page"));
        assert!(narrow.lines().all(|line| line.chars().count() <= 70), "{narrow}");
    }

    #[test]
    fn a_long_value_shows_both_ends() {
        let short = shortened("0123456789012345678901234567890123456789012345678901234567890123456789");
        assert_eq!(short.chars().count(), VALUE_CHARS_MAX);
        assert!(short.starts_with("0123") && short.ends_with("6789") && short.contains('…'));
    }

    #[test]
    fn a_refusal_is_named_after_its_exit_code() {
        let failed = || Box::new(clause("x", Question::Genuine, Outcome::Fail));
        assert_eq!(refused_word(&AppraisalError::Malformed(failed())), "malformed");
        assert_eq!(
            refused_word(&AppraisalError::Unsupported(failed())),
            "unsupported"
        );
        assert_eq!(refused_word(&AppraisalError::Revoked(failed())), "rejected");
        assert!(headline(&Verdict::Accepted(Assurance::Simulated), "x").contains("SIMULATED"));
    }
}
