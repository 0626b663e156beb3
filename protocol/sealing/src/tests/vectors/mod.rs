//! Published test vectors, read from ADYTON_VECTORS (default `../shared/vectors` beside the workspace).
//!
//! Every file that the manifest of the cryptographic vectors lists is in [`FILES`] with what is done with it. A
//! file that is new, gone or changed makes the test fail until someone has looked at it.
#![allow(clippy::print_stdout, clippy::print_stderr)] // counts per family, and what was not run

mod cctv;
mod hpke_kat;
mod ohttp;
mod wycheproof;

use std::collections::BTreeMap;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

/// What is done with a file.
enum Use {
    /// Run here; returns how many vectors were run and how many were passed over, with the reason.
    Here(fn(&[u8]) -> Ran),
    /// Run by the tests of another crate.
    Elsewhere(&'static str),
    /// Not run, and why.
    NotUsed(&'static str),
}

/// How many vectors of a file were run.
#[derive(Default)]
struct Ran {
    passed: usize,
    passed_over: BTreeMap<&'static str, usize>,
    /// A part of the vectors that was not compared.
    not_compared: Option<&'static str>,
}

impl Ran {
    fn passed(passed: usize) -> Self {
        Self {
            passed,
            ..Self::default()
        }
    }

    fn pass_over(&mut self, reason: &'static str) {
        *self.passed_over.entry(reason).or_default() += 1;
    }
}

const EHBP: Use = Use::NotUsed("another protocol, which we do not implement");
const JOSE: Use = Use::NotUsed("no JOSE anywhere: tokens are CBOR under one fixed algorithm");
const MLDSA: Use = Use::NotUsed("no ML-DSA signatures yet");
const PRIVACY_PASS: Use = Use::NotUsed("no anonymous tokens yet");
const AES_KW: Use = Use::NotUsed("wraps are AES-256-GCM; no AES key wrap");
const SEALED: Use = Use::Elsewhere("adyton-sealed-model");
const AUDIT: Use = Use::Elsewhere("adyton-audit");

/// Every file of the manifest.
const FILES: &[(&str, Use)] = &[
    ("hpke/rfc9180.json", Use::Here(hpke_kat::rfc9180)),
    ("hpke/hpke-pq-04.json", Use::Here(hpke_kat::hpke_pq)),
    (
        "ohttp/rfc9458-appendix-a.json",
        Use::Here(ohttp::rfc9458_appendix_a),
    ),
    (
        "ohttp/chunked-ohttp-08-example.json",
        Use::Here(ohttp::chunked_ohttp_08),
    ),
    ("ohttp/bhttp-messages.json", Use::Elsewhere("adyton-exchange")),
    ("ohttp/ehbp-derive.json", EHBP),
    ("ohttp/ehbp-session-recovery-token.json", EHBP),
    ("wycheproof/aes_gcm.json", Use::Here(wycheproof::aes_gcm)),
    ("wycheproof/aes_kwp.json", AES_KW),
    ("wycheproof/aes_wrap.json", AES_KW),
    (
        "wycheproof/chacha20_poly1305.json",
        Use::NotUsed("no suite has ChaCha20-Poly1305"),
    ),
    (
        "wycheproof/ecdh_secp256r1_ecpoint.json",
        Use::NotUsed("no suite has DHKEM(P-256)"),
    ),
    (
        "wycheproof/ecdh_secp384r1_ecpoint.json",
        Use::Here(wycheproof::ecdh_p384),
    ),
    (
        "wycheproof/ecdsa_secp256r1_sha256.json",
        Use::Here(wycheproof::ecdsa_p256),
    ),
    (
        "wycheproof/ecdsa_secp384r1_sha384.json",
        Use::Here(wycheproof::ecdsa_p384),
    ),
    ("wycheproof/ed25519.json", Use::Here(wycheproof::ed25519)),
    ("wycheproof/hkdf_sha256.json", Use::Here(wycheproof::hkdf_sha256)),
    ("wycheproof/hkdf_sha384.json", Use::Here(wycheproof::hkdf_sha384)),
    (
        "wycheproof/hkdf_sha512.json",
        Use::NotUsed("no suite has HKDF-SHA512"),
    ),
    ("wycheproof/hmac_sha256.json", Use::Here(wycheproof::hmac_sha256)),
    ("wycheproof/hmac_sha384.json", Use::Here(wycheproof::hmac_sha384)),
    ("wycheproof/json_web_encryption.json", JOSE),
    ("wycheproof/json_web_key.json", JOSE),
    ("wycheproof/json_web_signature.json", JOSE),
    ("wycheproof/mldsa_44_verify.json", MLDSA),
    ("wycheproof/mldsa_65_verify.json", MLDSA),
    ("wycheproof/mlkem_768.json", Use::Here(wycheproof::mlkem_768)),
    (
        "wycheproof/mlkem_768_encaps.json",
        Use::Here(wycheproof::mlkem_768_encaps),
    ),
    ("wycheproof/mlkem_1024.json", Use::Here(wycheproof::mlkem_1024)),
    (
        "wycheproof/mlkem_1024_encaps.json",
        Use::Here(wycheproof::mlkem_1024_encaps),
    ),
    (
        "wycheproof/rsa_oaep_2048_sha256_mgf1sha256.json",
        Use::NotUsed("no RSA encryption anywhere"),
    ),
    ("wycheproof/x25519.json", Use::Here(wycheproof::x25519)),
    ("floe/kats.json", SEALED),
    ("privacypass/private_p384_go.json", PRIVACY_PASS),
    ("privacypass/public_go.json", PRIVACY_PASS),
    ("privacypass/generic_go.json", PRIVACY_PASS),
    ("privacypass/amortized_p384_go.json", PRIVACY_PASS),
    ("privacypass/private_p384_rs.json", PRIVACY_PASS),
    ("privacypass/public_rs.json", PRIVACY_PASS),
    ("merkle/inclusion.json", AUDIT),
    ("merkle/consistency.json", AUDIT),
    ("oms/valid/key.bundle.json", SEALED),
    ("oms/valid/sigstore.bundle.json", SEALED),
    ("oms/invalid/empty.bundle.json", SEALED),
    ("oms/invalid/missing-envelope.bundle.json", SEALED),
    ("oms/invalid/missing-verification-material.bundle.json", SEALED),
    ("oms/schemas/bundle.schema.json", SEALED),
    ("oms/schemas/envelope.schema.json", SEALED),
    ("oms/schemas/predicate.schema.json", SEALED),
    ("oms/schemas/statement.schema.json", SEALED),
    ("cctv/strcmp/ML-KEM-768.txt", Use::Here(cctv::strcmp)),
    (
        "cctv/unluckysample/ML-KEM-768.txt",
        Use::Here(cctv::unlucky_sample),
    ),
];

/// The folder of the cryptographic vectors, if it is there; where CI=true it must be.
fn folder() -> Option<PathBuf> {
    let root = std::env::var_os("ADYTON_VECTORS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors")),
        PathBuf::from,
    );
    let folder = root.join("crypto");
    if folder.join("MANIFEST.toml").is_file() {
        return Some(folder);
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "no vectors at ADYTON_VECTORS"
    );
    eprintln!(
        "NOT RUN: published vectors (no MANIFEST.toml below {})",
        folder.display()
    );
    None
}

