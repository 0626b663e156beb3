//! Every clause of the catalogue is described, and some test shows it failing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use attestation::catalogue;

fn clauses() -> Vec<attestation::ClauseNote> {
    catalogue().into_iter().flat_map(|group| group.clauses).collect()
}

#[test]
fn every_clause_has_one_name_a_citation_and_an_attack() {
    let mut names = BTreeSet::new();
    for clause in clauses() {
        assert!(names.insert(clause.id), "{} is there twice", clause.id);
        let is_plain = |character: char| {
            character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-'
        };
        assert!(clause.id.chars().all(is_plain), "{}", clause.id);
        assert!(clause.citation.len() > 5, "{}: no citation", clause.id);
        assert!(clause.stops.len() > 10, "{}: it stops nothing", clause.id);
    }
    assert!(names.len() >= 196, "{} clauses", names.len());
    for group in catalogue() {
        assert!(
            !group.title.is_empty() && !group.clauses.is_empty(),
            "{}",
            group.title
        );
    }
}

/// Rust files with tests: integration tests, and modules of tests beside what they test.
fn test_files(folder: &Path, in_tests: bool, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let of_tests = in_tests || name.contains("tests");
        if path.is_dir() {
            test_files(&path, of_tests, found);
        } else if of_tests && name.ends_with(".rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_clause_fails_in_some_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    test_files(&root.join("tests"), true, &mut files);
    test_files(&root.join("src"), false, &mut files);
    let text: String = files
        .iter()
        .map(|file| std::fs::read_to_string(file).expect("a file"))
        .collect();
    let untested: Vec<_> = clauses()
        .into_iter()
        .map(|clause| clause.id)
        .filter(|id| !text.contains(&format!("\"{id}\"")))
        .collect();
    assert_eq!(untested, Vec::<&str>::new(), "clauses that no test names");
}
