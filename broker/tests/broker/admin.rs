//! The admin listener: who may change what.

use serde_json::json;
use simulated::Flavor;

use crate::support::{Deployment, Enclave, MANIFEST, MODEL, MODEL_KEY, Options, Owner, policy, released};

#[tokio::test(flavor = "multi_thread")]
async fn only_owners_of_our_ca_are_heard() {
    let deployment = Deployment::new(Options::default());
    let broker = deployment.start().await;
    let address = broker.addresses().admin;
    let ca = &deployment.owner.ca;
    let strangers = [
        Owner::with(address, None, ca),
        Owner::with(address, Some(&deployment.stranger), ca),
    ];
    for stranger in strangers {
        for path in [
            "/v1/models",
            "/v1/registration-key",
            "/v1/audit/entries",
            "/v1/audit/checkpoint",
        ] {
            assert!(stranger.call("GET", path, None).await.is_err(), "{path}");
        }
    }
    // A certificate of the CA without the role is told so, whatever it asks.
    let host = Owner::new(address, &deployment.host);
    for (method, path) in [
        ("GET", "/v1/models"),
        ("POST", "/v1/tenant-kek/disable"),
        ("PUT", "/v1/models/x"),
        ("GET", "/"),
    ] {
        let answer = host.call(method, path, None).await.expect("an answer");
        assert_eq!(
            (answer.status, answer.code()),
            (403, "forbidden"),
            "{method} {path}"
        );
    }
    let owner = Owner::new(address, &deployment.owner);
    assert_eq!(owner.get("/v1/models").await.json, json!({ "models": [] }));
    assert_eq!(owner.count("kek-disablement").await, 0);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_is_recorded_and_listed() {
    let deployment = Deployment::new(Options::default());
    let (broker, owner, enclave) = deployment.start_with_model(Flavor::Snp).await;
    let models = owner.get("/v1/models").await.json;
    let model = &models["models"][0];
    assert_eq!(model["model_id"], MODEL);
    assert_eq!(model["version"], 1);
    assert_eq!(model["manifest_digest"], hex::encode(MANIFEST));
    assert_eq!(model["disabled"], false);
    let log = owner.log().await;
    assert_eq!(log[0]["event"], "model-registration");
    assert_eq!(log[0]["policy_digest"], model["policy_digest"]);
    // The slash of the name may be escaped.
    let escaped = MODEL.replace('/', "%2F");
    assert_eq!(owner.delete(&format!("/v1/models/{escaped}")).await.status, 200);
    assert_eq!(owner.get("/v1/models").await.json["models"][0]["disabled"], true);
    let _ = enclave;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_only_rise() {
    let deployment = Deployment::new(Options::default());
    let (broker, owner, enclave) = deployment.start_with_model(Flavor::Snp).await;
    let register = async |digest, version| {
        let answer = owner
            .register(MODEL, digest, version, &policy(&enclave, &[digest]))
            .await;
        (answer.status, answer.code().to_owned())
    };
    assert_eq!(register(MANIFEST, 1).await.0, 200);
    assert_eq!(register([2; 32], 1).await, (409, "manifest-replaced".to_owned()));
    assert_eq!(register([2; 32], 5).await.0, 200);
    assert_eq!(register([3; 32], 4).await, (409, "rolled-back".to_owned()));
    assert_eq!(register(MANIFEST, 1).await, (409, "rolled-back".to_owned()));
    assert_eq!(owner.count("model-registration").await, 3);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_sealed_together_is_not_registered() {
    let deployment = Deployment::new(Options::default());
    let broker = deployment.start().await;
    let owner = Owner::new(broker.addresses().admin, &deployment.owner);
    let enclave = Enclave::new(Flavor::Snp);
    let text = deployment.policy(&enclave);
    let good = owner.registration(MODEL, MANIFEST, 1, &text).await;
    let path = format!("/v1/models/{MODEL}");
    let change = |name: &str, value: serde_json::Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    let cases = [
        // Changed after sealing: the key does not open under another digest, version or policy.
        (
            change("manifest_digest", json!(hex::encode([9; 32]))),
            400,
            "registration-key",
        ),
        (change("version", json!(2)), 400, "registration-key"),
        (
            change("policy", json!(format!("{text}\n# changed"))),
            400,
            "registration-key",
        ),
        (change("sealed_model_key", json!("AAAA")), 400, "registration-key"),
        // Not what the API takes.
        (
            change("policy", json!("model_id = \"acme/sample:1\"")),
            400,
            "policy",
        ),
        (
            change(
                "policy",
                json!(text.replace("lease_seconds = 3600", "lease_seconds = 1")),
            ),
            400,
            "policy",
        ),
        (
            change("policy", json!(text.replace(MODEL, "other"))),
            400,
            "malformed-request",
        ),
        (change("version", json!(0)), 400, "malformed-request"),
        (change("version", json!(1u64 << 53)), 400, "malformed-request"),
        (change("version", json!(-1)), 400, "malformed-request"),
        (change("owner_key", json!("00")), 400, "malformed-request"),
        (change("manifest_digest", json!("11")), 400, "malformed-request"),
        (change("sealed_model_key", json!("?")), 400, "malformed-request"),
        (change("unknown", json!(1)), 400, "malformed-request"),
        (json!([]), 400, "malformed-request"),
    ];
    for (body, status, code) in cases {
        let answer = owner.call("PUT", &path, Some(&body)).await.expect("an answer");
        assert_eq!(
            (answer.status, answer.code()),
            (status, code),
            "{:?}",
            answer.json
        );
        assert!(answer.json["hint"].as_str().is_some_and(|hint| !hint.is_empty()));
    }
    assert_eq!(owner.log().await.len(), 0);
    assert_eq!(
        owner
            .call("PUT", &path, Some(&good))
            .await
            .expect("an answer")
            .status,
        200
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_requests_get_a_problem_and_nothing_more() {
    let deployment = Deployment::new(Options::default());
    let broker = deployment.start().await;
    let owner = Owner::new(broker.addresses().admin, &deployment.owner);
    for (method, path, status, code) in [
        ("GET", "/", 404, "not-found"),
        ("GET", "/v1/models/x/../../secret", 405, "method-not-allowed"),
        ("POST", "/v1/models", 405, "method-not-allowed"),
        ("DELETE", "/v1/models/none", 404, "unknown-model"),
        ("PUT", "/v1/models/%20", 400, "malformed-request"),
        ("GET", "/v1/audit/entries?from=x", 400, "malformed-request"),
        (
            "GET",
            "/v1/audit/entries?from=18446744073709551615",
            500,
            "internal",
        ),
    ] {
        let answer = owner.call(method, path, None).await.expect("an answer");
        assert_eq!((answer.status, answer.code()), (status, code), "{method} {path}");
    }
    // A body over the bound is refused by its length.
    let head = format!(
        "PUT /v1/models/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        100 << 20
    );
    let answer = String::from_utf8(owner.raw(head.as_bytes()).await.expect("an answer")).expect("text");
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    // So is one that announces no length and goes on.
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000)).repeat(20);
    let head =
        "PUT /v1/models/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    let answer = String::from_utf8(
        owner
            .raw((head.to_owned() + &chunk).as_bytes())
            .await
            .expect("an answer"),
    );
    let answer = answer.expect("text");
    assert!(
        answer.starts_with("HTTP/1.1 413") && answer.contains("urn:adyton:problem:too-large"),
        "{answer}"
    );
    assert_eq!(owner.get("/v1/models").await.status, 200);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_tenant_key_opens_what_was_wrapped_before() {
    let deployment = Deployment::new(Options::default());
    let (broker, owner, enclave) = deployment.start_with_model(Flavor::Snp).await;
    assert_eq!(owner.post("/v1/tenant-kek/rotate").await.status, 200);
    let models = owner.get("/v1/models").await.json;
    assert_eq!(models["models"][0]["kek_version"], 2);
    let (record, sealed) = released(enclave.ask(broker.addresses().release).await);
    assert_eq!(enclave.open(&record, &sealed).0, MODEL_KEY);
    assert_eq!(
        (
            owner.count("kek-rotation").await,
            owner.count("model-rewrap").await
        ),
        (1, 1)
    );
    broker.stop().await;
    // And after a restart.
    let broker = deployment.start().await;
    let (record, sealed) = released(enclave.ask(broker.addresses().release).await);
    assert_eq!(enclave.open(&record, &sealed).0, MODEL_KEY);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_can_be_read_in_pages_and_verified_by_its_reader() {
    let deployment = Deployment::new(Options::default());
    let (broker, owner, enclave) = deployment.start_with_model(Flavor::Snp).await;
    for _ in 0..4 {
        let _ = released(enclave.ask(broker.addresses().release).await);
    }
    let mut entries: Vec<String> = Vec::new();
    while entries.len() < 5 {
        let page = owner
            .get(&format!("/v1/audit/entries?from={}&limit=2", entries.len()))
            .await
            .json;
        assert_eq!(page["first"], entries.len());
        let texts = page["entries"].as_array().expect("entries");
        assert!((1..=2).contains(&texts.len()));
        entries.extend(texts.iter().map(|text| text.as_str().expect("text").to_owned()));
    }
    let head = owner.get("/v1/audit/checkpoint").await.json;
    let verifier = audit::LogVerifier::from_vkey(head["public_key"].as_str().expect("text")).expect("a key");
    let checkpoint = head["checkpoint"].as_str().expect("text");
    assert_eq!(
        audit::verify_log(&entries, checkpoint, &verifier)
            .expect("verifies")
            .entries,
        5
    );
    broker.stop().await;
}
