//! The `adyton` binary: exit codes, verdicts, JSON.

use std::{path::PathBuf, process::Stdio};

use attestation::Nonce;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::enclave::{self, Enclave, start};

/// What a run of the command left.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|_| panic!("one JSON document: {} {}", self.stdout, self.stderr))
    }
}

/// Runs `adyton` in an environment of its own.
pub async fn adyton(arguments: &[&str], stdin: Option<&str>) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adyton"));
    command.args(arguments).env_clear().env("HOME", "/nonexistent");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut pipe = child.stdin.take().expect("piped");
    let text = stdin.unwrap_or_default().to_owned();
    tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut pipe, text.as_bytes()).await });
    let output = child.wait_with_output().await.expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// A bundle and a policy in files.
struct Files {
    dir: TempDir,
    nonce: String,
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let nonce = [5; 32];
        let bundle = Enclave::boot(b"enclave", start()).bundle(&Nonce::from_bytes(nonce));
        std::fs::write(dir.path().join("bundle"), bundle.encode().expect("within bounds")).expect("writable");
        std::fs::write(dir.path().join("policy"), enclave::policy_text(b"enclave")).expect("writable");
        Self {
            dir,
            nonce: hex::encode(nonce),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn verify(&self, name: &str, nonce: &str, extra: &[&str]) -> Ran {
        let (bundle, policy) = (self.path(name), self.path("policy"));
        let at = start().to_string();
        let mut arguments = vec![
            "verify",
            bundle.to_str().expect("UTF-8"),
            "--policy",
            policy.to_str().expect("UTF-8"),
        ];
        arguments.extend(["--nonce", nonce, "--at", &at]);
        arguments.extend(extra);
        adyton(&arguments, None).await
    }
}

#[tokio::test]
async fn verify_accepts_simulated_evidence_that_the_policy_names_and_says_so() {
    let files = Files::new();
    let ran = files.verify("bundle", &files.nonce, &[]).await;
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let first = ran.stdout.lines().next().unwrap_or_default();
    assert!(first.starts_with("ACCEPTED SIMULATED"), "{first}");
    assert!(!ran.stdout.contains('\u{1b}'), "no colour in a pipe");

    let explained = files
        .verify("bundle", &files.nonce, &["--explain", "--color", "always"])
        .await;
    assert!(
        explained.stdout.contains('\u{1b}'),
        "colour where it is asked for"
    );
    for question in [
        "Is it genuine hardware?",
        "Is it up to date?",
        "Is it the code I expect?",
        "Is it mine?",
    ] {
        assert!(explained.stdout.contains(question), "{question}");
    }
    assert!(
        !explained.stdout.contains("SKIPPED") && !explained.stdout.contains("FAIL"),
        "{}",
        explained.stdout
    );
}

#[tokio::test]
async fn verify_prints_one_json_document_with_every_clause() {
    let files = Files::new();
    let document = files.verify("bundle", &files.nonce, &["--json"]).await.json();
    assert_eq!(document["verdict"], "accepted");
    assert_eq!(document["assurance"], "simulated");
    assert_eq!(document["exit_code"], 0);
    let clauses = document["clauses"].as_array().expect("clauses");
    assert!(clauses.len() > 10);
    for clause in clauses {
        assert_eq!(clause["outcome"], "pass", "{clause}");
        assert!(
            clause["citation"].as_str().is_some_and(|text| !text.is_empty()),
            "{clause}"
        );
    }
    let rejected = files.verify("bundle", &"00".repeat(32), &["--json"]).await;
    assert_eq!(rejected.code, 10);
    let document = rejected.json();
    assert_eq!(
        (document["verdict"].as_str(), document["exit_code"].as_u64()),
        (Some("rejected"), Some(10))
    );
    assert!(
        document["error"]["clause"]
            .as_str()
            .is_some_and(|id| !id.is_empty())
    );
    assert!(
        document["error"]["hint"]
            .as_str()
            .is_some_and(|hint| !hint.is_empty())
    );
}

#[tokio::test]
async fn verify_has_an_exit_code_for_each_kind_of_refusal() {
    let files = Files::new();
    let whole = std::fs::read(files.path("bundle")).expect("readable");
    std::fs::write(files.path("cut"), &whole[..whole.len() - 1]).expect("writable");
    assert_eq!(files.verify("cut", &files.nonce, &[]).await.code, 20);
    let newer: Vec<u8> = [&whole[..2], &[9], &whole[3..]].concat();
    std::fs::write(files.path("newer"), newer).expect("writable");
    assert_eq!(files.verify("newer", &files.nonce, &[]).await.code, 30);
    assert_eq!(files.verify("bundle", "zz", &[]).await.code, 1);
    assert_eq!(files.verify("missing", &files.nonce, &[]).await.code, 1);

    let text = std::fs::read_to_string(files.path("policy")).expect("readable");
    std::fs::write(files.path("policy"), format!("skip = true\n{text}")).expect("writable");
    let ran = files.verify("bundle", &files.nonce, &["--json"]).await;
    assert_eq!(
        (ran.code, ran.json()["error"]["code"].as_str().map(str::to_owned)),
        (1, Some("policy-syntax".to_owned()))
    );
}

#[tokio::test]
async fn verify_rejects_a_bundle_with_any_sampled_bit_flipped() {
    let files = Files::new();
    let whole = std::fs::read(files.path("bundle")).expect("readable");
    // Every bit is for the verifier's own tests; here it is that each refusal comes out as a code of the command.
    for at in (0..whole.len()).step_by(whole.len() / 24) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(files.path("flipped"), flipped).expect("writable");
        let ran = files.verify("flipped", &files.nonce, &[]).await;
        assert!(
            [10, 20, 30].contains(&ran.code),
            "byte {at}: {} {}",
            ran.code,
            ran.stdout
        );
    }
}

