//! What a manifest must be, bit by bit.

use super::*;
use crate::OwnerSignatureAlgorithm;

fn owner() -> OwnerSigningKey {
    OwnerSigningKey::generate(OwnerSignatureAlgorithm::Ed25519).unwrap()
}

fn objects() -> Vec<Object> {
    let object = |name: &str, plain_bytes, fill| Object {
        name: name.to_owned(),
        sha256: [fill; 32],
        header: [fill; HEADER_BYTES],
        geometry: Geometry::of_plaintext(limits::SEGMENT_BYTES, plain_bytes).unwrap(),
    };
    vec![
        object("0000.floe", 10, 1),
        object("0001.floe", 3 << 20, 2),
        object(INDEX_NAME, 4096, 3),
    ]
}

fn payload() -> String {
    serde_json::to_string(&Statement::new("sample", 7, &[9; 16], &objects())).unwrap()
}

fn code(payload: &str) -> &'static str {
    Manifest::from_payload(payload.as_bytes()).map_or_else(|error| error.code(), |_| "ok")
}

#[test]
fn what_was_signed_is_read() {
    let owner = owner();
    let (signed, bundle) = Manifest::sign("sample", 7, [9; 16], &objects(), &owner).unwrap();
    let manifest = Manifest::verify(&bundle, &owner.public_key()).unwrap();
    assert_eq!(manifest, signed);
    assert_eq!(
        (manifest.model_id(), manifest.version(), manifest.file_count()),
        ("sample", 7, 2)
    );
    assert_eq!(manifest.plain_bytes(), 10 + (3 << 20));
    assert_eq!(manifest.digest(), digest(&SHA256, payload().as_bytes()).as_ref());
    assert_eq!(manifest.objects().count(), 3);
}

#[test]
fn another_owner_is_refused() {
    let (_, bundle) = Manifest::sign("sample", 7, [9; 16], &objects(), &owner()).unwrap();
    assert_eq!(
        Manifest::verify(&bundle, &owner().public_key())
            .unwrap_err()
            .code(),
        "owner-signature"
    );
}

#[test]
fn every_flipped_bit_of_the_bundle_is_refused_or_says_the_same() {
    let owner = owner();
    let (signed, bundle) = Manifest::sign("sample", 7, [9; 16], &objects(), &owner).unwrap();
    for bit in 0..bundle.len() * 8 {
        let mut changed = bundle.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        // The end of the media type and white space are not signed; what they surround must not change.
        if let Ok(manifest) = Manifest::verify(&changed, &owner.public_key()) {
            assert_eq!(manifest, signed, "bit {bit}");
        }
    }
}

#[test]
fn names_and_shapes_that_do_not_fit_are_refused() {
    let payload = payload();
    assert_eq!(code(&payload), "ok");
    for (from, to) in [
        ("\"0000.floe\"", "\"../0000.floe\""),
        ("\"0000.floe\"", "\"/etc/passwd\""),
        ("\"0000.floe\"", "\"0001.floe\""),
        ("\"index.floe\"", "\"0002.floe\""),
        ("\"sample\"", "\"../sample\""),
        ("\"sample\"", "\"\""),
        ("\"version\":7", "\"version\":0"),
        ("\"version\":7", "\"version\":9007199254740992"),
        ("\"version\":7", "\"version\":-1"),
        ("\"version\":7", "\"version\":7,\"version\":8"),
        ("\"version\":7", "\"version\":7,\"extra\":8"),
        ("\"segment_bytes\":1048576", "\"segment_bytes\":16"),
        ("\"adyton_sealed_model\":1", "\"adyton_sealed_model\":2"),
        ("\"bytes\":116", "\"bytes\":0"),
        ("\"bytes\":116", "\"bytes\":18446744073709551615"),
        ("\"bytes\":116", "\"bytes\":4398046511105"),
        ("\"algorithm\":\"sha256\"", "\"algorithm\":\"blake3\""),
        ("Statement/v1", "Statement/v2"),
        ("signature/v1.0", "signature/v2.0"),
        (&"01".repeat(32), &"04".repeat(32)),
        (&"01".repeat(32), &"01".repeat(31)),
        (&"09".repeat(16), &"09".repeat(17)),
        ("\"allow_symlinks\":false", "\"allow_symlinks\":0"),
    ] {
        assert!(payload.contains(from), "{from}");
        assert_eq!(
            code(&payload.replacen(from, to, 1)),
            "malformed",
            "{from} -> {to}"
        );
    }
    let upper = payload.replacen(&hex::encode([0x0f; 1]), "0F", 1);
    assert!(upper == payload || code(&upper) == "malformed");
    assert_eq!(code(""), "malformed");
    assert_eq!(code(&"[".repeat(100_000)), "malformed");
}

#[test]
fn a_signature_of_a_plain_model_is_told_apart() {
    let mut statement: serde_json::Value = serde_json::from_str(&payload()).unwrap();
    statement["subject"][0]
        .as_object_mut()
        .unwrap()
        .remove("annotations");
    assert_eq!(code(&statement.to_string()), "not-a-sealed-model");
}

#[test]
fn too_many_files_are_refused() {
    let mut many = objects();
    let one = many[0].clone();
    many.splice(
        0..2,
        (0..=limits::FILES_MAX).map(|position| Object {
            name: object_name(position),
            ..one.clone()
        }),
    );
    let statement = Statement::new("sample", 7, &[9; 16], &many);
    assert_eq!(code(&serde_json::to_string(&statement).unwrap()), "malformed");
    many.remove(limits::FILES_MAX);
    let statement = Statement::new("sample", 7, &[9; 16], &many);
    let payload = serde_json::to_string(&statement).unwrap();
    assert_eq!(code(&payload), "ok");
    let bundle = Bundle::sign(payload.as_bytes(), &owner()).unwrap();
    assert!(
        (bundle.len() as u64) < limits::MANIFEST_BYTES_MAX,
        "{} bytes",
        bundle.len()
    );
    // No index, or nothing but an index.
    let statement = Statement::new("sample", 7, &[9; 16], &many[..1]);
    assert_eq!(code(&serde_json::to_string(&statement).unwrap()), "malformed");
}
