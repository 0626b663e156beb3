//! Quotes under keys of our own.

mod log;
mod real;

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::attest::Attest;
use super::testkit::{
    ATTRIBUTES, Failed, Message, NOW, another_key, attestation_key, bit_map, failed, pem, public_area, tlv,
};
use super::{AttestationKey, HashAlgorithm, Quote, RULES, examine, rsassa_signature};
use crate::clause::Outcome;
use crate::examination::Examination;
use crate::inspect;
use crate::policy::PcrPolicy;
use crate::x509::PublicKey;

const ASKED: [u8; 32] = [0x5a; 32];
const PCRS: [u8; 3] = [0, 4, 11];

fn values() -> Vec<u8> {
    [[1; 32], [2; 32], [3; 32]].concat()
}

fn policy() -> PcrPolicy {
    let value = |byte: u8| hex::encode([byte; 32]);
    let text = format!(
        "0 = [\"{}\", \"{}\"]\n4 = \"any\"\n11 = [\"{}\"]",
        value(1),
        value(9),
        value(3)
    );
    toml::from_str(&text).expect("the policy reads")
}

/// The clauses that failed of a message that the attestation key signed.
fn signed(message: &Message, pcr_values: &[u8]) -> Failed {
    let message = message.encode();
    of(&message, &attestation_key().sign(&message), pcr_values)
}

fn of(message: &[u8], signature: &[u8], pcr_values: &[u8]) -> Failed {
    let key = PublicKey::rsa(&attestation_key().modulus()).expect("a key");
    examined(Quote {
        message,
        signature,
        key: Some(&key),
        pcr_values,
        bank: HashAlgorithm::Sha256,
        pcrs: &policy(),
        event_log: None,
        qualifying_data: Some(&ASKED),
    })
}

fn examined(quote: Quote<'_>) -> Failed {
    let mut examination = Examination::new(NOW);
    let claims = examine(&mut examination, &quote);
    let conclusion = examination.conclude(&[RULES]);
    let failed = failed(&conclusion.clauses);
    let skipped = conclusion
        .clauses
        .iter()
        .any(|clause| clause.outcome == Outcome::Skipped);
    assert_eq!(conclusion.error.is_none(), failed.is_empty() && !skipped);
    assert!(claims.is_some() || !failed.is_empty());
    failed
}

fn good() -> Message {
    Message::new(&ASKED, &PCRS, &values())
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Message, &mut Vec<u8>), clauses: &[&str]) {
    let (mut message, mut values) = (good(), values());
    change(&mut message, &mut values);
    assert_eq!(signed(&message, &values), clauses.iter().copied().collect());
}

#[test]
fn a_good_quote_passes() {
    refused(|_, _| (), &[]);
}

#[test]
fn only_a_quote_that_the_tpm_made() {
    refused(|message, _| message.magic ^= 1, &["vtpm-quote-kind"]);
    // TPM_ST_ATTEST_CERTIFY.
    refused(|message, _| message.kind = 0x8017, &["vtpm-quote-kind"]);
    refused(|message, _| message.after.push(0), &["vtpm-quote-format"]);
    refused(|message, _| message.safe = 2, &["vtpm-quote-format"]);
    refused(
        |message, _| message.extra_data = alloc::vec![0; 67],
        &["vtpm-quote-format"],
    );
    refused(
        |message, _| message.digest = alloc::vec![0; 65],
        &["vtpm-quote-format"],
    );
    refused(
        |message, _| message.selections[0].1 = alloc::vec![1],
        &["vtpm-quote-format"],
    );
    refused(
        |message, _| message.selections = alloc::vec![(0x000b, alloc::vec![0; 3]); 17],
        &["vtpm-quote-format"],
    );
}

