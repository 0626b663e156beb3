//! Clients that nobody here wrote, against `adyton proxy` inside `adyton up`: openai for Python, openai for Node, curl.

use std::{path::PathBuf, process::Command};

use harness::deployment::{Deployment, told, workspace};

/// The interpreter or module folder that scripts/test prepares; where it is missing, says so.
fn prepared(variable: &str, what: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Some(path.into());
    }
    assert_ne!(
        std::env::var("CI").as_deref(),
        Ok("true"),
        "{variable} is not set"
    );
    eprintln!("NOT RUN: {what} needs {variable}; scripts/test prepares it");
    None
}

fn run(client: &mut Command) {
    let deployment = Deployment::start("snp");
    let output = client
        .current_dir(workspace().join("tests/clients"))
        .env("BASE_URL", deployment.run("base_url"))
        .env("API_KEY_FILE", deployment.run("token_file"))
        .env("QUESTIONS", workspace().join("models/sample/questions.jsonl"))
        .output()
        .expect("the client starts");
    assert!(output.status.success(), "{}", told(&output));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.lines().filter(|line| line.starts_with("ok - ")).count() >= 5,
        "{said}"
    );
}

#[test]
fn openai_for_python() {
    let Some(python) = prepared("ADYTON_TEST_PYTHON", "the openai package of PyPI") else {
        return;
    };
    run(Command::new(python).arg("openai_python.py"));
}

#[test]
fn openai_for_node() {
    let Some(modules) = prepared("ADYTON_TEST_NODE_MODULES", "the openai package of npm") else {
        return;
    };
    // Node resolves packages from the script's folder upwards, so the script runs beside them.
    let folder = modules.parent().expect("node_modules has a parent");
    let script = folder.join("openai_node.mjs");
    std::fs::copy(workspace().join("tests/clients/openai_node.mjs"), &script).expect("the folder is ours");
    run(Command::new("node").arg(script));
}

#[test]
fn curl() {
    run(Command::new("bash").arg("curl.sh"));
}