/// Path, count and digest of each file, as the manifest has them.
fn manifest(folder: &std::path::Path) -> Vec<(String, i64, String)> {
    let text = std::fs::read_to_string(folder.join("MANIFEST.toml")).expect("readable");
    let manifest: toml::Table = text.parse().expect("TOML");
    let text_of = |value: &toml::Value| value.as_str().expect("text").to_owned();
    let files = manifest["file"].as_array().expect("an array of tables").iter();
    files
        .map(|f| {
            (
                text_of(&f["path"]),
                f["count"].as_integer().expect("a number"),
                text_of(&f["sha256"]),
            )
        })
        .collect()
}

#[test]
fn every_file_of_the_manifest_is_classified_and_passes() {
    let Some(folder) = folder() else { return };
    let listed = manifest(&folder);
    let mut names: Vec<&str> = listed.iter().map(|(path, ..)| path.as_str()).collect();
    let mut ours: Vec<&str> = FILES.iter().map(|(path, _)| *path).collect();
    names.sort_unstable();
    ours.sort_unstable();
    assert_eq!(names, ours, "left: manifest, right: FILES");

    let mut total = 0;
    for (path, count, sha256) in &listed {
        let bytes = std::fs::read(folder.join(path)).expect("a listed file is there");
        assert_eq!(hex::encode(Sha256::digest(&bytes)), *sha256, "{path} changed");
        let (_, how) = FILES
            .iter()
            .find(|(name, _)| name == path)
            .expect("compared above");
        match how {
            Use::Here(run) => {
                let ran = run(&bytes);
                let over: usize = ran.passed_over.values().sum();
                assert_eq!(
                    i64::try_from(ran.passed + over),
                    Ok(*count),
                    "{path}: every vector is accounted for"
                );
                assert!(ran.passed > 0, "{path}: nothing was run");
                println!("{path}: {} passed{}", ran.passed, reasons(&ran));
                total += ran.passed;
            }
            Use::Elsewhere(package) => println!("{path}: {count}, tests of {package}"),
            Use::NotUsed(reason) => println!("{path}: {count} not run: {reason}"),
        }
    }
    println!("total: {total} vectors passed");
}

fn reasons(ran: &Ran) -> String {
    let passed_over = ran
        .passed_over
        .iter()
        .map(|(reason, count)| format!(", {count} not run: {reason}"));
    passed_over
        .chain(ran.not_compared.map(|part| format!(", not compared: {part}")))
        .collect()
}