#[test]
fn exactly_one_bank_and_the_right_one() {
    let bank = "vtpm-pcr-bank";
    refused(|message, _| message.selections.clear(), &[bank]);
    // Both orders, an empty second one, and the same bank twice.
    let second = |bank: u16, pcrs: &'static [u8]| {
        move |message: &mut Message, _: &mut Vec<u8>| {
            message.selections.push((bank, bit_map(pcrs)));
        }
    };
    refused(second(0x0004, &[0]), &[bank]);
    refused(second(0x0004, &[]), &[bank]);
    refused(second(0x000b, &[]), &[bank]);
    refused(
        |message, _| message.selections.insert(0, (0x000c, bit_map(&PCRS))),
        &[bank],
    );
    // SHA-1 and SHA-384 with as many values as PCRs.
    for (id, bytes) in [(0x0004, 20), (0x000c, 48), (0x000d, 64)] {
        refused(
            move |message, values| {
                *values = alloc::vec![1; bytes * 3];
                *message = Message::new(&ASKED, &PCRS, values);
                message.selections[0].0 = id;
            },
            &[bank, "vtpm-pcr-values"],
        );
    }
    refused(|message, _| message.selections[0].0 = 0x0027, &[bank]);
}

#[test]
fn exactly_the_pcrs_that_the_policy_asks_for() {
    let selection = "vtpm-pcr-selection";
    // A subset, a superset, a set of the same size, none.
    for pcrs in [&[0, 4][..], &[0, 4, 11, 12], &[0, 4, 12], &[]] {
        refused(
            |message, values| {
                let of = |pcr: &u8| match pcr {
                    0 => [1; 32],
                    4 => [2; 32],
                    _ => [3; 32],
                };
                *values = pcrs.iter().map(of).collect::<Vec<_>>().concat();
                *message = Message::new(&ASKED, pcrs, values);
            },
            &[selection],
        );
    }
    // PCR 24 to 31 in a fourth octet; a fourth octet without any is the same set.
    refused(|message, _| message.selections[0].1.push(0), &[]);
    refused(
        |message, values| {
            values.extend([7; 32]);
            *message = Message::new(&ASKED, &PCRS, values);
            message.selections[0].1.push(0x80);
        },
        &[selection],
    );
}

#[test]
fn the_values_are_the_quoted_ones_one_for_each_pcr() {
    refused(|message, _| message.digest[31] ^= 1, &["vtpm-pcr-digest"]);
    refused(|message, _| message.digest.clear(), &["vtpm-pcr-digest"]);
    refused(|message, _| message.digest.push(0), &["vtpm-pcr-digest"]);
    refused(
        |_, values| values[95] ^= 1,
        &["vtpm-pcr-digest", "vtpm-pcr-values"],
    );
    // The same bytes in another order, and too few or too many under a digest that agrees.
    refused(
        |_, values| values.rotate_left(32),
        &["vtpm-pcr-digest", "vtpm-pcr-values"],
    );
    for bytes in [0, 64, 95, 97, 128] {
        refused(
            |message, values| {
                values.resize(bytes, 3);
                *message = Message::new(&ASKED, &PCRS, values);
            },
            &["vtpm-pcr-count"],
        );
    }
}

#[test]
fn each_value_is_one_of_the_policy() {
    let set = |at: usize, byte: u8| {
        move |message: &mut Message, values: &mut Vec<u8>| {
            values[32 * at..32 * (at + 1)].fill(byte);
            *message = Message::new(&ASKED, &PCRS, values);
        }
    };
    refused(set(0, 9), &[]);
    refused(set(1, 0xff), &[]);
    refused(set(0, 3), &["vtpm-pcr-values"]);
    refused(set(2, 0), &["vtpm-pcr-values"]);
}

#[test]
fn the_qualifying_data_are_compared_whole() {
    for extra_data in [&[][..], &ASKED[..31], &[&ASKED[..], &[0]].concat(), &[0x5b; 32]] {
        refused(
            |message, _| message.extra_data = extra_data.to_vec(),
            &["vtpm-extra-data"],
        );
    }
}

