//! The release protocol: who gets a key, and what everybody else is told.

use std::time::Duration;

use attestation::{Nonce, PlatformTag, ReleaseBinding, Role, release_nonce};
use broker::service::Broker;
use bytes::BytesMut;
use simulated::{
    Flavor,
    adversary::{Domain, sign_report},
};
use tokio::io::AsyncWriteExt;
use wire::release::{ReleaseRecord, write_message};

use crate::support::{
    Deployment, Enclave, MANIFEST, MODEL, MODEL_KEY, Options, Owner, Session, TOKEN_ISSUER, platform,
    refused, released, unix_now,
};

async fn started(flavor: Flavor) -> (Deployment, Broker, Owner, Enclave) {
    let deployment = Deployment::new(Options::default());
    let (broker, owner, enclave) = deployment.start_with_model(flavor).await;
    (deployment, broker, owner, enclave)
}

async fn an_attested_enclave_gets_the_key(flavor: Flavor) {
    let (deployment, broker, owner, enclave) = started(flavor).await;
    let (record_bytes, sealed) = released(enclave.ask(broker.addresses().release).await);
    let (key, issuers) = enclave.open(&record_bytes, &sealed);
    assert_eq!(key, MODEL_KEY);
    assert_eq!(issuers.map(hex::encode), [TOKEN_ISSUER]);

    let record = ReleaseRecord::from_cbor(&record_bytes).expect("a record");
    assert_eq!(record.model_id.as_str(), MODEL);
    assert_eq!(record.manifest_digest, MANIFEST);
    assert_eq!(record.statement_sha256, enclave.statement().sha256());
    assert_eq!(record.lease_seconds, 3600);
    assert!(unix_now().seconds().abs_diff(record.released_at) < 60);
    let policy = deployment.policy(&enclave);
    assert_eq!(record.policy_digest, broker::model_policy::digest(&policy));

    // The record is in the log, and the log's key says so.
    let head = owner.get("/v1/audit/checkpoint").await.json;
    let verifier = audit::LogVerifier::from_vkey(head["public_key"].as_str().expect("text")).expect("a key");
    let checkpoint = verifier
        .open(&record.checkpoint)
        .expect("signed by the log's key");
    assert_eq!(checkpoint.root, record.audit_root);
    assert!(checkpoint.size > record.audit_index);
    let entry = &owner.log().await[record.audit_index as usize];
    assert_eq!(entry["event"], "key-release");
    assert_eq!(entry["assurance"], "SIMULATED");
    assert_eq!(entry["platform"], flavor.platform().as_str());
    assert_eq!(entry["statement_sha256"], hex::encode(record.statement_sha256));
    assert_eq!(entry["enclave_spki_sha256"], hex::encode(enclave.spki_sha256));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulated_snp_enclave_gets_the_key() {
    an_attested_enclave_gets_the_key(Flavor::Snp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulated_tdx_enclave_gets_the_key() {
    an_attested_enclave_gets_the_key(Flavor::Tdx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_that_got_a_key_gets_no_second_one() {
    let (_deployment, broker, owner, enclave) = started(Flavor::Snp).await;
    let address = broker.addresses().release;
    let mut first = enclave.connect(address).await;
    let bundle = enclave.bundle(&first.nonce(&enclave));
    let _ = released(first.ask_with(MODEL, &bundle).await);
    // On the same connection: one challenge answers one request.
    first.send(b"again").await;
    assert!(first.answer().await.is_err());
    // On another one.
    let mut second = enclave.connect(address).await;
    assert_ne!(first.challenge, second.challenge);
    let (code, hint) = refused(second.ask_with(MODEL, &bundle).await);
    assert_eq!(code, "evidence-rejected");
    assert!(hint.contains("failed clause: "), "{hint}");
    assert_eq!(
        (owner.count("key-release").await, owner.count("key-refusal").await),
        (1, 1)
    );
    broker.stop().await;
}

/// Evidence whose nonce differs in one part of the binding from the connection that it is sent on.
async fn bound_to_something_else(change: impl Fn(&Session, &Enclave) -> Nonce) {
    let (_deployment, broker, owner, enclave) = started(Flavor::Snp).await;
    let mut session = enclave.connect(broker.addresses().release).await;
    let nonce = change(&session, &enclave);
    assert_ne!(nonce, session.nonce(&enclave));
    let (code, _) = refused(session.ask_with(MODEL, &enclave.bundle(&nonce)).await);
    assert_eq!(code, "evidence-rejected");
    assert_eq!(owner.count("key-release").await, 0);
    broker.stop().await;
}

fn binding<'a>(
    session: &'a Session,
    enclave: &'a Enclave,
    challenge: &'a Nonce,
    wrap: &'a [u8],
) -> ReleaseBinding<'a> {
    ReleaseBinding {
        challenge,
        exported_keying_material: &session.exported,
        enclave_spki_sha256: &enclave.spki_sha256,
        broker_spki_sha256: &session.broker_spki_sha256,
        wrap_key: wrap,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_relayed_from_another_connection_is_refused() {
    bound_to_something_else(|session, enclave| {
        let (challenge, wrap) = (
            Nonce::from_bytes(session.challenge),
            enclave.wrap.key_config().encode(),
        );
        release_nonce(&ReleaseBinding {
            exported_keying_material: &[9; 32],
            ..binding(session, enclave, &challenge, &wrap)
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_with_the_two_keys_swapped_is_refused() {
    bound_to_something_else(|session, enclave| {
        let (challenge, wrap) = (
            Nonce::from_bytes(session.challenge),
            enclave.wrap.key_config().encode(),
        );
        release_nonce(&ReleaseBinding {
            enclave_spki_sha256: &session.broker_spki_sha256,
            broker_spki_sha256: &enclave.spki_sha256,
            ..binding(session, enclave, &challenge, &wrap)
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_for_another_wrap_key_is_refused() {
    bound_to_something_else(|session, enclave| {
        let (challenge, other) = (Nonce::from_bytes(session.challenge), Enclave::new(Flavor::Snp));
        release_nonce(&binding(
            session,
            enclave,
            &challenge,
            &other.wrap.key_config().encode(),
        ))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_for_the_bare_challenge_is_refused() {
    bound_to_something_else(|session, _| Nonce::from_bytes(session.challenge)).await;
}

/// An enclave that differs in one thing: the wire's code, the record's code.
async fn differs(change: impl Fn(&mut Enclave), code: &str, recorded: &str) {
    let (_deployment, broker, owner, mut enclave) = started(Flavor::Snp).await;
    change(&mut enclave);
    let (found, _) = refused(enclave.ask(broker.addresses().release).await);
    assert_eq!(found, code);
    let log = owner.log().await;
    let last = log.last().expect("a record");
    assert_eq!(
        (last["event"].as_str(), last["code"].as_str()),
        (Some("key-refusal"), Some(recorded))
    );
    assert_eq!(owner.count("key-release").await, 0);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_names_another_tls_key_is_refused() {
    differs(
        |enclave| enclave.claimed_spki_sha256 = [8; 32],
        "evidence-rejected",
        "channel-mismatch",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_role_is_refused() {
    differs(
        |enclave| enclave.role = Role::Broker,
        "evidence-rejected",
        "wrong-role",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_measurement_is_refused() {
    differs(
        |enclave| enclave.launch_measurement[0] ^= 1,
        "evidence-rejected",
        "evidence-rejected",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_configuration_is_refused() {
    differs(
        |enclave| enclave.config_digest[0] ^= 1,
        "evidence-rejected",
        "evidence-rejected",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enclave_of_another_model_is_refused() {
    differs(
        |enclave| enclave.model_digests = vec![[7; 32]],
        "policy-refused",
        "model-mismatch",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_of_another_flavor_is_refused() {
    differs(
        |enclave| enclave.flavor = Flavor::Tdx,
        "evidence-rejected",
        "evidence-rejected",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn simulated_evidence_is_refused_where_the_policy_does_not_name_it() {
    let deployment = Deployment::new(Options::default());
    let broker = deployment.start().await;
    let (owner, enclave) = (
        Owner::new(broker.addresses().admin, &deployment.owner),
        Enclave::new(Flavor::Snp),
    );
    // The same reference values for real hardware: only the root is built in.
    let simulated = deployment.policy(&enclave);
    let hardware: String = simulated
        .replace("danger.simulated.", "")
        .lines()
        .filter(|line| !line.trim_start().starts_with("root_certificate"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_ne!(simulated, hardware);
    let answer = owner.register(MODEL, MANIFEST, 1, &hardware).await;
    assert_eq!(answer.status, 200, "{:?}", answer.json);
    let (code, hint) = refused(enclave.ask(broker.addresses().release).await);
    assert_eq!(code, "evidence-rejected");
    assert!(hint.contains("failed clause: platform-accepted"), "{hint}");
    let log = owner.log().await;
    assert_eq!(log.last().expect("a record")["clause"], "platform-accepted");
    assert_eq!(log.last().expect("a record")["platform"], "simulated-amd-sev-snp");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enclave_that_can_be_debugged_is_refused() {
    let (_deployment, broker, owner, enclave) = started(Flavor::Snp).await;
    let mut session = enclave.connect(broker.addresses().release).await;
    let mut bundle = enclave.bundle(&session.nonce(&enclave));
    // POLICY.DEBUG is bit 19 of the guest policy at 0x008 (AMD 56860, tables 9 and 22), signed as the machine would.
    bundle.evidence[0x008 + 2] |= 1 << 3;
    sign_report(platform(), &mut bundle.evidence, Domain::Simulated).expect("signs");
    let (code, hint) = refused(session.ask_with(MODEL, &bundle).await);
    assert_eq!(code, "evidence-rejected");
    assert!(hint.contains("debug"), "{hint}");
    assert_eq!(owner.count("key-release").await, 0);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn simulated_keys_in_the_signature_domain_of_hardware_are_refused() {
    let (_deployment, broker, owner, enclave) = started(Flavor::Snp).await;
    for platform_tag in [PlatformTag::SimulatedAmdSevSnp, PlatformTag::AmdSevSnp] {
        let mut session = enclave.connect(broker.addresses().release).await;
        let mut bundle = enclave.bundle(&session.nonce(&enclave));
        sign_report(platform(), &mut bundle.evidence, Domain::Hardware).expect("signs");
        bundle.platform = platform_tag;
        let (code, _) = refused(session.ask_with(MODEL, &bundle).await);
        assert_eq!(code, "evidence-rejected", "{platform_tag}");
    }
    assert_eq!(owner.count("key-release").await, 0);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_model_is_refused_and_its_name_is_not_recorded() {
    let (_deployment, broker, owner, enclave) = started(Flavor::Snp).await;
    let mut session = enclave.connect(broker.addresses().release).await;
    let bundle = enclave.bundle(&session.nonce(&enclave));
    let (code, _) = refused(session.ask_with("no-such-model", &bundle).await);
    assert_eq!(code, "model-not-registered");
    let log = owner.log().await;
    assert_eq!(log.last().expect("a record")["code"], "unknown-model");
    assert!(
        !log.iter()
            .any(|entry| entry.to_string().contains("no-such-model"))
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_model_is_refused_until_it_is_registered_again() {
    let (deployment, broker, owner, enclave) = started(Flavor::Snp).await;
    assert_eq!(owner.delete(&format!("/v1/models/{MODEL}")).await.status, 200);
    let (code, _) = refused(enclave.ask(broker.addresses().release).await);
    assert_eq!(code, "model-disabled");
    let answer = owner
        .register(MODEL, MANIFEST, 1, &deployment.policy(&enclave))
        .await;
    assert_eq!(answer.status, 200, "{:?}", answer.json);
    let _ = released(enclave.ask(broker.addresses().release).await);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolled_back_version_is_refused() {
    let (_deployment, broker, owner, enclave) = started(Flavor::Snp).await;
    let _ = released(enclave.ask(broker.addresses().release).await);
    // Even a policy that still names the old version does not bring it back.
    let policy = crate::support::policy(&enclave, &[MANIFEST, [0x22; 32]]);
    let answer = owner.register(MODEL, [0x22; 32], 2, &policy).await;
    assert_eq!(answer.status, 200, "{:?}", answer.json);
    let (code, _) = refused(enclave.ask(broker.addresses().release).await);
    assert_eq!(code, "rolled-back");
    let newer = Enclave {
        model_digests: vec![[0x22; 32]],
        ..enclave
    };
    let (record, sealed) = released(newer.ask(broker.addresses().release).await);
    assert_eq!(newer.open(&record, &sealed).0, MODEL_KEY);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_tenant_key_stops_every_release() {
    let (_deployment, broker, owner, enclave) = started(Flavor::Snp).await;
    assert_eq!(owner.post("/v1/tenant-kek/disable").await.status, 200);
    let (code, _) = refused(enclave.ask(broker.addresses().release).await);
    assert_eq!(code, "key-store-unavailable");
    assert_eq!(owner.post("/v1/tenant-kek/enable").await.status, 200);
    let _ = released(enclave.ask(broker.addresses().release).await);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_flipped_bit_of_a_bundle_gets_a_key() {
    let (_deployment, broker, owner, enclave) = started(Flavor::Snp).await;
    let address = broker.addresses().release;
    let mut asked = 0;
    for step in 0..64 {
        let mut session = enclave.connect(address).await;
        let nonce = session.nonce(&enclave);
        let mut bundle = enclave.bundle(&nonce);
        // Evidence and statement: every byte of what is signed or hashed counts. (The statement's and the evidence's
        // unsigned tail are the attestation crate's own tests.)
        let target = if step % 2 == 0 {
            &mut bundle.evidence
        } else {
            &mut bundle.statement
        };
        let signed = target.len().min(0x2a0);
        let at = step * 37 % signed;
        target[at] ^= 1 << (step % 8);
        let (code, _) = refused(session.ask_with(MODEL, &bundle).await);
        assert!(
            ["evidence-rejected", "policy-refused"].contains(&code),
            "byte {at}: {code}"
        );
        asked += 1;
    }
    assert_eq!(
        (owner.count("key-release").await, owner.count("key-refusal").await),
        (0, asked)
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_and_oversized_requests_are_refused_and_the_broker_serves_on() {
    let (_deployment, broker, owner, enclave) = started(Flavor::Snp).await;
    let address = broker.addresses().release;
    for message in [
        &b""[..],
        b"\x00",
        b"\xff\xff\xff",
        b"{\"json\":1}",
        &[0x82; 4096],
        &vec![0; 1 << 20],
    ] {
        let mut session = enclave.connect(address).await;
        session.send(message).await;
        let (code, _) = refused(session.answer().await.expect("an answer"));
        assert_eq!(code, "malformed-request", "{} bytes", message.len());
    }
    // A length that no request has: refused before a byte of it is read.
    let mut session = enclave.connect(address).await;
    session.stream.write_all(&[0xff; 4]).await.expect("sent");
    session.stream.flush().await.expect("sent");
    let (code, _) = refused(session.answer().await.expect("an answer"));
    assert_eq!(code, "too-large");
    // A request that is cut is no request.
    let mut session = enclave.connect(address).await;
    let mut out = BytesMut::new();
    write_message(&[1; 100], &mut out).expect("small");
    session.stream.write_all(&out[..50]).await.expect("sent");
    session.stream.shutdown().await.expect("closed");
    assert!(session.answer().await.is_err());

    assert_eq!(owner.count("key-refusal").await, 7);
    let _ = released(enclave.ask(address).await);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_ended_and_others_are_served() {
    let options = Options {
        step_seconds_max: 1,
        connections_max: 4,
        ..Options::default()
    };
    let deployment = Deployment::new(options);
    let (broker, owner, enclave) = deployment.start_with_model(Flavor::Snp).await;
    let address = broker.addresses().release;
    // One that never begins TLS, one that never asks, and two that drip bytes: every place is taken.
    let silent = tokio::net::TcpStream::connect(address).await.expect("connects");
    let mut mute = enclave.connect(address).await;
    let mut drips = Vec::new();
    for _ in 0..2 {
        let mut drip = enclave.connect(address).await;
        drips.push(tokio::spawn(async move {
            for byte in [0, 0, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8] {
                if drip.stream.write_all(&[byte]).await.is_err() || drip.stream.flush().await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            drip.answer().await
        }));
    }
    // The next one waits for a place, and gets it when the slow ones are ended.
    let answer = tokio::time::timeout(Duration::from_secs(8), enclave.ask(address)).await;
    let _ = released(answer.expect("in time"));
    let (code, _) = refused(mute.answer().await.expect("an answer"));
    assert_eq!(code, "upstream-timeout");
    drop(silent);
    for drip in drips {
        // Either the refusal came through, or the connection was reset under the bytes still on their way.
        if let Ok(answer) = drip.await.expect("no panic") {
            assert_eq!(refused(answer).0, "upstream-timeout");
        }
    }
    assert_eq!(owner.count("key-release").await, 1);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_is_tls_1_3_with_both_certificates_and_nothing_to_resume() {
    let (_deployment, broker, _owner, enclave) = started(Flavor::Snp).await;
    let address = broker.addresses().release;
    let session = enclave.connect(address).await;
    let connection = session.stream.get_ref().1;
    assert_eq!(
        connection.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
    let group = connection
        .negotiated_key_exchange_group()
        .expect("a group")
        .name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    assert_eq!(connection.handshake_kind(), Some(rustls::HandshakeKind::Full));
    let mut session = session;
    let bundle = enclave.bundle(&session.nonce(&enclave));
    let _ = released(session.ask_with(MODEL, &bundle).await);
    assert_eq!(session.stream.get_ref().1.tls13_tickets_received(), 0);

    // Without a certificate, or without our protocol, no challenge comes.
    for (protocols, with_certificate) in [
        (&[&b"adyton-release/1"[..]][..], false),
        (&[&b"h2"[..]][..], true),
        (&[][..], true),
    ] {
        let mut byte = [0; 1];
        let outcome = match enclave.tls(address, protocols, with_certificate).await {
            Ok(mut stream) => tokio::io::AsyncReadExt::read(&mut stream, &mut byte).await,
            Err(error) => Err(error),
        };
        assert!(
            matches!(outcome, Ok(0) | Err(_)),
            "{protocols:?} {with_certificate}"
        );
    }
    let _ = released(enclave.ask(address).await);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_over_the_bound_are_counted_and_not_recorded() {
    let deployment = Deployment::new(Options {
        refusals_per_minute_max: 3,
        ..Options::default()
    });
    let (broker, owner, mut enclave) = deployment.start_with_model(Flavor::Snp).await;
    enclave.role = Role::Broker;
    for _ in 0..10 {
        let (code, _) = refused(enclave.ask(broker.addresses().release).await);
        assert_eq!(code, "evidence-rejected");
    }
    let recorded = owner.count("key-refusal").await;
    // At most two minutes are touched.
    assert!((3..=6).contains(&recorded), "{recorded}");
    // A release is recorded all the same.
    enclave.role = Role::Inference;
    let _ = released(enclave.ask(broker.addresses().release).await);
    assert_eq!(owner.count("key-release").await, 1);
    broker.stop().await;
}
