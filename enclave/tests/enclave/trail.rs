//! What leaves the enclave besides ciphertext: allow-listed lines and content-free records that verify.

use std::{collections::BTreeSet, time::Duration};

use audit::{Entry, LogVerifier, verify_log};
use serde_json::Value;

use crate::support::{Deployment, MODEL, Settings, chat_body};

/// Every key that a line may have.
const KEYS: [&str; 25] = [
    "kind",
    "event",
    "memory_locked",
    "phase",
    "uptime_ms",
    "code",
    "wait_ms",
    "record_sha256",
    "epoch",
    "statement_sha256",
    "part",
    "log_lines",
    "audit_lines",
    "index",
    "entry",
    "checkpoint",
    "time",
    "outcome",
    "model_digest",
    "receipt_sha256",
    "boot_id",
    "config_digest",
    "release_record_sha256",
    "outcome",
    "kind",
];

#[tokio::test]
async fn records_verify_and_hold_no_content() {
    const CANARY: &str = "canary-5f2b9e1c";
    let system = Deployment::serving(&Settings::default()).await;
    let client = system.client().await;
    assert_eq!(client.get("/v1/models").await.status, 200);
    let chat = client
        .post(
            "/v1/chat/completions",
            &chat_body(MODEL, CANARY, r#","max_tokens":3"#),
        )
        .await;
    let refused = client
        .post("/v1/chat/completions", &chat_body(CANARY, "x", ""))
        .await;
    assert_eq!(refused.error().1, "unknown-model");
    let malformed = client
        .post("/v1/chat/completions", &format!("{{\"{CANARY}"))
        .await;
    assert!(
        !malformed.text().contains(CANARY) && !refused.text().contains(CANARY),
        "errors quote nothing"
    );

    let statement = client.evidence.statement();
    let origin = format!("adyton.enclave/{}", hex::encode(statement.boot_id));
    let verifier = LogVerifier::new(&origin, &statement.receipt_key).expect("the attested key");
    tokio::time::sleep(Duration::from_millis(100)).await; // the lines travel by themselves
    let lines: Vec<Value> = system
        .host
        .lines()
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let records: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "audit").collect();
    // A record follows the last byte of its answer, so that of the next request may come before it.
    let mut outcomes: Vec<&str> = records
        .iter()
        .filter_map(|record| record["entry"]["outcome"].as_str())
        .collect();
    outcomes.sort_unstable();
    assert_eq!(
        outcomes,
        ["answered", "answered", "malformed-request", "unknown-model"]
    );
    let mut entries: Vec<Entry> = Vec::new();
    for (index, record) in records.iter().enumerate() {
        assert_eq!(record["index"], index);
        entries.push(Entry::new(&record["entry"]).expect("canonical"));
        let checkpoint = record["checkpoint"].as_str().expect("a note");
        verify_log(entries.iter().map(Entry::as_bytes), checkpoint, &verifier)
            .expect("the head includes the record");
    }
    assert_eq!(records[0]["entry"]["kind"], "boot");
    let receipts: Vec<_> = records
        .iter()
        .map(|record| record["entry"]["receipt_sha256"].as_str())
        .collect();
    assert!(chat.receipt_sha256.is_some() && receipts.contains(&chat.receipt_sha256.as_deref()));
    let unknown = records
        .iter()
        .find(|record| record["entry"]["outcome"] == "unknown-model");
    assert_eq!(
        unknown.expect("its record")["entry"]["receipt_sha256"],
        Value::Null
    );

    let allowed: BTreeSet<&str> = KEYS.into_iter().collect();
    for line in system.host.lines() {
        assert!(!line.contains(CANARY), "{line}");
        let line: Value = serde_json::from_str(&line).expect("JSON");
        let entry = line["entry"].as_object().into_iter().flatten();
        for (key, _) in line.as_object().into_iter().flatten().chain(entry) {
            assert!(allowed.contains(key.as_str()), "{key}");
        }
    }
}

#[tokio::test]
async fn phases_are_logged_in_order() {
    let system = Deployment::serving(&Settings::default()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let phases: Vec<String> = system
        .host
        .lines()
        .iter()
        .filter_map(|line| {
            serde_json::from_str::<Value>(line).ok()?["phase"]
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    assert_eq!(phases, ["booted", "attested", "provisioned", "serving"]);
}