#[test]
fn a_rule_without_key_or_question_is_skipped_and_refuses() {
    let (message, key) = (
        good().encode(),
        PublicKey::rsa(&attestation_key().modulus()).expect("a key"),
    );
    let (signature, values, policy) = (attestation_key().sign(&message), values(), policy());
    for (key, qualifying_data) in [(None, Some(&ASKED[..])), (Some(&key), None)] {
        let mut examination = Examination::new(NOW);
        let quote = Quote {
            message: &message,
            signature: &signature,
            key,
            pcr_values: &values,
            bank: HashAlgorithm::Sha256,
            pcrs: &policy,
            event_log: None,
            qualifying_data,
        };
        examine(&mut examination, &quote);
        assert!(examination.conclude(&[RULES]).error.is_some());
    }
}

#[test]
fn only_the_attestation_key_signs() {
    let message = good().encode();
    let (good, values) = (attestation_key().sign(&message), values());
    let forged = another_key().sign(&message);
    for signature in [
        &forged[..],
        &[],
        &good[..255],
        &[&good[..], &[0]].concat(),
        &[&[0], &good[..]].concat(),
    ] {
        let failed = of(&message, signature, &values);
        assert_eq!(failed, ["vtpm-quote-signature"].into());
    }
    assert_eq!(of(&message, &good, &values), [].into());
}

#[test]
fn every_changed_bit_and_every_truncation_is_refused() {
    let message = good().encode();
    let (signature, values) = (attestation_key().sign(&message), values());
    for at in 0..message.len() * 8 {
        let mut changed = message.clone();
        changed[at / 8] ^= 1 << (at % 8);
        assert!(!of(&changed, &signature, &values).is_empty(), "bit {at}");
    }
    for at in (0..signature.len() * 8).step_by(7) {
        let mut changed = signature.clone();
        changed[at / 8] ^= 1 << (at % 8);
        assert!(!of(&message, &changed, &values).is_empty(), "signature bit {at}");
    }
    for end in 0..message.len() {
        let cut = &message[..end];
        let failed = of(cut, &attestation_key().sign(cut), &values);
        let clause = if end < 6 {
            "vtpm-quote-kind"
        } else {
            "vtpm-quote-format"
        };
        assert_eq!(failed, [clause].into(), "{end}");
    }
}

#[test]
fn an_attestation_key_is_restricted_and_never_left_its_tpm() {
    let key = attestation_key();
    let public = public_area(key, ATTRIBUTES);
    let parsed = AttestationKey::parse(&public).expect("a public area");
    assert!(parsed.is_restricted_signer());
    assert_eq!(parsed.modulus, key.modulus());
    for (bit, meaning) in [
        (1, "fixedTPM"),
        (4, "fixedParent"),
        (5, "sensitiveDataOrigin"),
        (16, "restricted"),
        (18, "sign"),
        (0, "reserved"),
        (11, "encryptedDuplication"),
        (17, "decrypt"),
        (19, "x509sign"),
        (31, "reserved"),
    ] {
        let changed = public_area(key, ATTRIBUTES ^ 1 << bit);
        let parsed = AttestationKey::parse(&changed).expect("a public area");
        assert!(!parsed.is_restricted_signer(), "{meaning}");
    }
    // Who may use the key does not matter: userWithAuth, noDA, adminWithPolicy.
    for bit in [6, 7, 10] {
        let changed = public_area(key, ATTRIBUTES ^ 1 << bit);
        let parsed = AttestationKey::parse(&changed).expect("a public area");
        assert!(parsed.is_restricted_signer(), "bit {bit}");
    }
}

#[test]
fn sizes_and_flags_of_a_quote_have_their_bounds() {
    let reads = |change: &dyn Fn(&mut Message)| {
        let mut message = good();
        change(&mut message);
        Attest::parse(&message.encode()).is_some()
    };
    for (bytes, read) in [(0, true), (66, true), (67, false)] {
        assert_eq!(
            reads(&|message| message.extra_data = alloc::vec![7; bytes]),
            read,
            "{bytes}"
        );
    }
    for (bytes, read) in [(64, true), (65, false)] {
        assert_eq!(
            reads(&|message| message.digest = alloc::vec![7; bytes]),
            read,
            "{bytes}"
        );
    }
    for (safe, read) in [(0, true), (1, true), (2, false), (0xff, false)] {
        assert_eq!(reads(&|message| message.safe = safe), read, "{safe}");
    }
}

