//! Every bit of a real report and of a real quote counts, and so does every length.

use attestation::{EndorsementKind, Endorsements, PlatformTag};

use crate::real::Real;
use crate::sweep::{accepted, flipped, is_full, say};

/// Accepted changes of the evidence alone: none of them should be.
fn accepted_evidence(real: &Real, count: usize, change: impl Fn(usize) -> Vec<u8> + Sync) -> Vec<usize> {
    accepted(count, |number| real.accepts(&change(number), &real.endorsements))
}

fn assert_lengths_count(real: &Real) {
    let (evidence, none) = (&real.evidence, Vec::<usize>::new());
    let cut = accepted_evidence(real, evidence.len(), |length| evidence[..length].to_vec());
    assert_eq!(cut, none, "{} cut short", real.name);
    let longer = accepted_evidence(real, 64, |more| [&evidence[..], &vec![0xa5; more + 1]].concat());
    assert_eq!(longer, none, "{} with more after it", real.name);
    let headless = accepted_evidence(real, evidence.len() / 16, |bytes| {
        evidence[bytes * 16 + 1..].to_vec()
    });
    assert_eq!(headless, none, "{} without its first bytes", real.name);
}

#[test]
fn every_bit_of_a_real_report_counts() {
    let names = if is_full() {
        &[
            "snp-genoa-v3-tinfoil-live",
            "snp-turin-v5-aci-ms",
            "snp-milan-v3-oak-container",
        ][..]
    } else {
        &["snp-genoa-v3-tinfoil-live"]
    };
    for name in names {
        let Some(real) = Real::named(name) else { return };
        let bits = real.evidence.len() * 8;
        assert_eq!(bits, 9472);
        let found = accepted_evidence(&real, bits, |bit| flipped(&real.evidence, bit));
        assert_eq!(found, Vec::<usize>::new(), "{name}: bits that do not count");
        assert_lengths_count(&real);
        say(&format!(
            "{name}: each of {bits} bits refused, each of {} lengths refused",
            bits / 8
        ));
    }
}

/// Where the PEM of a quote begins.
fn pem_at(quote: &[u8]) -> usize {
    let begin = b"-----BEGIN";
    quote
        .windows(begin.len())
        .position(|window| window == begin)
        .expect("PEM")
}

#[test]
fn every_bit_of_a_real_quote_and_every_byte_of_its_certificates_counts() {
    let Some(real) = Real::named("tdx-v4-near") else {
        return;
    };
    let quote = &real.evidence;
    let pem = pem_at(quote);
    // Header, body, signature, attestation key, QE report, its signature, authentication data, lengths.
    assert_eq!(pem, 48 + 584 + 4 + 64 + 64 + 6 + 384 + 64 + 2 + 32 + 6);
    let none = Vec::<usize>::new();
    let found = accepted_evidence(&real, pem * 8, |bit| flipped(quote, bit));
    assert_eq!(found, none, "bits before the certificates that do not count");
    let found = accepted_evidence(&real, quote.len() - pem, |at| {
        flipped(quote, (pem + at) * 8 + at % 8)
    });
    assert_eq!(found, none, "bytes of the certificates that do not count");
    assert_lengths_count(&real);
    say(&format!(
        "tdx-v4-near: each of {} bits and {} bytes of PEM refused",
        pem * 8,
        quote.len() - pem
    ));
}

/// Bytes of PEM that mean nothing: RFC 7468 lets line breaks be of either kind, and Intel's text ends in a NUL.
#[test]
fn only_line_breaks_of_a_quotes_certificates_may_be_written_otherwise() {
    let Some(real) = Real::named("tdx-v4-near") else {
        return;
    };
    let quote = &real.evidence;
    let places: Vec<_> = (pem_at(quote)..quote.len())
        .filter(|at| matches!(quote[*at], b'\n' | b'\r' | 0) || at % 16 == 0)
        .collect();
    let replace = |replacement: u8| {
        accepted_evidence(&real, places.len(), |number| {
            let mut changed = quote.clone();
            changed[places[number]] = replacement;
            changed
        })
        .into_iter()
        .map(|number| places[number])
        .filter(|at| quote[*at] != replacement)
        .collect::<Vec<_>>()
    };
    let breaks: Vec<_> = places.iter().copied().filter(|at| quote[*at] == b'\n').collect();
    assert!(breaks.len() > 30);
    let last = quote.len() - 1;
    assert_eq!((quote[last], quote[last - 1]), (0, b'\n'));
    let free: Vec<_> = breaks.into_iter().chain([last]).collect();
    assert_eq!(
        replace(b'\r'),
        free,
        "line breaks may be of the other kind, and the NUL one"
    );
    assert_eq!(replace(b'\n'), [last], "the NUL may be a line break");
    assert_eq!(replace(0), [last - 1], "the last line break may be a NUL");
    for replacement in [b' ', b'\t', b'-', b'=', b'A'] {
        assert_eq!(replace(replacement), Vec::<usize>::new(), "{replacement:#x}");
    }
}

/// What belongs to one chip and one moment belongs to no other: reports and quotes with each other's documents.
#[test]
fn no_real_evidence_passes_with_the_evidence_of_another() {
    let Some(all) = Real::all() else { return };
    let pairs = all.len() * all.len();
    let found = accepted(pairs, |pair| {
        let (one, other) = (&all[pair / all.len()], &all[pair % all.len()]);
        one.evidence != other.evidence && one.accepts(&other.evidence, &one.endorsements)
    });
    assert_eq!(found, Vec::<usize>::new());
    // A leaf of another report. AMD issues a chip's certificate anew for whoever asks: the same key, the same TCB,
    // another time. Two of the vectors are of one chip.
    let leaf = |real: &Real| {
        real.endorsements
            .document(EndorsementKind::SnpLeaf)
            .map(<[u8]>::to_vec)
    };
    let snp: Vec<_> = all
        .iter()
        .filter(|real| real.platform == PlatformTag::AmdSevSnp)
        .collect();
    let found = accepted(snp.len() * snp.len(), |pair| {
        let (one, other) = (snp[pair / snp.len()], snp[pair % snp.len()]);
        leaf(one) != leaf(other)
            && one.accepts_document(EndorsementKind::SnpLeaf, leaf(other).unwrap_or_default())
    });
    let name = |place: usize| snp[place].name.as_str();
    let found: Vec<_> = found
        .into_iter()
        .map(|pair| (name(pair / snp.len()), name(pair % snp.len())))
        .collect();
    let of_one_chip = ["snp-genoa-v3-tinfoil", "snp-genoa-v3-tinfoil-live"];
    let [one, other] = of_one_chip;
    assert_eq!(found, [(one, other), (other, one)]);
    let [one, other] = of_one_chip.map(|name| {
        let real = snp.iter().find(|real| real.name == name).expect(name);
        (leaf(real).expect("a leaf"), real.evidence[0x180..0x1e0].to_vec())
    });
    assert_eq!(one.1, other.1, "one chip, one TCB");
    // SubjectPublicKeyInfo of a P-384 key: secp384r1 (1.3.132.0.34), then a BIT STRING of 97 bytes.
    let curve = [0x2b, 0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00, 0x04];
    let key = |leaf: &[u8]| {
        let at = leaf.windows(curve.len()).position(|window| window == curve);
        leaf[at.expect("a key") + curve.len()..][..96].to_vec()
    };
    assert_eq!(key(&one.0), key(&other.0), "one key");
    assert!(
        all.iter()
            .all(|real| !real.accepts(&real.evidence, &Endorsements::new()))
    );
    say(&format!("{} accepted vectors, {pairs} pairs", all.len()));
}