#[tokio::test]
async fn an_empty_or_misspelt_configuration_is_told_apart() {
    let files = Files::new();
    let config = files.path("config.toml");
    std::fs::write(&config, format!("policy = {:?}\n", files.path("policy"))).expect("writable");
    let (config, bundle) = (config.to_str().expect("UTF-8"), files.path("bundle"));
    let at = start().to_string();
    let arguments = [
        "--config",
        config,
        "verify",
        bundle.to_str().expect("UTF-8"),
        "--nonce",
        &files.nonce,
        "--at",
        &at,
    ];
    assert_eq!(adyton(&arguments, None).await.code, 0);
    std::fs::write(config, "polcy = \"x\"\n").expect("writable");
    let ran = adyton(&arguments, None).await;
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("unknown key `polcy`") && ran.stderr.contains("[config-invalid]"),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn a_host_that_is_away_is_named() {
    let files = Files::new();
    let policy = files.path("policy");
    let arguments = [
        "verify",
        "http://127.0.0.1:1",
        "--json",
        "--policy",
        policy.to_str().expect("UTF-8"),
    ];
    let ran = adyton(&arguments, None).await;
    assert_eq!(
        (ran.code, ran.json()["error"]["code"].as_str().map(str::to_owned)),
        (1, Some("host-unreachable".to_owned()))
    );
}

#[tokio::test]
async fn tokens_are_made_in_private_files() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| dir.path().join(name).to_str().expect("UTF-8").to_owned();
    let (key, token) = (path("issuer.key"), path("token"));
    let made = adyton(&["--json", "token", "keygen", "--out", &key], None).await;
    assert_eq!(made.json()["public_key"].as_str().map(str::len), Some(64));
    let arguments = [
        "--json",
        "token",
        "new",
        "--issuer-key",
        &key,
        "--tenant",
        "acme",
        "--expires",
        "1h",
        "--out",
        &token,
    ];
    let issued = adyton(&arguments, None).await;
    assert_eq!(issued.json()["tenant"], "acme");
    assert!(
        !issued.stdout.contains("adt_"),
        "the token itself is in its file only"
    );
    for file in [&key, &token] {
        assert_eq!(
            std::fs::metadata(file).expect("made").permissions().mode() & 0o777,
            0o600
        );
    }
    assert_eq!(
        adyton(&arguments, None).await.json()["error"]["code"],
        "file-unwritable"
    );
}

#[tokio::test]
async fn every_command_has_examples_in_its_help() {
    for command in [
        "verify",
        "chat",
        "proxy",
        "up",
        "audit verify",
        "token new",
        "token keygen",
        "completions",
    ] {
        let arguments: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let ran = adyton(&arguments, None).await;
        assert_eq!(ran.code, 0, "{command}");
        assert!(
            ran.stdout.contains("Examples:\n  adyton"),
            "{command}: {}",
            ran.stdout
        );
    }
    assert!(
        adyton(&["completions", "bash"], None)
            .await
            .stdout
            .contains("_adyton")
    );
}

#[tokio::test]
async fn the_proxy_command_serves_until_it_is_told_to_stop_and_refuses_other_code() {
    let files = Files::new();
    let host = super::host::Host::new(b"enclave");
    let (url, ready) = (format!("http://{}", host.listen().await), files.path("ready"));
    let policy = files.path("policy");
    let arguments = [
        "proxy",
        "--listen",
        "127.0.0.1:0",
        "--url",
        &url,
        "--policy",
        policy.to_str().expect("UTF-8"),
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_adyton"));
    command
        .args(arguments)
        .arg("--ready-file")
        .arg(&ready)
        .env_clear()
        .kill_on_drop(true);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    while !ready.exists() {
        assert!(child.try_wait().expect("our child").is_none(), "the proxy ended");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let document: Value = serde_json::from_slice(&std::fs::read(&ready).expect("readable")).expect("JSON");
    assert_eq!(document["assurance"], "simulated");
    let base = document["base_url"].as_str().expect("a URL");
    assert!(
        base.starts_with("http://127.0.0.1:") && base.ends_with("/v1"),
        "{base}"
    );
    let pid = child.id().expect("it runs").to_string();
    assert!(
        Command::new("kill")
            .arg(&pid)
            .status()
            .await
            .expect("kill(1)")
            .success()
    );
    assert_eq!(child.wait().await.expect("our child").code(), Some(0));

    let other = super::host::Host::new(b"other enclave");
    let url = format!("http://{}", other.listen().await);
    let arguments = [
        "--json",
        "proxy",
        "--listen",
        "127.0.0.1:0",
        "--url",
        &url,
        "--policy",
        policy.to_str().expect("UTF-8"),
    ];
    let ran = adyton(&arguments, None).await;
    assert_eq!(
        (ran.code, ran.json()["error"]["code"].as_str().map(str::to_owned)),
        (10, Some("evidence-mismatch".to_owned()))
    );
}
