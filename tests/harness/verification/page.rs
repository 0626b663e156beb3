//! The page as Markdown.

use std::fmt;

use attestation::{ClauseGroup, ClauseNote};

use super::{
    asserted::Asserted,
    checklist::{CHECKLIST, Row},
    evidence::{Evidence, Piece},
    other_verifiers::Disagreement,
};

const INTRODUCTION: &str = "\
# What the Verifier checks

Generated from the Verifier; `scripts/verification-page` writes it anew, and a test holds the two together.

An appraisal records one clause for each rule of the platform, the bundle, the devices and the statement. A clause
PASSes, FAILs, or is SKIPPED because something before it failed; evidence is accepted only if every one of them passed.
The first that failed is the clause of the error, and `adyton verify` shows them all.
";

const CLAUSES: &str = "\
## Clauses

**Stops** is what gets through without the clause. **Tests** name it and fail when it is gone (paths under
`attestation/` unless they begin otherwise). **Real evidence** is what the clause decides in a corpus of evidence from
public sources, altered pieces included: on how many pieces it holds, and which fail it. Where that is empty, only
evidence under our own test keys exercises it.
";

const ROWS: &str = "\
## Checklist

What specifications, advisories and the mistakes of other verifiers ask of a verifier of these platforms, and the clauses
that answer.
";

const OTHERS: &str = "\
## Other verifiers on the same evidence

`attestation/differential` gives the same bytes to the crates `sev` 8.0 (signature and chain of SNP reports) and
`dcap-qvl` 0.7 (TDX quotes with collateral). Where verdicts differ the reason is below; everywhere else the test asserts
that they are the same. They answer narrower questions, so ours here is the part of our verdict that answers theirs:
clauses on what the policy expects of a guest are left out.
";

const EVIDENCE: &str = "\
## Real evidence

Each piece under the corpus's default policy (`adyton verify --manifest`): its verdict and every clause that fails.
";

/// Files named in one cell before the rest is counted.
const NAMED_MAX: usize = 3;

/// Everything that the page says.
pub struct Page {
    /// The clauses.
    pub catalogue: Vec<ClauseGroup>,
    /// The tests that name them.
    pub tests: Asserted,
    /// What real evidence came to, where there is some.
    pub evidence: Option<Evidence>,
    /// What other verifiers say.
    pub disagreements: Vec<Disagreement>,
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{INTRODUCTION}\n{CLAUSES}")?;
        for group in &self.catalogue {
            let question = |note: &ClauseNote| note.question.text();
            write!(f, "\n### {}\n\n", group.title)?;
            writeln!(
                f,
                "| clause | question | source | stops | tests | real evidence |"
            )?;
            writeln!(f, "|---|---|---|---|---|---|")?;
            for note in &group.clauses {
                let tests = self.tests_of(note.id);
                let evidence = self.evidence.as_ref().map(|evidence| decided(evidence, note.id));
                writeln!(
                    f,
                    "| `{}` | {} | {} | {} | {tests} | {} |",
                    note.id,
                    question(note),
                    escape(note.citation),
                    escape(note.stops),
                    evidence.unwrap_or_default(),
                )?;
            }
        }
        write!(f, "\n{ROWS}")?;
        for part in CHECKLIST {
            write!(f, "\n### {}: checklist\n\n", part.title)?;
            writeln!(f, "| | ought to be checked | clauses | note |\n|---|---|---|---|")?;
            for Row {
                number,
                asks,
                clauses,
                note,
            } in part.rows
            {
                let clauses = code(clauses.iter());
                writeln!(
                    f,
                    "| {number} | {} | {clauses} | {} |",
                    escape(asks),
                    escape(note)
                )?;
            }
        }
        write!(f, "\n{OTHERS}\n")?;
        writeln!(
            f,
            "| verifier | evidence | ours | theirs | why |\n|---|---|---|---|---|"
        )?;
        for Disagreement {
            verifier,
            evidence,
            ours,
            theirs,
            why,
        } in &self.disagreements
        {
            let evidence = code(evidence.iter());
            let why = escape(why);
            writeln!(f, "| {verifier} | {evidence} | {ours} | {theirs} | {why} |")?;
        }
        if let Some(evidence) = &self.evidence {
            write!(f, "\n{EVIDENCE}\n")?;
            writeln!(
                f,
                "Corpus: {} pieces, SHA-256 of its manifest `{}`.\n",
                evidence.pieces.len(),
                evidence.manifest_sha256
            )?;
            writeln!(f, "| evidence | verdict | fails |\n|---|---|---|")?;
            for piece in &evidence.pieces {
                let fails = code(piece.fails.iter());
                writeln!(f, "| {} | {} | {fails} |", piece.name, piece.verdict)?;
            }
        }
        Ok(())
    }
}

impl Page {
    fn tests_of(&self, id: &str) -> String {
        let Some(files) = self.tests.get(id) else {
            return "none".to_owned();
        };
        let files = files
            .iter()
            .map(|file| file.strip_prefix("attestation/").unwrap_or(file));
        some_of(&code_of(files))
    }
}

/// What a clause decided: pieces on which it holds, and pieces that fail it.
fn decided(evidence: &Evidence, id: &str) -> String {
    let holds = evidence.pieces.iter().filter(|piece| piece.holds.contains(&id));
    let holds = holds.count();
    let fails: Vec<String> = evidence
        .pieces
        .iter()
        .filter(|piece| piece.fails.contains(&id))
        .map(|Piece { name, .. }| name.clone())
        .collect();
    match (holds, fails.is_empty()) {
        (0, true) => String::new(),
        (_, true) => format!("holds on {holds}"),
        (_, false) => format!("holds on {holds}; fails {}", some_of(&fails)),
    }
}

fn some_of(names: &[String]) -> String {
    let (named, rest) = names.split_at(names.len().min(NAMED_MAX));
    let mut text = named.join(", ");
    if !rest.is_empty() {
        text.push_str(&format!(" and {} more", rest.len()));
    }
    text
}

fn code_of(words: impl Iterator<Item = impl fmt::Display>) -> Vec<String> {
    words.map(|word| format!("`{word}`")).collect()
}

fn code(words: impl Iterator<Item = impl fmt::Display>) -> String {
    code_of(words).join(", ")
}

/// A pipe would end the cell.
fn escape(text: &str) -> String {
    text.replace('|', "\\|")
}

/// The page without what depends on a corpus: the last cell of each clause, and the last part.
pub fn without_evidence(page: &str) -> String {
    let kept = page.split("\n## Real evidence\n").next().unwrap_or_default();
    let lines = kept.lines().map(|line| {
        let cut = line.strip_suffix(" |").and_then(|line| line.rsplit_once(" | "));
        match cut {
            Some((line, _)) if line.starts_with("| `") => line,
            _ => line,
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}