#[test]
fn certificates_of_every_form_of_length_lose_their_padding() {
    for length in [0, 1, 0x7f, 0x80, 0xc8, 0xff, 0x100, 0x2a0] {
        let der = tlv(0x30, &[alloc::vec![5; length]]);
        let padded = [&der[..], &[0; 40]].concat();
        assert_eq!(
            super::chain::certificates(&pem(&[padded])),
            Some(alloc::vec![der.clone()]),
            "{length}"
        );
        let dirty = [&der[..], &[0, 1]].concat();
        assert_eq!(super::chain::certificates(&pem(&[dirty])), None, "{length}");
    }
}

#[test]
fn another_public_area_is_refused() {
    let public = public_area(attestation_key(), ATTRIBUTES);
    for (first, read) in [(0x7f, false), (0x80, true), (0x81, true)] {
        let mut changed = public.clone();
        changed[24] = first;
        assert_eq!(AttestationKey::parse(&changed).is_some(), read, "{first:x}");
    }
    let shown = AttestationKey::parse(&public).expect("a public area").describe();
    assert_eq!(shown, format!("attributes {ATTRIBUTES:#010x}, name SHA-256"));
    // Type, symmetric, scheme, hash of the scheme, bits, exponent, length.
    for (at, value) in [
        (1, 0x23),
        (11, 0x06),
        (13, 0x16),
        (15, 0x04),
        (16, 0x0c),
        (19, 3),
        (22, 0x02),
        (24, 0),
    ] {
        let mut changed = public.clone();
        changed[at] = value;
        assert!(AttestationKey::parse(&changed).is_none(), "byte {at}");
    }
    assert!(AttestationKey::parse(&[&public[..], &[0]].concat()).is_none());
    for end in 0..public.len() {
        assert!(AttestationKey::parse(&public[..end]).is_none(), "{end}");
    }
    // An even modulus and one with a leading zero.
    let mut even = public.clone();
    *even.last_mut().expect("a byte") &= 0xfe;
    assert!(AttestationKey::parse(&even).is_none());
    let mut short = public;
    short[24] = 0;
    assert!(AttestationKey::parse(&short).is_none());
}

#[test]
fn fields_of_a_quote_are_shown() {
    let fields = inspect(&good().encode()).expect("a quote");
    let value = |name: &str| {
        let field = fields.iter().find(|field| field.name == name);
        field.map(|field| field.value.to_string())
    };
    assert_eq!(value("pcrSelect").as_deref(), Some("SHA-256: 0, 4, 11"));
    assert_eq!(value("extraData"), Some(hex::encode(ASKED)));
    assert_eq!(value("firmwareVersion").as_deref(), Some("0x2020031200120003"));
    assert_eq!(value("resetCount").as_deref(), Some("3"));
    let message = good().encode();
    assert!(inspect(&message[..message.len() - 1]).is_none());
}

proptest! {
    #[test]
    fn no_parser_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400), at in 0usize..400, end in any::<bool>()) {
        let mut changed = [good().encode(), public_area(attestation_key(), ATTRIBUTES)];
        for structure in &mut changed {
            let at = at.min(structure.len());
            structure.splice(at.., bytes.iter().copied());
            if end {
                structure.truncate(at);
            }
        }
        for bytes in [&bytes, &changed[0], &changed[1]] {
            let _ = Attest::parse(bytes);
            let _ = inspect(bytes);
            let _ = rsassa_signature(bytes);
            let _ = AttestationKey::parse(bytes);
            let _ = super::chain::certificates(bytes);
            let _ = super::evidence::Parts::decode(bytes);
        }
        of(&changed[0], &bytes, &bytes);
    }
}
