//! OpenSSF Model Signing: our manifests fit its schemas, its vectors are read as what they are, and a bundle made by
//! the reference implementation verifies.

#![allow(clippy::print_stdout, clippy::print_stderr)] // tells whoever runs the tests what ran

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use boon::{Compiler, Schemas};
use sealed_model::{
    ModelKey, OwnerPublicKey, OwnerSignatureAlgorithm, OwnerSigningKey, SealRequest, SealedModel, seal,
    silent,
};
use serde_json::Value;

fn vectors() -> Option<PathBuf> {
    let root = std::env::var_os("ADYTON_VECTORS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors")),
        PathBuf::from,
    );
    let path = root.join("crypto/oms");
    if path.is_dir() {
        return Some(path);
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{} is not here",
        path.display()
    );
    eprintln!("NOT RUN: {} is not here; set ADYTON_VECTORS", path.display());
    None
}

/// Whether a document fits one of the published schemas.
fn fits(vectors: &Path, schema: &str, document: &Value) -> Result<(), String> {
    let mut compiler = Compiler::new();
    for name in ["bundle", "envelope", "statement", "predicate"] {
        let text = fs::read_to_string(vectors.join(format!("schemas/{name}.schema.json"))).unwrap();
        let parsed: Value = serde_json::from_str(&text).unwrap();
        let id = parsed["$id"].as_str().unwrap().to_owned();
        compiler.add_resource(&id, parsed).unwrap();
    }
    let mut schemas = Schemas::new();
    let index = compiler
        .compile(
            &format!("https://model_signing/{schema}/v1.0/schema"),
            &mut schemas,
        )
        .unwrap();
    schemas
        .validate(document, index)
        .map_err(|error| error.to_string())
}

fn payload(bundle: &Value) -> Value {
    let bytes = BASE64
        .decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap())
        .unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// The code with which a file is refused as a manifest.
fn refused(manifest: &[u8], owner: &OwnerPublicKey) -> &'static str {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("manifest.json"), manifest).unwrap();
    SealedModel::open_manifest(folder.path(), owner).map_or_else(|error| error.code(), |_| "ok")
}

#[test]
fn our_manifests_fit_the_schemas() {
    let Some(vectors) = vectors() else { return };
    for algorithm in [
        OwnerSignatureAlgorithm::EcdsaP384,
        OwnerSignatureAlgorithm::Ed25519,
    ] {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("model");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("config.json"), "{}").unwrap();
        let (key, owner) = (
            ModelKey::generate().unwrap(),
            OwnerSigningKey::generate(algorithm).unwrap(),
        );
        let stop = AtomicBool::new(false);
        let request = SealRequest {
            model_id: "sample",
            version: 1,
            key: &key,
            owner: &owner,
            threads: 1,
            stop: &stop,
        };
        let out = folder.path().join("m.sealed");
        seal(&source, &out, &request, &silent).unwrap();
        let bundle: Value = serde_json::from_slice(&fs::read(out.join("manifest.json")).unwrap()).unwrap();
        fits(&vectors, "bundle", &bundle).unwrap();
        fits(&vectors, "statement", &payload(&bundle)).unwrap();

        // The schemas do refuse.
        let mut changed = bundle.clone();
        changed.as_object_mut().unwrap().remove("dsseEnvelope");
        assert!(fits(&vectors, "bundle", &changed).is_err());
        let mut changed = payload(&bundle);
        changed["predicate"]["serialization"]["method"] = "other".into();
        assert!(fits(&vectors, "statement", &changed).is_err());
    }
}

#[test]
fn the_published_vectors_are_read_as_what_they_are() {
    let Some(vectors) = vectors() else { return };
    let owner = OwnerSigningKey::generate(OwnerSignatureAlgorithm::EcdsaP384)
        .unwrap()
        .public_key();
    // The vectors come without public keys: a well-formed key bundle gets as far as the signature.
    for (file, code) in [
        ("valid/key.bundle.json", "owner-signature"),
        ("valid/sigstore.bundle.json", "unsupported-signing"),
        ("invalid/empty.bundle.json", "malformed"),
        ("invalid/missing-envelope.bundle.json", "malformed"),
        ("invalid/missing-verification-material.bundle.json", "malformed"),
    ] {
        let bytes = fs::read(vectors.join(file)).unwrap();
        assert_eq!(refused(&bytes, &owner), code, "{file}");
    }
    println!("OMS: 5 vectors");
}

/// Made by the Python package model-signing 1.1.1 with the key in this folder: its signature verifies here, and then
/// the statement is told from a sealed model's.
#[test]
fn a_bundle_of_the_reference_implementation_verifies() {
    let owner = OwnerPublicKey::from_pem(include_str!("data/owner-p384.pub")).unwrap();
    let bundle = include_str!("data/model-signing-1.1.1.json");
    assert_eq!(refused(bundle.as_bytes(), &owner), "not-a-sealed-model");
    let other = OwnerSigningKey::generate(OwnerSignatureAlgorithm::EcdsaP384)
        .unwrap()
        .public_key();
    assert_eq!(refused(bundle.as_bytes(), &other), "owner-signature");
    let mut changed: Value = serde_json::from_str(bundle).unwrap();
    let mut statement = payload(&changed);
    statement["predicate"]["resources"][0]["digest"] = "00".repeat(32).into();
    changed["dsseEnvelope"]["payload"] = BASE64.encode(statement.to_string()).into();
    assert_eq!(refused(changed.to_string().as_bytes(), &owner), "owner-signature");
}
