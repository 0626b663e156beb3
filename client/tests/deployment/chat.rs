//! `adyton chat` against a host.

use std::sync::Arc;

use super::{
    command::{Ran, adyton},
    enclave::{WORDS, policy_text},
    host::{Fault, Host, lock},
};

struct Setup {
    host: Arc<Host>,
    dir: tempfile::TempDir,
    url: String,
}

impl Setup {
    async fn new() -> Self {
        let host = Host::new(b"enclave");
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(dir.path().join("policy"), policy_text(b"enclave")).expect("writable");
        std::fs::write(dir.path().join("token"), "adt_right").expect("writable");
        let url = format!("http://{}", host.listen().await);
        Self { host, dir, url }
    }

    async fn chat(&self, extra: &[&str]) -> Ran {
        let path = |name: &str| self.dir.path().join(name).to_str().expect("UTF-8").to_owned();
        let (policy, token) = (path("policy"), path("token"));
        let mut arguments = vec![
            "chat",
            "--url",
            &self.url,
            "--policy",
            &policy,
            "--token-file",
            &token,
        ];
        arguments.extend(extra);
        adyton(&arguments, Some("What does evidence prove?")).await
    }
}

#[tokio::test]
async fn a_prompt_from_standard_input_is_answered_and_the_receipt_summarised() {
    let setup = Setup::new().await;
    let ran = setup.chat(&["--receipt"]).await;
    assert_eq!(
        (ran.code, ran.stdout.trim_end()),
        (0, WORDS.concat().as_str()),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("ACCEPTED SIMULATED"), "{}", ran.stderr);
    assert!(ran.stderr.contains("4 in, 5 out"), "{}", ran.stderr);
    let document = setup.chat(&["--json", "-"]).await.json();
    assert_eq!(document["answer"], WORDS.concat());
    assert_eq!(document["receipt"]["completion_tokens"], 5);
    assert_eq!(
        (document["assurance"].as_str(), document["finish_reason"].as_str()),
        (Some("simulated"), Some("stop"))
    );
}

#[tokio::test]
async fn a_cut_answer_is_an_error_and_leaves_nothing_in_a_pipe() {
    let setup = Setup::new().await;
    // The list of models goes first and has one piece.
    *lock(&setup.host.fault) = Fault::EndBefore(4);
    let ran = setup.chat(&["--model", "sample"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("[answer-broken]"), "{}", ran.stderr);
}

#[tokio::test]
async fn an_answer_with_a_foreign_receipt_is_rejected() {
    let setup = Setup::new().await;
    lock(&setup.host.enclave).forge_receipts();
    let ran = setup.chat(&["--model", "sample", "--json"]).await;
    assert_eq!(
        (ran.code, ran.json()["error"]["code"].as_str().map(str::to_owned)),
        (10, Some("receipt-invalid".to_owned()))
    );
    assert!(!ran.stdout.contains(WORDS[0]));
}

#[tokio::test]
async fn a_wrong_token_has_its_code() {
    let setup = Setup::new().await;
    std::fs::write(setup.dir.path().join("token"), "adt_wrong").expect("writable");
    let ran = setup.chat(&["--json"]).await;
    assert_eq!(
        (ran.code, ran.json()["error"]["code"].as_str().map(str::to_owned)),
        (1, Some("unauthorized-token".to_owned()))
    );
}
