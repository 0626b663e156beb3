//! `adyton policy`.

use std::fs;

use crate::support::{adyton, text, vectors};

#[test]
fn a_draft_reads_says_what_it_leaves_open_and_differs_from_none_in_what_it_accepts() {
    let Some(vectors) = vectors() else { return };
    let place = tempfile::tempdir().expect("a folder");
    let draft = place.path().join("policy.toml");
    let quote = vectors.join("tdx/tdx-v4-near/quote.bin");
    let ran = adyton(&["policy", "new", text(&quote), "--out", text(&draft)], b"");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let written = fs::read_to_string(&draft).expect("the draft");
    assert!(written.contains("# Firmware; its configuration"), "{written}");

    let checked = adyton(&["policy", "check", text(&draft), "--json"], b"");
    assert_eq!(checked.code, 0);
    let codes = checked.json()["findings"].to_string();
    assert!(codes.contains("policy-placeholder"), "{codes}");
    assert!(!codes.contains("policy-any-machine"), "{codes}");
    assert_eq!(
        adyton(&["policy", "check", text(&draft), "--strict"], b"").code,
        1
    );

    let wider = place.path().join("wider.toml");
    let changed = written.replace("evaluation_number_minimum = 18", "evaluation_number_minimum = 17");
    assert_ne!(changed, written);
    fs::write(&wider, changed).expect("it is written");
    let ran = adyton(&["policy", "diff", text(&draft), text(&wider), "--json"], b"");
    assert_eq!(
        ran.json()["newly_accepted"][0]["key"],
        "tdx.evaluation_number_minimum"
    );
    assert_eq!(ran.json()["newly_refused"], serde_json::json!([]));
    let same = adyton(&["policy", "diff", text(&draft), text(&draft)], b"");
    assert!(same.stdout.contains("both accept the same"));
}

#[test]
fn what_is_no_policy_and_no_evidence_is_named() {
    let place = tempfile::tempdir().expect("a folder");
    let file = place.path().join("policy.toml");
    fs::write(&file, "version = 1\nunknown = 2\n").expect("it is written");
    let ran = adyton(&["policy", "check", text(&file), "--json"], b"");
    assert_eq!(
        (ran.code, ran.json()["error"]["code"].clone()),
        (1, "policy-syntax".into())
    );
    let ran = adyton(&["policy", "new", text(&file), "--json"], b"");
    assert_eq!(
        (ran.code, ran.json()["error"]["code"].clone()),
        (20, "malformed".into())
    );
}
