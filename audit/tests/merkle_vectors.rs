//! The public vectors for Merkle proofs, every one of them.

#![allow(clippy::print_stdout, clippy::print_stderr)] // tells whoever runs the tests what ran

use std::path::PathBuf;

use audit::Hash;
use audit::proof::{verify_consistency, verify_inclusion};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

fn vectors(file: &str) -> Option<Vec<Value>> {
    let root = std::env::var_os("ADYTON_VECTORS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors")),
        PathBuf::from,
    );
    let path = root.join("crypto/merkle").join(file);
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).expect("a JSON list")),
        Err(error) => {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "{}: {error}",
                path.display()
            );
            eprintln!("NOT RUN: {} is not here; set ADYTON_VECTORS", path.display());
            None
        }
    }
}

/// Some vectors have placeholders of another length, which our type cannot express; each stands for the hash of itself,
/// so that equal stays equal and wrong stays wrong.
fn hash(value: &Value) -> Option<Hash> {
    let bytes = BASE64.decode(value.as_str()?).ok()?;
    Some(
        bytes
            .as_slice()
            .try_into()
            .unwrap_or_else(|_| Sha256::digest(&bytes).into()),
    )
}

fn path(value: &Value) -> Option<Vec<Hash>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::Array(hashes) => hashes.iter().map(hash).collect(),
        _ => None,
    }
}

fn check(file: &str, count: usize, accepts: impl Fn(&Value) -> Option<bool>) {
    let Some(vectors) = vectors(file) else { return };
    assert_eq!(vectors.len(), count);
    let mut accepted = 0;
    for vector in &vectors {
        let ok = accepts(vector).unwrap_or(false);
        assert_eq!(ok, vector["wantErr"] == false, "{}", vector["name"]);
        accepted += usize::from(ok);
    }
    assert!(accepted > 0);
    println!("{file}: {count} vectors, {accepted} accepted");
}

#[test]
fn inclusion() {
    check("inclusion.json", 66, |v| {
        let (index, size) = (v["leafIdx"].as_u64()?, v["treeSize"].as_u64()?);
        let (leaf, root, path) = (hash(&v["leafHash"])?, hash(&v["root"])?, path(&v["proof"])?);
        Some(verify_inclusion(&leaf, index, size, &root, &path).is_ok())
    });
}

#[test]
fn consistency() {
    check("consistency.json", 65, |v| {
        let (old, new) = (v["size1"].as_u64()?, v["size2"].as_u64()?);
        let (old_root, new_root, path) = (hash(&v["root1"])?, hash(&v["root2"])?, path(&v["proof"])?);
        Some(verify_consistency(old, &old_root, new, &new_root, &path).is_ok())
    });
}
