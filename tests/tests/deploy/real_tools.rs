//! The clouds' own argument parsers read every command, where those tools are installed. They reach no network for it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use harness::deployment::workspace;

use serde_json::{Value, json};

use crate::{
    cases::{CASES, run, script, text},
    recorder::Recorder,
};

/// Every different call of one tool in all cases.
fn calls(tool: &str) -> BTreeSet<Vec<String>> {
    let mut calls = BTreeSet::new();
    for case in CASES {
        let recorder = Recorder::new();
        let output = run(recorder
            .apply(&mut script(case.script))
            .args(recorder.files(case)));
        assert!(output.status.success(), "{}: {}", case.name, text(&output.stderr));
        calls.extend(recorder.take().into_iter().filter(|words| words[0] == tool));
    }
    calls
}

/// `gcloud meta lint-gcloud-commands` parses commands against gcloud's tables and runs none.
#[test]
fn gcloud_reads_every_command() {
    let Some(gcloud) = installed("gcloud") else {
        eprintln!("NOT RUN: gcloud is not installed");
        return;
    };
    let commands: Vec<Value> = calls("gcloud")
        .iter()
        .map(|words| json!({"command_string": line(words)}))
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("commands.json");
    std::fs::write(&file, json!(commands).to_string()).expect("written");
    let output = run(Command::new(gcloud)
        .env("CLOUDSDK_CONFIG", folder.path().join("config"))
        .args(["meta", "lint-gcloud-commands", "--commands-file"])
        .arg(&file));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let verdicts: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(verdicts.len(), commands.len());
    for verdict in &verdicts {
        assert_eq!(
            verdict["success"], true,
            "{}: {}",
            verdict["command_string"], verdict["error_message"]
        );
    }
}

/// The linter joins words as a shell would read them.
fn line(words: &[String]) -> String {
    let plain = |word: &str| word.bytes().all(|byte| !b" '\"$`\\".contains(&byte));
    words
        .iter()
        .map(|word| {
            if plain(word) {
                word.clone()
            } else {
                format!("'{word}'")
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// azure-cli's parser, by the Python that azure-cli is installed for: ADYTON_AZ_PYTHON.
#[test]
fn az_reads_every_command() {
    let Some(python) = std::env::var_os("ADYTON_AZ_PYTHON") else {
        eprintln!("NOT RUN: ADYTON_AZ_PYTHON names no Python that has azure-cli");
        return;
    };
    let calls: Vec<Vec<String>> = calls("az").into_iter().collect();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("commands.json");
    std::fs::write(&file, json!(calls).to_string()).expect("written");
    let checker = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/az_parse.py");
    let output = run(Command::new(python)
        .env("AZURE_CONFIG_DIR", folder.path().join("config"))
        .arg(checker)
        .arg(&file));
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    assert!(text(&output.stdout).contains(&format!("{} commands", calls.len())));
}

/// The modules are formatted, and the arguments that they refuse are refused: `machine` has no provider to fetch.
#[test]
fn opentofu_refuses_wrong_arguments() {
    let Some(tofu) = installed("tofu").or_else(|| installed("terraform")) else {
        eprintln!("NOT RUN: neither tofu nor terraform is installed");
        return;
    };
    let deploy = workspace().join("deploy");
    let ran = |folder: PathBuf, data: &Path, arguments: &[&str]| {
        let output = run(Command::new(&tofu)
            .current_dir(folder)
            .env("TF_DATA_DIR", data)
            .args(arguments));
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {said}");
        said
    };
    let data = tempfile::tempdir().expect("a folder");
    ran(
        deploy.clone(),
        data.path(),
        &["fmt", "-check", "-diff", "-recursive"],
    );
    for cloud in ["azure", "gcp"] {
        let data = tempfile::tempdir().expect("a folder");
        let machine = deploy.join(cloud).join("machine");
        ran(
            machine.clone(),
            data.path(),
            &["init", "-backend=false", "-no-color"],
        );
        let said = ran(machine, data.path(), &["test", "-no-color"]);
        assert!(said.contains("8 passed, 0 failed"), "{said}");
    }
}

fn installed(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(tool))
        .find(|file| file.exists())
}
