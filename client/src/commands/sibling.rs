//! Commands that are binaries of their own, which lie beside this one, joined the way git joins its.
//!
//! This binary cannot name a model key (I2), so `adyton seal`, `adyton pull` and `adyton model` are adyton-seal; nor can
//! it name weights, so `adyton bench` is adyton-bench.

use std::{ffi::OsString, os::unix::process::CommandExt};

use crate::{
    cli::{Model, Passed},
    error::ClientError,
    output::Output,
    up::process,
};

/// Subcommands of adyton-seal; anything else is what to seal.
const SUBCOMMANDS: [&str; 9] = [
    "seal",
    "register",
    "keygen",
    "public-key",
    "inspect",
    "help",
    "--help",
    "-h",
    "--version",
];

/// `adyton seal`. Returns only what kept it from becoming `adyton-seal`.
pub fn run(seal: Passed, output: Output) -> ClientError {
    become_sibling("adyton-seal", arguments(seal.arguments), output)
}

/// `adyton pull`.
pub fn pull(pull: Passed, output: Output) -> ClientError {
    become_sibling("adyton-seal", behind("pull", pull.arguments), output)
}

/// `adyton model`.
pub fn model(model: Model, output: Output) -> ClientError {
    let (word, given) = match model {
        Model::Ls(given) => ("ls", given),
        Model::Inspect(given) => ("inspect", given),
        Model::Rm(given) => ("rm", given),
    };
    become_sibling("adyton-seal", behind(word, given.arguments), output)
}

/// `adyton bench`.
pub fn bench(bench: Passed, output: Output) -> ClientError {
    become_sibling("adyton-bench", bench.arguments, output)
}

fn become_sibling(name: &str, arguments: Vec<OsString>, output: Output) -> ClientError {
    let binary = match process::sibling(name) {
        Ok(binary) => binary,
        Err(error) => return error,
    };
    // A switch before the subcommand is ours by its place and meant for both.
    let json = output.json.then_some("--json");
    let error = std::process::Command::new(&binary)
        .args(json)
        .args(arguments)
        .exec();
    ClientError::Child {
        name: name.to_owned(),
        problem: format!("does not start: {error}"),
    }
}

fn behind(word: &str, given: Vec<OsString>) -> Vec<OsString> {
    std::iter::once(OsString::from(word)).chain(given).collect()
}

/// `adyton seal DIR …` is `adyton-seal seal DIR …`.
fn arguments(given: Vec<OsString>) -> Vec<OsString> {
    if given.is_empty() {
        return given;
    }
    let named = given
        .first()
        .is_some_and(|first| SUBCOMMANDS.iter().any(|name| first == name));
    if named { given } else { behind("seal", given) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_sealed_and_a_subcommand_stays_itself() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(
            arguments(words(&["./model", "--json"])),
            words(&["seal", "./model", "--json"])
        );
        assert_eq!(arguments(words(&["keygen"])), words(&["keygen"]));
        assert_eq!(arguments(words(&["--help"])), words(&["--help"]));
    }
}
