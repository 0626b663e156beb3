//! A revocation list and an event log on their own, for whoever inspects files.

use std::collections::BTreeSet;

use attestation::{
    EndorsementKind, Explanation, Outcome, UnixTime, Verdict, explain_event_log, explain_revocation_list,
};
use simulated::Flavor;

use crate::support::{COLLATERAL_SECONDS, Case, NOW};

#[track_caller]
fn assert_failed(explanation: &Explanation, expected: &[&str]) {
    let failed = explanation
        .clauses
        .iter()
        .filter(|clause| clause.outcome == Outcome::Fail);
    let failed: BTreeSet<_> = failed.map(|clause| clause.id).collect();
    assert_eq!(failed, expected.iter().copied().collect());
    assert_eq!(
        matches!(explanation.verdict, Verdict::Accepted(_)),
        expected.is_empty()
    );
}

#[test]
fn a_list_is_whole_signed_and_of_this_time() {
    let endorsements = Case::new(Flavor::Snp).bundle.endorsements;
    let document = |kind| endorsements.document(kind).expect("a document").to_vec();
    let list = document(EndorsementKind::SnpCrl);
    // The root stands in the policy alone; a list of Intel's root is issued by a root that travels.
    let other = document(EndorsementKind::SnpIntermediate);
    assert_failed(&explain_revocation_list(&list, &other, NOW), &["crl-signature"]);
    assert_failed(&explain_revocation_list(&list, b"", NOW), &["crl-signature"]);
    assert_failed(&explain_revocation_list(&list[1..], &other, NOW), &["crl-format"]);

    let tdx = Case::new(Flavor::Tdx).bundle.endorsements;
    let document = |kind| tdx.document(kind).expect("a document");
    let chain = document(EndorsementKind::TdxTcbSigningChain);
    let chain = attestation::certificates_in_pem(chain).expect("certificates");
    let (list, root) = (
        document(EndorsementKind::TdxRootCrl),
        chain.last().expect("the root"),
    );
    assert_failed(&explain_revocation_list(list, root, NOW), &[]);
    let late = UnixTime::from_seconds(NOW.seconds() + COLLATERAL_SECONDS + 1);
    assert_failed(&explain_revocation_list(list, root, late), &["crl-current"]);
    let mut forged = list.to_vec();
    *forged.last_mut().expect("bytes") ^= 1;
    assert_failed(&explain_revocation_list(&forged, root, NOW), &["crl-signature"]);
}

#[test]
fn a_log_reads_or_does_not() {
    assert_failed(&explain_event_log(b"not a log", NOW), &["event-log-format"]);
    assert_failed(&explain_event_log(b"[]", NOW), &[]);
}
