//! Quotes that a real vTPM signed, in three banks.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{examined, policy};
use crate::policy::PcrPolicy;
use crate::tpm::testkit::{manifest, vectors};
use crate::tpm::{AttestationKey, HashAlgorithm, Quote, rsassa_signature};
use crate::x509::PublicKey;

fn every_pcr() -> PcrPolicy {
    // PCR 23 is zero where nobody extends it; the others are not looked at.
    let any: Vec<_> = (0..23).map(|pcr| format!("{pcr} = \"any\"\n")).collect();
    let text = format!("{}23 = [\"{}\"]", any.concat(), "00".repeat(32));
    toml::from_str(&text).expect("the policy reads")
}

/// One real quote: its parts, and the nonce of whoever asked for it.
struct Real {
    name: String,
    message: Vec<u8>,
    signature: Vec<u8>,
    values: Vec<u8>,
    extra_data: Vec<u8>,
    bank: HashAlgorithm,
}

#[test]
fn real_quotes_of_google_hold_in_each_bank() {
    let Some(folder) = vectors() else { return };
    let folder = folder.join("gcp/gcp-vtpm-cos85-nonce9009");
    let read = |name: &str| std::fs::read(folder.join(name)).expect("the file of a vector");
    let public = read("ak-pub.tpmt");
    let key = AttestationKey::parse(&public).expect("a public area");
    assert!(key.is_restricted_signer());
    let attestation = read("attestation.pb");
    for (bank, id, name) in [
        (HashAlgorithm::Sha1, 4, "sha1"),
        (HashAlgorithm::Sha256, 11, "sha256"),
        (HashAlgorithm::Sha384, 12, "sha384"),
    ] {
        let signature = read(&format!("quote-{name}.tpmt-sig"));
        let real = Real {
            name: name.into(),
            message: read(&format!("quote-{name}.msg")),
            signature: rsassa_signature(&signature).expect("a TPMT_SIGNATURE").to_vec(),
            values: pcrs_of(&attestation, id),
            extra_data: alloc::vec![0x90, 0x09],
            bank,
        };
        real.holds(&key.key);
        if bank == HashAlgorithm::Sha1 {
            continue;
        }
        // The log that came with the quotes explains PCR 0 to 9, and a changed one does not.
        let (log, pcrs) = (read("eventlog.bin"), every_pcr());
        let logged = |log: &[u8]| {
            let quote = real.quote(&key.key, &pcrs);
            examined(Quote {
                event_log: Some(log),
                ..quote
            })
        };
        assert!(!logged(&log).contains("vtpm-event-log"), "{name}");
        let mut changed = log.clone();
        // Digests of the first event that is extended: SHA-1, SHA-256, SHA-384.
        let first = changed
            .windows(16)
            .position(|bytes| bytes == b"Spec ID Event03\0")
            .expect("a header");
        for byte in &mut changed[first + 60..first + 240] {
            *byte ^= 1;
        }
        assert!(logged(&changed).contains("vtpm-event-log"), "{name}");
    }
}

/// The 24 PCR values of a bank in go-tpm-tools' Attestation: field 2 are quotes, of which field 3 has
/// the bank in field 1 and numbers with values in field 2 (protocol buffers).
fn pcrs_of(attestation: &[u8], bank: u64) -> Vec<u8> {
    for quote in fields(attestation).into_iter().filter(|field| field.0 == 2) {
        for pcrs in fields(quote.2).into_iter().filter(|field| field.0 == 3) {
            let pcrs = fields(pcrs.2);
            if pcrs.iter().any(|field| field.0 == 1 && field.1 == bank) {
                let mut values = std::collections::BTreeMap::new();
                for entry in pcrs
                    .iter()
                    .filter(|field| field.0 == 2)
                    .map(|field| fields(field.2))
                {
                    let number = entry.iter().find(|field| field.0 == 1).map_or(0, |field| field.1);
                    let value = entry.iter().find(|field| field.0 == 2).expect("a value").2;
                    values.insert(number, value);
                }
                return values.into_values().collect::<Vec<_>>().concat();
            }
        }
    }
    panic!("no bank {bank}")
}

/// Number, integer and bytes of each field of a message.
fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, &[u8])> {
    fn integer(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let (byte, rest) = bytes.split_first().expect("a byte");
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return value;
            }
        }
        unreachable!("an integer ends")
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = integer(&mut bytes);
        let value = integer(&mut bytes);
        let mut contents = &[][..];
        if tag & 7 == 2 {
            (contents, bytes) = bytes.split_at(value as usize);
        }
        fields.push((tag >> 3, value, contents));
    }
    fields
}

impl Real {
    fn quote<'a>(&'a self, key: &'a PublicKey, pcrs: &'a PcrPolicy) -> Quote<'a> {
        Quote {
            message: &self.message,
            signature: &self.signature,
            key: Some(key),
            pcr_values: &self.values,
            bank: self.bank,
            pcrs,
            event_log: None,
            qualifying_data: Some(&self.extra_data),
        }
    }

    /// Everything but the value of PCR 23, which is a SHA-256 value in the policy.
    #[track_caller]
    fn holds(&self, key: &PublicKey) {
        let (name, pcrs) = (&self.name, every_pcr());
        let expected = if self.bank == HashAlgorithm::Sha256 {
            None
        } else {
            Some("vtpm-pcr-values")
        };
        assert_eq!(
            examined(self.quote(key, &pcrs)),
            expected.into_iter().collect(),
            "{name}"
        );
        let swapped = [
            &self.values[self.values.len() / 24..],
            &self.values[..self.values.len() / 24],
        ]
        .concat();
        let changed = examined(Quote {
            pcr_values: &swapped,
            ..self.quote(key, &pcrs)
        });
        assert!(changed.contains("vtpm-pcr-digest"), "{name}");
        let prefix = &self.extra_data[..self.extra_data.len() - 1];
        let changed = examined(Quote {
            qualifying_data: Some(prefix),
            ..self.quote(key, &pcrs)
        });
        assert!(changed.contains("vtpm-extra-data"), "{name}");
        let few = policy();
        let changed = examined(self.quote(key, &few));
        assert!(changed.contains("vtpm-pcr-selection"), "{name}");
    }
}

#[test]
fn the_manifest_names_no_quote_that_is_not_tested() {
    let Some(folder) = vectors() else { return };
    let names: Vec<_> = manifest(&folder, "gcp-vtpm")
        .iter()
        .map(|vector| vector["name"].as_str().map(String::from))
        .collect();
    assert_eq!(
        names,
        [
            Some("gcp-vtpm-ak-certificate-openpcc".into()),
            Some("gcp-vtpm-cos85-nonce9009".into()),
        ]
    );
}
