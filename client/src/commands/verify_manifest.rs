//! `adyton verify --manifest`: one line a vector, and whether all agree.

use std::{fmt::Write as _, path::Path};

use serde_json::json;

use crate::{
    corpus::{
        manifest::Corpus,
        run::{Judged, judge},
    },
    error::{ClientError, EXIT_OTHER, EXIT_REJECTED},
    output::{BAD, FAINT, GOOD, Output, STRONG},
};

/// Runs every vector; exit code 0 only if all agree, 10 if one does not, 1 if one could not be run.
pub fn run(manifest: &Path, output: Output) -> Result<u8, ClientError> {
    let corpus = Corpus::read(manifest)?;
    let mut text = String::new();
    let mut documents = Vec::new();
    let (mut agreeing, mut broken) = (0, 0);
    let width = corpus
        .vectors
        .iter()
        .map(|vector| vector.name.len())
        .max()
        .unwrap_or(0);
    for (at, vector) in corpus.vectors.iter().enumerate() {
        if output.redraws() {
            output.redraw(&format!("{}/{} {}", at + 1, corpus.vectors.len(), vector.name));
        }
        match judge(&corpus, vector) {
            Ok(judged) => {
                agreeing += usize::from(judged.agrees());
                line(&mut text, &judged, width);
                documents.push(document(&judged));
            }
            // One vector that cannot be run does not hide the others.
            Err(error) => {
                broken += 1;
                let _ = writeln!(text, "{BAD}ERROR{BAD:#}     {:width$}  {error}", vector.name);
                documents.push(json!({
                    "name": vector.name,
                    "error": { "code": error.code(), "message": error.to_string() },
                    "expected": vector.expected.verdict,
                    "agreement": false,
                }));
            }
        }
    }
    if output.redraws() {
        output.redraw("");
    }
    let total = corpus.vectors.len();
    let style = if agreeing == total { GOOD } else { BAD };
    let _ = writeln!(text, "\n{style}{agreeing} of {total} agree{style:#}");
    output.result(
        &text,
        &json!({ "vectors": documents, "total": total, "agreeing": agreeing }),
    )?;
    Ok(match (agreeing == total, broken) {
        (true, _) => 0,
        (false, 0) => EXIT_REJECTED,
        (false, _) => EXIT_OTHER,
    })
}

fn line(text: &mut String, judged: &Judged, width: usize) {
    let (style, word) = if judged.agrees() {
        (GOOD, "agrees")
    } else {
        (BAD, "DISAGREES")
    };
    let failed = if judged.failed.is_empty() {
        "-".to_owned()
    } else {
        judged.failed.join(" ")
    };
    let _ = writeln!(
        text,
        "{style}{word:9}{style:#} {STRONG}{:width$}{STRONG:#}  {:10} {FAINT}expected{FAINT:#} {:10} {failed}",
        judged.name, judged.verdict, judged.expected
    );
    if !judged.unanswered.is_empty() {
        let _ = writeln!(
            text,
            "          {FAINT}expected to fail, and did not:{FAINT:#} {}",
            judged.unanswered.join(", ")
        );
    }
}

fn document(judged: &Judged) -> serde_json::Value {
    json!({
        "name": judged.name,
        "verdict": judged.verdict,
        "failing_clauses": judged.failed,
        "passed_clauses": judged.passed,
        "expected": judged.expected,
        "unanswered_checks": judged.unanswered,
        "agreement": judged.agrees(),
    })
}
