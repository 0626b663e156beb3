//! Where other verifiers differ from ours is written down, and everywhere else they agree.

use std::collections::{BTreeMap, BTreeSet};

use differential::corpus::{self, Documents, Piece};
use differential::{Opinion, mutants, ours, table, theirs};

/// Verifier and what was asked, to every pair of opinions (ours, theirs) that came of it.
type Opinions = BTreeMap<(&'static str, String), BTreeSet<(Opinion, Opinion)>>;

/// Asks both, and notes what they said.
fn ask(opinions: &mut Opinions, piece: &Piece, label: &str) -> (Opinion, Opinion) {
    let (ours, failed) = ours::opinion(piece);
    let (theirs, words) = theirs::opinion(piece);
    let verifier = theirs::name(piece);
    if ours != theirs {
        println!(
            "{verifier}: {label} ({}): ours {} {failed:?}, theirs {} {words}",
            piece.name,
            ours.as_str(),
            theirs.as_str()
        );
    }
    opinions
        .entry((verifier, label.to_owned()))
        .or_default()
        .insert((ours, theirs));
    (ours, theirs)
}

#[test]
fn every_disagreement_is_explained() {
    let folder = corpus::folder();
    let Some(pieces) = corpus::read(&folder) else {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "no corpus at {}",
            folder.display()
        );
        eprintln!("NOT RUN: no corpus at {} (set ADYTON_VECTORS)", folder.display());
        return;
    };
    let mut opinions = Opinions::new();
    for piece in &pieces {
        let both = ask(&mut opinions, piece, &piece.name);
        if both != (Opinion::Accept, Opinion::Accept) {
            continue;
        }
        let changes = match piece.documents {
            Documents::Snp { .. } => mutants::REPORT,
            Documents::Tdx(_) => mutants::QUOTE,
        };
        for mutant in changes {
            let mut changed = piece.clone();
            if (mutant.change)(&mut changed.evidence) {
                ask(&mut opinions, &changed, mutant.name);
            }
        }
    }
    let asked = |verifier| opinions.keys().filter(|(asked, _)| *asked == verifier).count();
    assert!(asked("sev") > mutants::REPORT.len(), "reports were asked about");
    assert!(
        asked("dcap-qvl") > mutants::QUOTE.len(),
        "quotes were asked about"
    );

    let differing: BTreeSet<(String, String, &str, &str)> = opinions
        .iter()
        .flat_map(|((verifier, label), pairs)| {
            pairs
                .iter()
                .map(move |(ours, theirs)| (*verifier, label, ours, theirs))
        })
        .filter(|(_, _, ours, theirs)| ours != theirs)
        .map(|(verifier, label, ours, theirs)| {
            (verifier.to_owned(), label.clone(), ours.as_str(), theirs.as_str())
        })
        .collect();
    let table = table::read();
    // A corpus that lacks a piece says nothing of it.
    let explained: BTreeSet<(String, String, &str, &str)> = table
        .iter()
        .flat_map(|row| {
            let evidence = row.evidence.iter();
            evidence.map(|label| {
                (
                    row.verifier.clone(),
                    label.clone(),
                    row.ours.as_str(),
                    row.theirs.as_str(),
                )
            })
        })
        .filter(|(verifier, label, _, _)| {
            opinions
                .keys()
                .any(|(asked, about)| asked == verifier && about == label)
        })
        .collect();
    let unexplained: Vec<_> = differing.difference(&explained).collect();
    assert!(unexplained.is_empty(), "not in the table: {unexplained:#?}");
    let settled: Vec<_> = explained.difference(&differing).collect();
    assert!(settled.is_empty(), "in the table, and they agree: {settled:#?}");
}
