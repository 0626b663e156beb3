//! Whole bundles as they travel, of the simulated platform: what encloses the evidence is deterministic CBOR.

use attestation::Bundle;
use simulated::Flavor;

use super::{Fate, assert_none_accepted, fate, resize};
use crate::random::Random;
use crate::support::Case;

/// Offsets at which something of CBOR begins: from the start, and before each run of ASCII.
fn heads(encoded: &[u8]) -> Vec<usize> {
    let is_head =
        |at: &usize| matches!(encoded[*at], 0x58 | 0x59 | 0x60..=0x7b | 0xa0..=0xbf | 0x80..=0x9b | 0xf6);
    (0..encoded.len()).filter(is_head).collect()
}

fn mutate(random: &mut Random, encoded: &mut Vec<u8>, other: &[u8], heads: &[usize]) {
    let at = *random.pick(heads);
    match random.below(9) {
        0 => encoded[at] = random.byte(),
        1 => encoded[at] = encoded[at].wrapping_add(1),
        2 => encoded[at] = encoded[at].wrapping_sub(1),
        3 => random.flip(encoded, at + 1, at + 2),
        4 => resize(random, encoded),
        // A part again, or a part less.
        5 => {
            let end = (at + 1 + random.below(200)).min(encoded.len());
            let again = encoded[at..end].to_vec();
            encoded.splice(at..at, again);
        }
        6 => drop(encoded.drain(at..(at + 1 + random.below(200)).min(encoded.len()))),
        7 => {
            let end = (at + random.below(2000)).min(encoded.len()).min(other.len());
            if at < end {
                encoded[at..end].copy_from_slice(&other[at..end]);
            }
        }
        _ => {
            let end = encoded.len();
            random.flip(encoded, 0, end);
        }
    }
}

#[test]
fn no_mutant_of_a_simulated_bundle_is_accepted() {
    let cases = [Case::new(Flavor::Snp), Case::new(Flavor::Tdx)].map(|case| {
        let encoded = case.bundle.encode().expect("it fits");
        let heads = heads(&encoded);
        (case.verifier(), encoded, heads, case)
    });
    assert_none_accepted("bundles", 15_000, |random| -> Fate {
        let (verifier, encoded, heads, case) = random.pick(&cases);
        let (_, other, _, _) = random.pick(&cases);
        let mut changed = encoded.clone();
        mutate(random, &mut changed, other, heads);
        fate(changed == *encoded, encoded, &changed, || {
            Bundle::decode(&changed)
                .is_ok_and(|bundle| verifier.appraise(&bundle, &case.nonce, case.now).is_ok())
        })
    });
}
