//! `adyton seal`: becomes the model owner's tool, which lies beside this one.
//!
//! This binary cannot name a model key (I2), so sealing is another binary; the two are joined the way git joins its.

use std::{ffi::OsString, os::unix::process::CommandExt};

use crate::{cli::Seal, error::ClientError, output::Output, up::process};

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

/// Becomes `adyton-seal` with the same arguments. Returns only what kept it from that.
pub fn run(seal: Seal, output: Output) -> ClientError {
    let binary = match process::sibling("adyton-seal") {
        Ok(binary) => binary,
        Err(error) => return error,
    };
    // A switch before the subcommand is ours by its place and meant for both.
    let json = output.json.then_some("--json");
    let error = std::process::Command::new(&binary)
        .args(json)
        .args(arguments(seal.arguments))
        .exec();
    ClientError::Child {
        name: "adyton-seal".to_owned(),
        problem: format!("does not start: {error}"),
    }
}

/// `adyton seal DIR …` is `adyton-seal seal DIR …`.
fn arguments(given: Vec<OsString>) -> Vec<OsString> {
    if given.is_empty() {
        return given;
    }
    let named = given
        .first()
        .is_some_and(|first| SUBCOMMANDS.iter().any(|name| first == name));
    if named {
        given
    } else {
        std::iter::once(OsString::from("seal")).chain(given).collect()
    }
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
