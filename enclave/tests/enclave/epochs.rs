//! Key epochs: new keys, new statement, the old keys for the grace only.

use std::time::Duration;

use wire::ProblemCode;

use crate::support::{Deployment, MODEL, Settings, chat_body};

#[tokio::test]
async fn an_old_key_opens_requests_for_the_grace_only() {
    let top = "key_epoch_seconds = 4\nkey_grace_seconds = 2";
    let mut system = Deployment::serving(&Settings {
        top,
        ..Settings::default()
    })
    .await;
    let old = system.client().await;
    let body = chat_body(MODEL, "What is sealed?", r#","max_tokens":2"#);
    let seal = || old.seal(old.request("/v1/chat/completions", body.as_bytes()));
    let (in_time, reader) = seal();
    let (too_late, _) = seal();
    let epoch = system.status().await.expect("a status").epoch;
    system
        .wait_for("the next epoch", |status| status.epoch > epoch)
        .await;
    let mut frames = old.send_sealed(&in_time).await;
    let answer = old.read(&mut frames, reader).await;
    assert_eq!(answer.status, 200, "within the grace");
    assert_eq!(
        answer.receipt.expect("a receipt").epoch,
        epoch,
        "and the receipt says which epoch"
    );

    let new = system.client().await;
    let (before, after) = (old.evidence.statement(), new.evidence.statement());
    assert_ne!(before.key_configs, after.key_configs);
    assert_eq!(
        (before.boot_id, before.receipt_key),
        (after.boot_id, after.receipt_key)
    );
    assert_eq!(
        (&before.wrap_key, before.tls_spki_sha256),
        (&after.wrap_key, after.tls_spki_sha256)
    );
    assert_eq!(new.chat(r#","max_tokens":2"#).await.status, 200);

    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(old.refusal_of(&too_late).await, ProblemCode::KeyConfig);
    system.still_serves().await;
}
