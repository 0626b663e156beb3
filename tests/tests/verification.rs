//! docs/verification.md is what the Verifier says of itself today.

#![allow(clippy::print_stderr, reason = "tests say what they did not run")]

use std::collections::BTreeSet;

use harness::verification::{self, checklist::CHECKLIST, evidence, page};

fn committed() -> String {
    std::fs::read_to_string(verification::root().join("docs/verification.md")).expect("the page is committed")
}

#[test]
fn the_committed_page_is_the_generated_one() {
    let generated = verification::generate().expect("the page is generated");
    let committed = committed();
    let hint = "run scripts/verification-page and commit docs/verification.md";
    let same_corpus = match &generated.evidence {
        None => {
            assert!(
                std::env::var_os("CI").is_none_or(|ci| ci != "true"),
                "no corpus at {}",
                evidence::folder().display()
            );
            eprintln!(
                "NOT RUN: what real evidence proves: no corpus at {}",
                evidence::folder().display()
            );
            false
        }
        Some(evidence) => committed.contains(&evidence.manifest_sha256),
    };
    let generated = generated.to_string();
    if same_corpus {
        same(&committed, &generated, hint);
    } else {
        same(
            &page::without_evidence(&committed),
            &page::without_evidence(&generated),
            hint,
        );
    }
}

/// Names the first line that differs: the page is long.
fn same(committed: &str, generated: &str, hint: &str) {
    let differing = committed
        .lines()
        .zip(generated.lines())
        .find(|(committed, generated)| committed != generated);
    assert_eq!(differing, None, "{hint}");
    assert_eq!(committed.lines().count(), generated.lines().count(), "{hint}");
}

#[test]
fn the_checklist_names_clauses_that_exist_and_every_clause_is_asserted() {
    let catalogue = attestation::catalogue();
    let known: BTreeSet<&str> = catalogue
        .iter()
        .flat_map(|group| group.clauses.iter().map(|note| note.id))
        .collect();
    for row in CHECKLIST.iter().flat_map(|part| part.rows) {
        for clause in row.clauses {
            assert!(known.contains(clause), "{}: {clause} is no clause", row.number);
        }
        assert!(
            !row.clauses.is_empty() || !row.note.is_empty(),
            "{}: neither clause nor reason",
            row.number
        );
    }
    let asserted = verification::asserted::scan(&verification::root()).expect("the tests are readable");
    let silent: Vec<_> = known.iter().filter(|id| !asserted.contains_key(**id)).collect();
    assert!(silent.is_empty(), "no test names {silent:?}");
}

#[test]
fn real_evidence_gets_the_verdict_that_its_corpus_expects() {
    let folder = evidence::folder();
    let Some(evidence) = evidence::run(&folder).expect("the corpus is read") else {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "no corpus at {}",
            folder.display()
        );
        eprintln!("NOT RUN: no corpus at {}", folder.display());
        return;
    };
    let wrong: Vec<_> = evidence
        .pieces
        .iter()
        .filter(|piece| !piece.agrees)
        .map(|piece| (&piece.name, piece.verdict, &piece.fails))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_depends_on_the_corpus_can_be_cut_off() {
    let page =
        "# A\n| `a-b` | q | s | x | t | holds on 2 |\n| C1 | a | `b` | c |\n\n## Real evidence\n\nmore\n";
    assert_eq!(
        page::without_evidence(page),
        "# A\n| `a-b` | q | s | x | t\n| C1 | a | `b` | c |"
    );
}
