//! `adyton verify --manifest`.

use std::fs;

use crate::support::{adyton, text, vectors};

#[test]
fn every_vector_gets_its_expected_verdict_and_fails_where_it_should() {
    let Some(folder) = vectors() else { return };
    let manifest = folder.join("MANIFEST.toml");
    let ran = adyton(&["verify", "--manifest", text(&manifest), "--json"], b"");
    let document = ran.json();
    let disagreeing: Vec<_> = document["vectors"]
        .as_array()
        .expect("vectors")
        .iter()
        .filter(|vector| vector["agreement"] != true)
        .collect();
    assert!(disagreeing.is_empty(), "{disagreeing:#?}");
    assert_eq!(document["total"], document["agreeing"]);
    assert!(document["total"].as_u64().is_some_and(|total| total >= 79));
    assert_eq!(ran.code, 0);
    let plain = adyton(&["verify", "--manifest", text(&manifest)], b"");
    assert!(plain.stdout.contains("tdx-v4-debug-coco"));
    assert_eq!(plain.code, 0);
}

/// A corpus of one vector of the real one, under another expectation or policy.
fn corpus(change: impl Fn(&mut toml::Table)) -> Option<(tempfile::TempDir, std::path::PathBuf)> {
    let folder = vectors()?;
    let manifest = fs::read_to_string(folder.join("MANIFEST.toml")).expect("the manifest");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let vector = manifest["vector"].as_array().expect("vectors").iter();
    let mut vector = vector
        .filter_map(toml::Value::as_table)
        .find(|vector| vector["name"].as_str() == Some("snp-milan-v3-dstack"))
        .expect("the vector")
        .clone();
    let absolute = |table: &mut toml::Table| {
        let file = folder.join(table["file"].as_str().expect("a file"));
        table.insert("file".into(), text(&file).into());
    };
    absolute(&mut vector);
    for companion in vector["companion"].as_array_mut().expect("companions") {
        absolute(companion.as_table_mut().expect("a table"));
    }
    change(&mut vector);
    let mut own = toml::Table::new();
    own.insert("vector".into(), toml::Value::Array(vec![vector.into()]));
    let place = tempfile::tempdir().expect("a folder");
    let path = place.path().join("corpus.toml");
    fs::write(&path, own.to_string()).expect("it is written");
    Some((place, path))
}

#[test]
fn a_corpus_of_ones_own_agrees_or_says_where_not() {
    let Some((_place, path)) = corpus(|_| ()) else {
        return;
    };
    assert_eq!(adyton(&["verify", "--manifest", text(&path)], b"").code, 0);

    let wrong = |vector: &mut toml::Table| {
        vector["expected"]["verdict"] = "reject".into();
    };
    let (_place, path) = corpus(wrong).expect("vectors");
    let ran = adyton(&["verify", "--manifest", text(&path)], b"");
    assert_eq!(ran.code, 10);
    assert!(ran.stdout.contains("DISAGREES"), "{}", ran.stdout);
    assert!(ran.stdout.contains("0 of 1 agree"), "{}", ran.stdout);

    // The right verdict for another reason is no agreement.
    let elsewhere = |vector: &mut toml::Table| {
        vector["verify_at"] = "2001-01-01T00:00:00Z".into();
        vector["expected"]["verdict"] = "reject".into();
        vector["expected"]["why"] = "fails: report_signature".into();
    };
    let (_place, path) = corpus(elsewhere).expect("vectors");
    let ran = adyton(&["verify", "--manifest", text(&path), "--json"], b"");
    assert_eq!(ran.code, 10);
    assert_eq!(
        ran.json()["vectors"][0]["unanswered_checks"][0],
        "report_signature"
    );
}

#[test]
fn a_vectors_own_policy_lies_over_the_default() {
    let strict = |vector: &mut toml::Table| {
        let policy: toml::Table = "snp.exceptions = [\"absent-revocation-list\"]"
            .parse()
            .expect("TOML");
        vector.insert("policy".into(), policy.into());
        vector["expected"]["verdict"] = "reject".into();
        vector["expected"]["why"] = "fails: signing_key_matches_leaf".into();
    };
    let Some((_place, path)) = corpus(strict) else {
        return;
    };
    let ran = adyton(&["verify", "--manifest", text(&path), "--json"], b"");
    assert_eq!(ran.json()["vectors"][0]["failing_clauses"][0], "snp-signing-key");
    assert_eq!(ran.code, 0);
}

#[test]
fn a_file_that_is_not_the_one_meant_is_an_error_and_not_a_verdict() {
    let changed = |vector: &mut toml::Table| {
        vector["sha256"] = "00".repeat(32).into();
    };
    let Some((_place, path)) = corpus(changed) else {
        return;
    };
    let ran = adyton(&["verify", "--manifest", text(&path), "--json"], b"");
    assert_eq!(ran.json()["vectors"][0]["error"]["code"], "malformed");
    assert_eq!(ran.code, 1);
    let none = adyton(
        &["verify", "--manifest", "/nonexistent/corpus.toml", "--json"],
        b"",
    );
    assert_eq!(none.json()["error"]["code"], "file-unreadable");
    assert_eq!(none.code, 1);
}
