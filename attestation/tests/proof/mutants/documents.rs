//! The documents around reports and quotes, each by its own structure.

use attestation::{EndorsementKind, PlatformTag};

use super::{Fate, assert_none_accepted, der, fate, json, pem, resize};
use crate::random::Random;
use crate::real::Real;

fn mutate(random: &mut Random, kind: EndorsementKind, document: &[u8], other: &[u8]) -> Vec<u8> {
    let mut changed = document.to_vec();
    match kind {
        _ if random.below(12) == 0 => resize(random, &mut changed),
        EndorsementKind::TdxTcbInfo | EndorsementKind::TdxQeIdentity => {
            return json::mutate(random, document, other);
        }
        EndorsementKind::TdxTcbSigningChain => return pem::mutate(random, document, other),
        _ => der::mutate(random, &mut changed, other),
    }
    changed
}

/// Whether two documents say the same: PEM may be written in more than one way.
fn same(kind: EndorsementKind, one: &[u8], other: &[u8]) -> bool {
    one == other || (kind == EndorsementKind::TdxTcbSigningChain && pem::same(one, other))
}

fn assert_none_of(platform: PlatformTag, name: &str, full: usize) {
    let Some(all) = Real::all() else { return };
    let all: Vec<_> = all.iter().filter(|real| real.platform == platform).collect();
    assert_none_accepted(name, full, |random| -> Fate {
        let (real, other) = (*random.pick(&all), *random.pick(&all));
        let kinds: Vec<_> = real.endorsements.iter().map(|(kind, _)| kind).collect();
        let kind = *random.pick(&kinds);
        let own = real.endorsements.document(kind).expect("a document");
        // The same kind of document of another, or another document of the same.
        let theirs = match random.below(3) {
            0 => real.endorsements.document(*random.pick(&kinds)),
            _ => other.endorsements.document(kind),
        };
        let theirs = theirs.unwrap_or(own);
        let changed = mutate(random, kind, own, theirs);
        // A whole document of the manufacturer's own is no mutant: another list that is current, another
        // certificate of the same chip.
        let same = changed == theirs || same(kind, own, &changed);
        let mut endorsements = real.endorsements.clone();
        endorsements.insert(kind, changed.clone());
        fate(same, own, &changed, || {
            real.accepts(&real.evidence, &endorsements)
        })
    });
}

#[test]
fn no_mutant_of_the_documents_around_a_real_report_is_accepted() {
    assert_none_of(PlatformTag::AmdSevSnp, "documents around reports", 10_000);
}

#[test]
fn no_mutant_of_the_documents_around_a_real_quote_is_accepted() {
    assert_none_of(PlatformTag::IntelTdx, "documents around quotes", 12_500);
}
