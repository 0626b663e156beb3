//! `adyton-seal` as a person and as a script run it.

mod fake_broker;
mod fake_hub;
mod files;
mod pull;
mod registration;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// The command, free of the environment that the tests were started with.
fn adyton_seal() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adyton-seal"));
    command.env_clear();
    command
}

fn run(command: &mut Command) -> (Output, Value) {
    let output = command.arg("--json").output().expect("the binary starts");
    let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
        panic!(
            "not one document: {:?} {:?}",
            output.stdout,
            String::from_utf8_lossy(&output.stderr)
        )
    });
    (output, document)
}

fn succeeds(command: &mut Command) -> Value {
    let (output, document) = run(command);
    assert!(output.status.success(), "{document}");
    document
}

/// The stable code of a failure, whose exit status must be as told.
fn fails(command: &mut Command, exit_code: i32) -> String {
    let (output, document) = run(command);
    let error = &document["error"];
    assert_eq!(output.status.code(), Some(exit_code), "{document}");
    assert_eq!(error["exit_code"], exit_code);
    assert!(
        error["hint"].as_str().is_some_and(|hint| !hint.is_empty()),
        "{document}"
    );
    error["code"].as_str().expect("a code").to_owned()
}

/// A model folder and a manifest-signing key in an empty place.
fn prepare(folder: &Path) {
    std::fs::create_dir(folder.join("model")).unwrap();
    std::fs::write(folder.join("model/config.json"), "{\"a\": 1}").unwrap();
    std::fs::write(folder.join("model/model.safetensors"), vec![7; 3_000_000]).unwrap();
    succeeds(
        adyton_seal()
            .arg("keygen")
            .arg("--out")
            .arg(folder.join("owner.key")),
    );
}

fn seal(folder: &Path) -> Command {
    let mut command = adyton_seal();
    command
        .arg("seal")
        .arg(folder.join("model"))
        .arg("--out")
        .arg(folder.join("m.sealed"));
    command
        .args(["--model-id", "sample", "--owner-key"])
        .arg(folder.join("owner.key"));
    command
}
