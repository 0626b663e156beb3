//! TDX quotes.

use attestation::PlatformTag;

use super::{Fate, assert_none_accepted, copy, copy_tail, fate, number, pem, resize, swap};
use crate::random::Random;
use crate::real::{Real, body_at};

/// Offset and length of each field of the body (Intel TDX DCAP Quoting Library API, appendix A.3.2).
const BODY: &[(usize, usize)] = &[
    (0, 16),
    (16, 48),
    (64, 48),
    (112, 8),
    (120, 8),
    (128, 8),
    (136, 48),
    (184, 48),
    (232, 48),
    (280, 48),
    (328, 48),
    (376, 48),
    (424, 48),
    (472, 48),
    (520, 64),
];
const HEADER: &[(usize, usize)] = &[(0, 2), (2, 2), (4, 4), (8, 4), (12, 16), (28, 20)];
/// From the length of the signature data: it, signature, key, type, size, QE report in parts, its signature, length.
const SIGNATURE: &[(usize, usize)] = &[
    (0, 4),
    (4, 64),
    (68, 64),
    (132, 2),
    (134, 4),
    (138, 16),
    (154, 4),
    (186, 16),
    (202, 32),
    (266, 32),
    (394, 2),
    (396, 2),
    (458, 64),
    (522, 64),
    (586, 2),
];

/// Where the signature data's length stands.
fn signature_at(quote: &[u8]) -> usize {
    if body_at(quote) == 54 {
        54 + usize::from(u16::from_le_bytes([quote[50], quote[51]]))
    } else {
        48 + 584
    }
}

/// Where the PEM begins and where the padding after it.
fn pem_range(quote: &[u8], signature: usize) -> (usize, usize) {
    let u16_at = |at: usize| usize::from(u16::from_le_bytes([quote[at], quote[at + 1]]));
    let authentication = u16_at(signature + 586);
    let size = signature + 588 + authentication + 2;
    (size + 4, size + 4 + u16_at(size))
}

/// The quote with another PEM, and with lengths that fit it, or not.
fn with_pem(random: &mut Random, quote: &[u8], other: &[u8]) -> Vec<u8> {
    let signature = signature_at(quote);
    let (start, end) = pem_range(quote, signature);
    let (their_start, their_end) = pem_range(other, signature_at(other));
    let pem = pem::mutate(random, &quote[start..end], &other[their_start..their_end]);
    let mut changed = [&quote[..start], &pem, &quote[end..]].concat();
    if random.below(4) > 0 {
        let more = pem.len() as i64 - (end - start) as i64;
        for at in [signature, signature + 134, start - 4] {
            let length = u32::from_le_bytes(changed[at..at + 4].try_into().expect("4 bytes"));
            let length = u32::try_from(i64::from(length) + more).expect("a length");
            changed[at..at + 4].copy_from_slice(&length.to_le_bytes());
        }
    }
    changed
}

fn mutate(random: &mut Random, quote: &mut Vec<u8>, other: &[u8]) {
    let (body, signature) = (body_at(quote), signature_at(quote));
    let (pem, _) = pem_range(quote, signature);
    let of_body = *random.pick(BODY);
    let of_signature = *random.pick(SIGNATURE);
    match random.below(16) {
        0 | 1 => *quote = with_pem(random, quote, other),
        2 => {
            let (at, length) = *random.pick(HEADER);
            number(random, quote, at, length.min(8));
        }
        3 => quote[..2].copy_from_slice(&(random.below(8) as u16).to_le_bytes()),
        4 | 5 => {
            let alike: Vec<_> = BODY.iter().filter(|field| field.1 == of_body.1).collect();
            swap(quote, body + of_body.0, body + random.pick(&alike).0, of_body.1);
        }
        6 | 7 if body_at(other) == body => copy(quote, other, body + of_body.0, of_body.1),
        8 => number(random, quote, body + of_body.0, 8),
        9 => quote[body + of_body.0..body + of_body.0 + of_body.1].fill(0),
        // Lengths and types that do not add up.
        10 | 11 => {
            let (at, length) = *random.pick(&[(0, 4), (132, 2), (134, 4), (586, 2)]);
            number(random, quote, signature + at, length);
        }
        12 => {
            let at = pem - *random.pick(&[4, 6]);
            number(random, quote, at, 2);
        }
        13 if signature_at(other) == signature => {
            copy(quote, other, signature + of_signature.0, of_signature.1);
        }
        14 => resize(random, quote),
        _ if signature_at(other) == signature && random.below(2) == 0 => {
            let at = signature + of_signature.0;
            copy_tail(quote, other, at);
        }
        _ => random.flip(quote, 0, pem),
    }
}

/// Whether two quotes say the same: padding after them and line breaks in PEM, with lengths that fit, mean nothing.
fn same(one: &[u8], other: &[u8]) -> bool {
    if one == other {
        return true;
    }
    let begin = b"-----BEGIN";
    let pem = |quote: &[u8]| quote.windows(begin.len()).position(|window| window == begin);
    match (pem(one), pem(other)) {
        (Some(at), Some(at_other)) if at == at_other => {
            let signature = signature_at(other);
            let is_length = |place: &usize| {
                [signature, signature + 134, at - 4]
                    .iter()
                    .any(|from| (*from..from + 4).contains(place))
            };
            let alike = (0..at).all(|place| is_length(&place) || one[place] == other[place]);
            alike && adds_up(one) && pem::same(&one[at..], &other[at..])
        }
        _ => false,
    }
}

/// Whether the lengths of a quote are those of what is there, with nothing but zeros after it.
fn adds_up(quote: &[u8]) -> bool {
    let signature = signature_at(quote);
    let (start, end) = pem_range(quote, signature);
    let u32_at = |at: usize| u32::from_le_bytes(quote[at..at + 4].try_into().expect("4 bytes")) as usize;
    end <= quote.len()
        && u32_at(start - 4) == end - start
        && u32_at(signature) == end - signature - 4
        && u32_at(signature + 134) == end - signature - 138
        && quote[end..].iter().all(|byte| *byte == 0)
}

#[test]
fn no_mutant_of_a_real_quote_is_accepted() {
    let Some(all) = Real::all() else { return };
    let all: Vec<_> = all
        .iter()
        .filter(|real| real.platform == PlatformTag::IntelTdx)
        .collect();
    assert_none_accepted("quotes", 15_000, |random| -> Fate {
        let (real, other) = (*random.pick(&all), *random.pick(&all));
        let mut quote = real.evidence.clone();
        mutate(random, &mut quote, &other.evidence);
        fate(same(&quote, &real.evidence), &real.evidence, &quote, || {
            real.accepts(&quote, &real.endorsements)
        })
    });
}
