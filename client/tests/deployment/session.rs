//! Evidence and age: what a session accepts, and for how long.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use client::{ClientError, session::Question};
use exchange::ApiToken;

use super::{
    enclave::WORDS,
    host::{EvidenceFault, Fault, Host, lock},
    open, verifier, verifier_of,
};

fn question(stream: bool) -> Question {
    let body = serde_json::json!({ "model": "sample", "stream": stream, "messages": [{ "role": "user", "content": "a secret prompt" }] });
    Question {
        method: "POST".to_owned(),
        path: "/v1/chat/completions".to_owned(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        token: Some(Arc::new(ApiToken::new("adt_right".to_owned()))),
        body: body.to_string().into_bytes().into(),
    }
}

async fn ask(session: &client::session::Session) -> Result<String, ClientError> {
    let mut answer = session.ask(&question(true)).await?;
    let body = answer.collect(1 << 20).await?;
    assert!(answer.receipt().is_some(), "a whole answer has its receipt");
    Ok(String::from_utf8(body.expose().to_vec()).expect("text"))
}

#[tokio::test]
async fn simulated_evidence_is_accepted_and_a_prompt_answered() {
    let host = Host::new(b"enclave");
    let session = open(&host, verifier()).await.expect("accepted");
    let text = ask(&session).await.expect("answered");
    assert!(WORDS.iter().all(|word| text.contains(word)), "{text}");
    let seen = lock(&host.seen).clone();
    for secret in ["a secret prompt", "adt_right", "/v1/chat"] {
        assert!(
            !seen
                .windows(secret.len())
                .any(|window| window == secret.as_bytes()),
            "the host saw {secret}"
        );
    }
}

#[tokio::test]
async fn other_code_is_rejected_and_nothing_is_sent() {
    let host = Host::new(b"other enclave");
    let error = open(&host, verifier()).await.err().expect("rejected");
    assert_eq!((error.code(), error.exit_code()), ("evidence-mismatch", 10));
    assert_eq!(host.relayed.load(Ordering::SeqCst), 0);
    assert!(open(&host, verifier_of(b"other enclave")).await.is_ok());
}

#[tokio::test]
async fn another_nonce_or_a_swapped_statement_is_rejected() {
    for fault in [EvidenceFault::OtherNonce, EvidenceFault::SwapStatement] {
        let host = Host::new(b"enclave");
        *lock(&host.evidence_fault) = fault;
        let error = open(&host, verifier()).await.err().expect("rejected");
        assert_eq!(error.exit_code(), 10, "{fault:?}: {error}");
    }
}

#[tokio::test]
async fn a_broker_is_no_place_for_a_prompt_even_under_a_policy_for_brokers() {
    let host = Host::new(b"enclave");
    lock(&host.enclave).become_broker();
    let text = super::enclave::policy_text(b"enclave").replace("role = \"inference\"", "role = \"broker\"");
    let text: String = text
        .lines()
        .filter(|line| !line.starts_with("model_digests"))
        .map(|line| format!("{line}\n"))
        .collect();
    let brokers = attestation::AppraisalPolicy::from_toml(&text).expect("a policy for brokers");
    let error = open(&host, attestation::Verifier::new(brokers))
        .await
        .err()
        .expect("refused");
    assert_eq!(error.code(), "key-unusable");
}

#[tokio::test]
async fn evidence_is_asked_for_again_when_it_is_too_old() {
    let host = Host::new(b"enclave");
    let session = open(&host, verifier()).await.expect("accepted");
    host.elapsed.store(899, Ordering::SeqCst);
    ask(&session).await.expect("fresh enough");
    assert_eq!(host.evidence_asked.load(Ordering::SeqCst), 1);
    host.elapsed.store(901, Ordering::SeqCst);
    ask(&session).await.expect("renewed");
    assert_eq!(host.evidence_asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn old_evidence_is_not_used_when_no_other_can_be_had() {
    let host = Host::new(b"enclave");
    let session = open(&host, verifier()).await.expect("accepted");
    *lock(&host.evidence_fault) = EvidenceFault::Away;
    ask(&session).await.expect("still fresh");
    host.elapsed.store(901, Ordering::SeqCst);
    let relayed = host.relayed.load(Ordering::SeqCst);
    assert_eq!(ask(&session).await.expect_err("too old").code(), "not-ready");
    assert_eq!(host.relayed.load(Ordering::SeqCst), relayed, "nothing was sent");
}

#[tokio::test]
async fn a_rotated_key_costs_one_retry_with_fresh_evidence() {
    let host = Host::new(b"enclave");
    let session = open(&host, verifier()).await.expect("accepted");
    lock(&host.enclave).rotate(host.now());
    ask(&session).await.expect("answered at the second attempt");
    assert_eq!(host.evidence_asked.load(Ordering::SeqCst), 2);
    assert_eq!(host.relayed.load(Ordering::SeqCst), 2);
    ask(&session).await.expect("answered at the first");
    assert_eq!(host.relayed.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_key_that_never_opens_is_retried_once_only() {
    let host = Host::new(b"enclave");
    let session = open(&host, verifier()).await.expect("accepted");
    lock(&host.enclave).attest_foreign_keys();
    let error = ask(&session).await.expect_err("never opened");
    assert_eq!(error.code(), "key-config");
    assert_eq!(host.relayed.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn other_code_after_a_rotation_is_rejected_and_stays_so() {
    let host = Host::new(b"enclave");
    let session = open(&host, verifier()).await.expect("accepted");
    *lock(&host.enclave) = super::enclave::Enclave::boot(b"other enclave", host.now());
    let error = ask(&session).await.expect_err("rejected");
    assert_eq!(error.code(), "evidence-mismatch");
    let relayed = host.relayed.load(Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(
            ask(&session).await.expect_err("still").code(),
            "evidence-mismatch"
        );
    }
    assert_eq!(
        host.relayed.load(Ordering::SeqCst),
        relayed,
        "nothing was sent to it"
    );
    assert!(session.fresh_until().is_none());
}

#[tokio::test]
async fn an_answer_is_whole_or_an_error_whatever_the_host_does() {
    let last = WORDS.len() + 3;
    let mut faults = vec![Fault::Page];
    for at in 0..=last {
        faults.extend([
            Fault::EndBefore(at),
            Fault::CutBefore(at),
            Fault::Drop(at),
            Fault::Duplicate(at),
            Fault::Flip(at),
        ]);
        faults.extend((at < last).then_some(Fault::Swap(at)));
    }
    let host = Host::new(b"enclave");
    let session = open(&host, verifier()).await.expect("accepted");
    ask(&session).await.expect("whole");
    for fault in faults.into_iter().chain([Fault::Earlier]) {
        *lock(&host.fault) = fault;
        let error = ask(&session)
            .await
            .err()
            .unwrap_or_else(|| panic!("{fault:?} went unnoticed"));
        let expected = match fault {
            Fault::Page => "protocol",
            // The connection can go before the header was seen.
            Fault::CutBefore(_) if error.code() == "host-unreachable" => error.code(),
            _ => "answer-broken",
        };
        assert_eq!(error.code(), expected, "{fault:?}: {error}");
    }
    *lock(&host.fault) = Fault::None;
    ask(&session).await.expect("whole again");
}

#[tokio::test]
async fn a_receipt_that_does_not_fit_is_refused() {
    type Damage = fn(&mut super::enclave::Enclave);
    let damages: [(&str, Damage); 4] = [
        ("another key", |enclave| enclave.forge_receipts()),
        ("another statement", |enclave| {
            enclave.receipts_name_another_statement()
        }),
        ("another model", |enclave| enclave.receipts_name_another_model()),
        ("none at all", |enclave| enclave.withhold_receipts()),
    ];
    for (name, damage) in damages {
        let host = Host::new(b"enclave");
        let session = open(&host, verifier()).await.expect("accepted");
        damage(&mut lock(&host.enclave));
        for stream in [true, false] {
            let asked = async {
                let mut answer = session.ask(&question(stream)).await?;
                answer.collect(1 << 20).await.map(drop)
            };
            let error = asked
                .await
                .err()
                .unwrap_or_else(|| panic!("{name} went unnoticed, stream: {stream}"));
            assert_eq!(error.code(), "receipt-invalid", "{name}, stream: {stream}");
        }
    }
}

#[tokio::test]
async fn every_acceptance_is_told_to_the_observer() {
    let host = Host::new(b"enclave");
    let told = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&told);
    let session = open(&host, verifier())
        .await
        .expect("accepted")
        .observed_by(Box::new(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
        }));
    assert_eq!(told.load(Ordering::SeqCst), 1);
    session.renew().await.expect("accepted again");
    assert_eq!(told.load(Ordering::SeqCst), 2);
}
