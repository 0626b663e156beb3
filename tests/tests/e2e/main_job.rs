//! Seal, launch, attest, release, verify, ask, audit, stop.

use std::{io::Write, process::Stdio};

use harness::deployment::{Deployment, processes, succeed, told};
use serde_json::Value;

pub(crate) const QUESTION: &str = "What does remote attestation prove?";

/// The written answer to a question of the sample model.
pub(crate) fn written_answer(question: &str) -> String {
    let path = harness::deployment::workspace().join("models/sample/questions.jsonl");
    let text = std::fs::read_to_string(path).expect("the sample model's text");
    let entry = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON lines"));
    let found = entry
        .into_iter()
        .find(|entry| entry["question"] == question)
        .expect("the question is in the text");
    found["answer"].as_str().expect("a text").to_owned()
}

/// The answer of `adyton chat`.
pub(crate) fn ask(deployment: &Deployment, prompt: &str) -> String {
    let mut child = deployment
        .adyton()
        .args(["chat", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("adyton was built");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(prompt.as_bytes())
        .expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", told(&output));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn main_job(flavor: &str) {
    let deployment = Deployment::start(flavor);

    let explained = succeed(deployment.adyton().args(["verify", "--explain"]));
    assert!(explained.contains("SIMULATED"), "{explained}");
    assert!(
        explained.contains("PASS") && !explained.contains("FAIL"),
        "{explained}"
    );
    let verdict: Value = serde_json::from_str(&succeed(deployment.adyton().args(["verify", "--json"])))
        .expect("one JSON document");
    assert_eq!(verdict["assurance"], "simulated", "{verdict}");

    assert_eq!(ask(&deployment, QUESTION).trim(), written_answer(QUESTION));

    let state = deployment.state();
    let keys = state.join("audit/keys.txt");
    let pids = [
        deployment.pid("host"),
        deployment.pid("broker"),
        deployment.pid("enclave"),
        deployment.up_pid(),
    ];
    let folder = deployment.stop();
    let alive: Vec<_> = processes()
        .into_iter()
        .filter(|process| pids.contains(&process.pid))
        .collect();
    assert!(
        alive.is_empty(),
        "still running: {:?}",
        alive.iter().map(|process| &process.name).collect::<Vec<_>>()
    );

    for log in ["audit/requests.jsonl", "audit/releases.jsonl"] {
        let mut verify = std::process::Command::new(harness::deployment::binary("adyton"));
        let report = succeed(
            verify
                .args(["audit", "verify", "--json", "--keys-file"])
                .arg(&keys)
                .arg(state.join(log)),
        );
        let report: Value = serde_json::from_str(&report).expect("one JSON document");
        assert_eq!(report["verified"], true, "{log}: {report}");
        assert!(report["logs"][0]["entries"].as_u64() > Some(1), "{log}: {report}");
    }
    drop(folder);
}

#[test]
fn simulated_snp_end_to_end() {
    main_job("snp");
}

#[test]
fn simulated_tdx_end_to_end() {
    main_job("tdx");
}

#[test]
fn a_changed_audit_log_is_found() {
    let deployment = Deployment::start("snp");
    for _ in 0..3 {
        ask(&deployment, QUESTION);
    }
    let state = deployment.state();
    let folder = deployment.stop();
    let (log, keys) = (state.join("audit/requests.jsonl"), state.join("audit/keys.txt"));
    let text = std::fs::read_to_string(&log).expect("records");
    let verify = |text: &str| {
        std::fs::write(&log, text).expect("ours");
        let mut verify = std::process::Command::new(harness::deployment::binary("adyton"));
        verify
            .args(["audit", "verify", "--keys-file"])
            .arg(&keys)
            .arg(&log);
        verify.output().expect("it was built").status.code()
    };
    assert_eq!(verify(&text), Some(0));
    let lines: Vec<_> = text.lines().collect();
    let without_second = [&lines[..1], &lines[2..]].concat().join("\n") + "\n";
    assert_ne!(verify(&without_second), Some(0), "a record left out");
    let mut swapped = lines.clone();
    swapped.swap(0, 1);
    assert_ne!(
        verify(&(swapped.join("\n") + "\n")),
        Some(0),
        "two records swapped"
    );
    let digit = text.find("\"time\":").expect("a record has a time") + "\"time\":".len();
    let mut changed = text.clone().into_bytes();
    changed[digit] = if changed[digit] == b'9' { b'8' } else { b'9' };
    assert_ne!(
        verify(&String::from_utf8(changed).expect("still text")),
        Some(0),
        "one digit of a record changed"
    );
    drop(folder);
}
