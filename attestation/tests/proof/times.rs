//! Each document's own time, to the second, on the simulated platform: everything around it is valid.

use std::collections::BTreeSet;

use attestation::UnixTime;
use simulated::Flavor;
use simulated::adversary::{self, Document};

use crate::support::{COLLATERAL_AGE_SECONDS, Case, DAY, NOW, changeable_platform};

/// When the document in question begins, and for how long it is valid.
fn begin() -> UnixTime {
    NOW.plus_seconds(3 * DAY)
}
const SECONDS: u64 = 2 * DAY;

fn earlier(moment: UnixTime, seconds: u64) -> UnixTime {
    UnixTime::from_seconds(moment.seconds() - seconds)
}

/// Reissues one document with a time of its own, and asserts what fails around both ends.
fn assert_bounds(flavor: Flavor, document: Document, before: &[&str], after: &[&str]) {
    let mut platform = changeable_platform();
    adversary::reissue(&mut platform, document, begin(), SECONDS).expect("it is issued");
    let case = Case::of(&platform, flavor);
    let until = begin().plus_seconds(SECONDS);
    for (moment, clauses) in [
        (earlier(begin(), DAY), before),
        (earlier(begin(), 1), before),
        (begin(), &[]),
        (begin().plus_seconds(1), &[]),
        (earlier(until, 1), &[]),
        (until, &[]),
        (until.plus_seconds(1), after),
        (until.plus_seconds(DAY), after),
    ] {
        let expected: BTreeSet<_> = clauses.iter().copied().collect();
        assert_eq!(
            case.clone().at(moment).failed(),
            expected,
            "{document:?} at {moment}"
        );
    }
    // Nothing is fresh for longer than it is valid.
    let fresh = case
        .at(earlier(until, 5))
        .appraise()
        .expect("accepted")
        .fresh_until();
    assert_eq!(fresh, until, "{document:?}");
}

#[test]
fn each_certificate_of_a_simulated_report_is_valid_to_the_second() {
    let clauses = &["snp-certificate-validity"];
    for document in [Document::Ark, Document::Ask, Document::Vcek] {
        assert_bounds(Flavor::Snp, document, clauses, clauses);
    }
}

#[test]
fn the_list_around_a_simulated_report_is_current_to_the_second() {
    let before = &["snp-collateral-age", "snp-crl-current"];
    assert_bounds(Flavor::Snp, Document::ArkList, before, &["snp-crl-current"]);
}

#[test]
fn each_certificate_around_a_simulated_quote_is_valid_to_the_second() {
    let clauses = &["tdx-certificate-validity"];
    for document in [
        Document::Root,
        Document::PckCa,
        Document::Pck,
        Document::TcbSigner,
    ] {
        assert_bounds(Flavor::Tdx, document, clauses, clauses);
    }
}

#[test]
fn each_document_around_a_simulated_quote_is_current_to_the_second() {
    let list = &["tdx-crl-current"];
    assert_bounds(Flavor::Tdx, Document::RootList, list, list);
    let before = &["tdx-collateral-age", "tdx-crl-current"];
    assert_bounds(Flavor::Tdx, Document::PckList, before, list);
    // The older of TCB info and QE identity has the age, and that one is not issued after now.
    let collateral = &["tdx-collateral-current"];
    for document in [Document::TcbInfo, Document::QeIdentity] {
        assert_bounds(Flavor::Tdx, document, collateral, collateral);
    }
}

/// Age counts from each document that a host could replay, and ends to the second.
#[test]
fn each_replayed_document_ages_to_the_second() {
    for (flavor, document, clause) in [
        (Flavor::Snp, Document::ArkList, "snp-collateral-age"),
        (Flavor::Tdx, Document::PckList, "tdx-collateral-age"),
        (Flavor::Tdx, Document::TcbInfo, "tdx-collateral-age"),
        (Flavor::Tdx, Document::QeIdentity, "tdx-collateral-age"),
    ] {
        let mut platform = changeable_platform();
        // All of it is new; then one document is put back to an old one that is still current.
        let renewed = NOW.plus_seconds(10 * DAY);
        platform.renew(renewed, 60 * DAY).expect("it is published");
        adversary::reissue(&mut platform, document, NOW, 60 * DAY).expect("it is issued");
        let case = Case::of(&platform, flavor);
        let limit = NOW.plus_seconds(COLLATERAL_AGE_SECONDS);
        case.clone().at(earlier(limit, 1)).assert_accepted();
        case.clone().at(limit).assert_accepted();
        case.at(limit.plus_seconds(1)).assert_failed(&[clause]);
    }
}
