//! The attestation key, its certificates, its quote.

use alloc::vec::Vec;

use simulated::Flavor;

use super::{ASKED, CHAIN, Case, FLAVORS, PCRS, runtime, values};
use crate::tpm::testkit::{
    AIK, EK, INTERMEDIATE, Issue, Message, another_key, attestation_key, extended_key_usage, extension,
    intermediate, root,
};

#[test]
fn another_key_does_not_sign_and_is_not_certified() {
    for flavor in FLAVORS {
        let message = Message::new(&ASKED, &PCRS, &values());
        let case = || Case::new(flavor);
        case()
            .message_by(another_key(), &message)
            .refused(&["vtpm-quote-signature"]);
        // The right signature, but the hardware vouches for another key.
        let swapped = runtime()
            .replace("HCLAkPub", "@")
            .replace("HCLEkPub", "HCLAkPub")
            .replace('@', "HCLEkPub");
        let swapped = case().runtime(&swapped);
        assert!(
            swapped
                .failed()
                .is_superset(&["azure-ak-key", "vtpm-quote-signature"].into())
        );
        let certified = Issue::leaf(another_key()).issue();
        case()
            .chain(&[certified, intermediate()])
            .refused(&["azure-ak-key"]);
    }
}

#[test]
fn certificates_lead_to_the_root_and_certify_an_attestation_key() {
    let case = || Case::new(Flavor::Snp);
    let leaf = Issue::leaf(attestation_key()).issue();
    case().chain(&[leaf.clone(), intermediate(), root()]).refused(&[]);
    // Azure fills the NV index up with zeros.
    let padded = |byte: u8| [&leaf[..], &[0; 300], &[byte]].concat();
    case().chain(&[padded(0), intermediate()]).refused(&[]);
    case()
        .chain(&[padded(1), intermediate()])
        .refused(&["azure-ak-certificates"]);
    for chain in [
        &[leaf.clone()][..],
        &[intermediate(), leaf.clone()],
        &[leaf.clone(), intermediate(), intermediate()],
        &[root()],
    ] {
        let failed = case().chain(chain).failed();
        assert!(failed.contains("azure-ak-chain"), "{failed:?}");
    }
    let leaf_with = |add: Vec<u8>| {
        let mut leaf = Issue::leaf(attestation_key());
        leaf.extensions.push(add);
        case().chain(&[leaf.issue(), intermediate()])
    };
    leaf_with(extended_key_usage(&[EK, AIK])).refused(&[]);
    leaf_with(extended_key_usage(&[EK])).refused(&["azure-ak-chain"]);
    leaf_with(extension("1.2.3.4", false, Vec::new())).refused(&[]);
    leaf_with(extension("1.2.3.4", true, Vec::new())).refused(&["azure-ak-chain"]);
    // An authority's certificate, and a leaf that may not sign.
    let authority = Issue {
        key: attestation_key(),
        ..Issue::authority("vtpm", INTERMEDIATE)
    };
    case()
        .chain(&[authority.issue(), intermediate()])
        .refused(&["azure-ak-chain"]);
    let mut silent = Issue::leaf(attestation_key());
    silent.extensions.truncate(1);
    case()
        .chain(&[silent.issue(), intermediate()])
        .refused(&["azure-ak-chain"]);
    let expired = Issue {
        not_after: "20210101000000Z",
        ..Issue::leaf(attestation_key())
    };
    case()
        .chain(&[expired.issue(), intermediate()])
        .refused(&["azure-ak-validity"]);
    let absent = |mut case: Case| {
        case.endorsements.remove(CHAIN);
        case
    };
    absent(case()).refused(&["azure-ak-certificates"]);
    absent(case().excepting("absent-ak-certificate")).refused(&[]);
    // The exception is for certificates that are absent, not for wrong ones.
    case()
        .excepting("absent-ak-certificate")
        .chain(&[leaf])
        .refused(&["azure-ak-chain"]);
    case()
        .excepting("absent-ak-certificate")
        .chain(&[])
        .refused(&["azure-ak-certificates"]);
}

#[test]
fn quotes_of_other_registers_values_and_nonces_are_refused() {
    for flavor in FLAVORS {
        let case = || Case::new(flavor);
        let mut message = Message::new(&ASKED, &PCRS, &values());
        message.selections[0].0 = 0x0004;
        case()
            .message(&message)
            .refused(&["vtpm-pcr-bank", "vtpm-pcr-count"]);
        case()
            .message(&Message::new(&ASKED, &[4, 12], &values()))
            .refused(&["vtpm-pcr-selection"]);
        case()
            .change(|evidence| evidence.pcr_values[0] ^= 1)
            .refused(&["vtpm-pcr-digest", "vtpm-pcr-values"]);
        case()
            .message(&Message::new(&ASKED[..31], &PCRS, &values()))
            .refused(&["vtpm-extra-data"]);
    }
}
