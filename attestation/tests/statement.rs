//! A statement has one encoding, and what is not it is refused.

use attestation::{AppraisalPolicy, Role, Statement, StatementError, StatementFields};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

fn fields() -> StatementFields {
    StatementFields {
        role: Role::Inference,
        key_configs: vec![1, 2, 3],
        receipt_key: [1; 32],
        tls_spki_sha256: [2; 32],
        wrap_key: vec![4, 5, 6],
        boot_id: [3; 16],
        model_digests: vec![[4; 32], [5; 32]],
        config_digest: [6; 32],
        policy_digest: [0; 32],
        key_lifetime_seconds: 3600,
        software_version: "0.1.0".into(),
        device_digests: vec![[9; 32]],
    }
}

#[test]
fn a_statement_keeps_its_exact_bytes() {
    let statement = fields().encode().expect("it fits");
    let parsed = Statement::parse(statement.statement_bytes()).expect("it parses");
    assert_eq!(parsed, statement);
    assert_eq!(parsed.fields(), &fields());
    assert_eq!(parsed.receipt_key, [1; 32]);
}

#[test]
fn statements_and_policies_are_cited_by_the_sha_256_of_their_bytes() {
    let statement = fields().encode().expect("it fits");
    let digest = Sha256::digest(statement.statement_bytes());
    assert_eq!(statement.sha256()[..], digest[..]);
    // python3: sha256(b"version = 1\n")
    let expected = "dbab12665d98aef021ba64953c61b0ed8a908cfb56a1c01e2fcb4b052b71a2a1";
    assert_eq!(
        hex::encode(AppraisalPolicy::text_digest("version = 1\n")),
        expected
    );
}

#[test]
fn a_statement_is_bounded_before_it_is_read() {
    let zeros = |bytes: usize| Statement::parse(&vec![0; bytes]);
    assert_eq!(zeros(32 * 1024), Err(StatementError::Shape));
    assert_eq!(zeros(32 * 1024 + 1), Err(StatementError::Bound));
}

#[test]
fn the_encoding_is_the_documented_one() {
    let bytes = fields().encode().expect("it fits").statement_bytes().to_vec();
    let mut expected = vec![0xad, 0x01, 0x01, 0x02, 0x01, 0x03, 0x43, 1, 2, 3, 0x04, 0x58, 32];
    expected.extend([1; 32]);
    expected.extend([0x05, 0x58, 32]);
    expected.extend([2; 32]);
    expected.extend([0x06, 0x43, 4, 5, 6, 0x07, 0x50]);
    expected.extend([3; 16]);
    expected.extend([0x08, 0x82, 0x58, 32]);
    expected.extend([4; 32]);
    expected.extend([0x58, 32]);
    expected.extend([5; 32]);
    expected.extend([0x09, 0x58, 32]);
    expected.extend([6; 32]);
    expected.extend([0x0a, 0x58, 32]);
    expected.extend([0; 32]);
    expected.extend([0x0b, 0x19, 0x0e, 0x10, 0x0c, 0x65]);
    expected.extend(b"0.1.0");
    expected.extend([0x0d, 0x81, 0x58, 32]);
    expected.extend([9; 32]);
    assert_eq!(bytes, expected);
}

#[test]
fn other_encodings_of_the_same_content_are_refused() {
    let bytes = fields().encode().expect("it fits").statement_bytes().to_vec();
    let replaced = |at: usize, with: &[u8]| [&bytes[..at], with, &bytes[at + 1..]].concat();
    // Version 1 in two bytes; the map header in two bytes; key 3 in two bytes; a length in two bytes.
    for other in [
        replaced(2, &[0x18, 0x01]),
        replaced(0, &[0xb8, 0x0d]),
        replaced(5, &[0x18, 0x03]),
        replaced(6, &[0x58, 0x03]),
        [&bytes[..], &[0x00]].concat(),
    ] {
        assert_eq!(Statement::parse(&other), Err(StatementError::NotCanonical));
    }
    // An indefinite map, an indefinite byte string, keys out of order, a key twice, a tag.
    for other in [
        [&[0xbf], &bytes[1..], &[0xff]].concat(),
        replaced(6, &[0x5f, 0x43]),
        [&bytes[..1], &bytes[3..5], &bytes[1..3], &bytes[5..]].concat(),
        [&bytes[..3], &bytes[1..3], &bytes[5..]].concat(),
        replaced(2, &[0xc0, 0x01]),
    ] {
        assert_eq!(Statement::parse(&other), Err(StatementError::Shape));
    }
    for length in 0..bytes.len() {
        assert!(Statement::parse(&bytes[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn unknown_versions_and_roles_are_named() {
    let bytes = fields().encode().expect("it fits").statement_bytes().to_vec();
    let mut version = bytes.clone();
    version[2] = 2;
    assert_eq!(Statement::parse(&version), Err(StatementError::UnknownVersion(2)));
    let mut role = bytes;
    role[4] = 3;
    assert_eq!(Statement::parse(&role), Err(StatementError::UnknownRole(3)));
}

#[test]
fn every_field_has_a_bound() {
    for fields in [
        StatementFields {
            key_configs: vec![0; 16 * 1024 + 1],
            ..fields()
        },
        StatementFields {
            wrap_key: vec![0; 4 * 1024 + 1],
            ..fields()
        },
        StatementFields {
            model_digests: vec![[0; 32]; 65],
            ..fields()
        },
        StatementFields {
            device_digests: vec![[0; 32]; 33],
            ..fields()
        },
        StatementFields {
            key_lifetime_seconds: 0,
            ..fields()
        },
        StatementFields {
            key_lifetime_seconds: 30 * 24 * 3600 + 1,
            ..fields()
        },
        StatementFields {
            software_version: String::new(),
            ..fields()
        },
        StatementFields {
            software_version: "v".repeat(65),
            ..fields()
        },
        StatementFields {
            software_version: "a\u{1b}[0m".into(),
            ..fields()
        },
        StatementFields {
            software_version: "é".into(),
            ..fields()
        },
    ] {
        assert_eq!(fields.encode(), Err(StatementError::Bound));
    }
    let largest = StatementFields {
        key_configs: vec![0; 16 * 1024],
        wrap_key: vec![0; 4 * 1024],
        model_digests: vec![[0; 32]; 64],
        key_lifetime_seconds: 30 * 24 * 3600,
        software_version: "v".repeat(64),
        device_digests: vec![[0; 32]; 32],
        ..fields()
    };
    let largest = largest.encode().expect("it fits");
    assert!(Statement::parse(largest.statement_bytes()).is_ok());
    assert_eq!(Statement::parse(&[0; 32 * 1024 + 1]), Err(StatementError::Bound));
}

proptest! {
    #[test]
    fn nothing_panics_and_what_parses_is_canonical(mut bytes in proptest::collection::vec(any::<u8>(), 0..512), at in 0usize..400) {
        for bytes in [bytes.clone(), {
            let mut statement = fields().encode().expect("it fits").statement_bytes().to_vec();
            statement.splice(at.min(statement.len()).., bytes.drain(..));
            statement
        }] {
            if let Ok(statement) = Statement::parse(&bytes) {
                prop_assert_eq!(statement.statement_bytes(), &bytes[..]);
            }
            let _ = attestation::Bundle::decode(&bytes);
            let _ = attestation::Endorsements::decode(&bytes);
            for platform in attestation::PlatformTag::ALL {
                let _ = attestation::endorsement_subject(platform, &bytes);
            }
        }
    }
}
