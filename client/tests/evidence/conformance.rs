//! `adyton verify --conformance`: one case in, one document and one exit code out.

use std::fs;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::support::{adyton, text, vectors};

/// A case that is accepted: a real quote under a policy drafted from it.
fn case() -> Option<Value> {
    let vectors = vectors()?;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let path = vectors.join("tdx/tdx-v4-near/quote.bin");
    let quote = fs::read(&path).expect("a quote");
    let policy = adyton(&["policy", "new", text(&path), "--json"], b"");
    let policy = policy.json()["policy"].as_str().expect("a policy").to_owned();
    let manifest = fs::read_to_string(vectors.join("MANIFEST.toml")).expect("the manifest");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let vector = manifest["vector"].as_array().expect("vectors").iter();
    let vector = vector
        .filter_map(toml::Value::as_table)
        .find(|vector| vector["name"].as_str() == Some("tdx-v4-near"))
        .expect("the vector");
    let collateral = vector["companion"].as_array().expect("companions").iter();
    let collateral = collateral
        .filter_map(toml::Value::as_table)
        .find(|companion| companion["role"].as_str() == Some("collateral"))
        .expect("collateral");
    let collateral = fs::read(vectors.join(collateral["file"].as_str().expect("a file")));
    let collateral: Value = serde_json::from_slice(&collateral.expect("collateral")).expect("JSON");
    let part = |key: &str| collateral[key].as_str().expect("text").to_owned();
    let list = |key: &str| encode(&hex::decode(part(key)).expect("digits"));
    let signed = |name: &str, key: &str| {
        let document = format!(
            "{{\"{name}\":{},\"signature\":\"{}\"}}",
            part(key),
            part(&format!("{key}_signature"))
        );
        encode(document.as_bytes())
    };
    Some(json!({
        "version": 1,
        "platform": "intel-tdx",
        "evidence": encode(&quote),
        "endorsements": {
            "tdx-root-crl": list("root_ca_crl"),
            "tdx-pck-crl": list("pck_crl"),
            "tdx-tcb-info": signed("tcbInfo", "tcb_info"),
            "tdx-qe-identity": signed("enclaveIdentity", "qe_identity"),
            "tdx-tcb-signing-chain": encode(part("tcb_info_issuer_chain").as_bytes()),
        },
        "policy": policy,
        "at": vector["verify_at"].as_str().expect("a moment"),
        "report_data": hex::encode(&quote[568..632]),
    }))
}

fn run(case: &Value) -> (i32, Value) {
    let ran = adyton(&["verify", "--conformance"], case.to_string().as_bytes());
    (ran.code, ran.json())
}

#[test]
fn exit_codes_say_accepted_rejected_malformed_unsupported_and_else() {
    let Some(case) = case() else { return };
    let with = |key: &str, value: Value| {
        let mut case = case.clone();
        case[key] = value;
        run(&case)
    };
    let (code, document) = run(&case);
    assert_eq!(
        (code, &document["verdict"]),
        (0, &json!("accepted")),
        "{document:#}"
    );
    let (code, document) = with("report_data", json!("00".repeat(64)));
    assert_eq!((code, &document["error"]["clause"]), (10, &json!("report-data")));
    let (code, document) = with("evidence", json!("BAA="));
    assert_eq!(
        (code, &document["verdict"]),
        (20, &json!("malformed")),
        "{document:#}"
    );
    let (code, document) = with("platform", json!("arm-cca"));
    assert_eq!(
        (code, &document["error"]["code"]),
        (30, &json!("bundle-unknown-platform"))
    );
    let (code, document) = with("policy", json!("version = 9"));
    assert_eq!((code, &document["error"]["code"]), (1, &json!("policy-syntax")));
    let (code, document) = with("evidence", json!("not base64"));
    assert_eq!((code, &document["error"]["code"]), (20, &json!("malformed")));
    assert_eq!(adyton(&["verify", "--conformance"], b"{").code, 20);
}
