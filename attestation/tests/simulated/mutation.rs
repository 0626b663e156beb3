//! Nothing that was changed is accepted: every bit of the evidence, every byte around it, every length.

use std::ops::Range;

use attestation::Bundle;
use simulated::Flavor;

use crate::support::Case;

/// Appraises the encoded bundle with each of these bits flipped, on two threads.
fn assert_every_flip_is_refused(case: &Case, bits: Vec<usize>) {
    let encoded = case.bundle.encode().expect("it fits");
    let verifier = case.verifier();
    std::thread::scope(|scope| {
        for half in bits.chunks(bits.len().div_ceil(2)) {
            let (mut bytes, verifier) = (encoded.clone(), &verifier);
            scope.spawn(move || {
                for bit in half {
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    if let Ok(bundle) = Bundle::decode(&bytes) {
                        let appraised = verifier.appraise(&bundle, &case.nonce, case.now);
                        assert!(
                            appraised.is_err(),
                            "byte {} bit {} does not count",
                            bit / 8,
                            bit % 8
                        );
                    }
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
            });
        }
    });
}

/// Where `part` stands in the encoded bundle.
fn place(case: &Case, part: &[u8]) -> Range<usize> {
    let encoded = case.bundle.encode().expect("it fits");
    let start = encoded
        .windows(part.len())
        .position(|window| window == part)
        .expect("it is there");
    start..start + part.len()
}

fn bits_of(bytes: Range<usize>) -> impl Iterator<Item = usize> {
    bytes.start * 8..bytes.end * 8
}

/// One bit of each byte, another one each time.
fn one_bit_of_each(bytes: Range<usize>) -> impl Iterator<Item = usize> {
    bytes.map(|byte| byte * 8 + byte % 8)
}

#[test]
fn every_bit_of_a_simulated_report_and_every_byte_around_it_counts() {
    let case = Case::new(Flavor::Snp);
    let report = place(&case, &case.bundle.evidence);
    assert_eq!(bits_of(report.clone()).count(), 9472);
    let end = case.bundle.encode().expect("it fits").len();
    let bits = bits_of(report.clone())
        .chain(one_bit_of_each(0..report.start))
        .chain(one_bit_of_each(report.end..end));
    assert_every_flip_is_refused(&case, bits.collect());
}

#[test]
fn every_bit_that_a_simulated_quote_signs_and_every_byte_around_it_counts() {
    let case = Case::new(Flavor::Tdx);
    let quote = place(&case, &case.bundle.evidence);
    // Header, body, signatures, keys, QE report and authentication data; the certificates follow.
    let signed = quote.start..quote.start + simulated::adversary::QE_REPORT_AT + 384 + 64 + 2 + 32;
    let end = case.bundle.encode().expect("it fits").len();
    let bits = bits_of(signed.clone())
        .chain(one_bit_of_each(0..signed.start))
        .chain(one_bit_of_each(signed.end..end));
    assert_every_flip_is_refused(&case, bits.collect());
}

#[test]
fn every_truncation_is_refused() {
    for flavor in [Flavor::Snp, Flavor::Tdx] {
        let case = Case::new(flavor);
        let verifier = case.verifier();
        let encoded = case.bundle.encode().expect("it fits");
        for length in 0..encoded.len() {
            assert!(
                Bundle::decode(&encoded[..length]).is_err(),
                "{length} bytes of a bundle"
            );
        }
        assert!(Bundle::decode(&[&encoded[..], &[0]].concat()).is_err());
        let mut bundle = case.bundle.clone();
        while bundle.evidence.pop().is_some() {
            assert!(
                verifier.appraise(&bundle, &case.nonce, case.now).is_err(),
                "{} bytes",
                bundle.evidence.len()
            );
        }
        let mut bundle = case.bundle.clone();
        while bundle.statement.pop().is_some() {
            assert!(
                verifier.appraise(&bundle, &case.nonce, case.now).is_err(),
                "{} bytes",
                bundle.statement.len()
            );
        }
    }
}
