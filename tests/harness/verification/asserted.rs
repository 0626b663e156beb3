//! Which test files name which clause, in quotes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

/// Where tests of the Verifier are.
const FOLDERS: [&str; 4] = [
    "attestation/src",
    "attestation/tests",
    "client/src",
    "client/tests",
];

/// Clause to the files that name it in their tests, relative to the root of the repository.
pub type Asserted = BTreeMap<String, BTreeSet<String>>;

/// Reads every test under [`FOLDERS`].
pub fn scan(root: &Path) -> io::Result<Asserted> {
    let mut asserted = Asserted::new();
    for folder in FOLDERS {
        visit(root, &root.join(folder), &mut asserted)?;
    }
    Ok(asserted)
}

fn visit(root: &Path, folder: &Path, asserted: &mut Asserted) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            visit(root, &path, asserted)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path)?;
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            for literal in literals(tests_of(&name, &text)) {
                asserted
                    .entry(literal.to_owned())
                    .or_default()
                    .insert(name.clone());
            }
        }
    }
    Ok(())
}

/// The part of a file that is a test: all of it in a folder or file of tests, else what follows `mod tests`.
fn tests_of<'a>(name: &str, text: &'a str) -> &'a str {
    let is_test = name.split('/').any(|part| {
        let stem = part.strip_suffix(".rs").unwrap_or(part);
        stem == "tests" || stem.ends_with("_tests")
    });
    if is_test {
        return text;
    }
    text.find("#[cfg(test)]\nmod tests {")
        .and_then(|at| text.get(at..))
        .unwrap_or_default()
}

/// String literals that look like a clause.
fn literals(text: &str) -> impl Iterator<Item = &str> {
    let clause = |word: &&str| {
        word.contains('-')
            && word
                .bytes()
                .all(|byte| byte == b'-' || byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    text.split('"').filter(clause)
}

#[cfg(test)]
mod tests {
    use super::{literals, tests_of};

    #[test]
    fn only_tests_count() {
        let text = "static A: &str = \"a-b\";\n#[cfg(test)]\nmod tests {\n    \"c-d\"\n}\n";
        let found = |name: &str| literals(tests_of(name, text)).collect::<Vec<_>>();
        assert_eq!(found("attestation/src/snp/rules.rs"), ["c-d"]);
        assert_eq!(found("attestation/tests/vectors.rs"), ["a-b", "c-d"]);
        assert_eq!(found("attestation/src/gce/vtpm_tests.rs"), ["a-b", "c-d"]);
    }
}
