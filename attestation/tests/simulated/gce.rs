//! Firmware on Google's word, under a root made here.

use std::sync::OnceLock;

use attestation::{EndorsementKind, Outcome};
use base64::Engine as _;
use simulated::gce::{Chain, LaunchEndorser};
use simulated::{Flavor, UnixTime};

use crate::support::{Case, DAY, NOW, platform};

fn google() -> &'static LaunchEndorser {
    static GOOGLE: OnceLock<LaunchEndorser> = OnceLock::new();
    GOOGLE.get_or_init(|| LaunchEndorser::new(NOW, 10 * DAY, Chain::Direct).expect("an endorser"))
}

/// A case whose policy takes the launch measurement on Google's word, and the endorsement of it.
fn case(flavor: Flavor) -> Case {
    let mut case = Case::new(flavor);
    let (key, table, size, at) = match flavor {
        Flavor::Snp => ("launch_measurements", "snp", "vcpus = [4]", 0x90),
        Flavor::Tdx => ("mrtd", "tdx", "ram_gib = \"any\"", 48 + 136),
    };
    let measurement = case.bundle.evidence[at..at + 48].to_vec();
    case = case.policy(&format!("{key} = [\"{}\"]\n", hex::encode(&measurement)), "");
    case.policy.push_str(&format!(
        "[danger.simulated.{table}.gce_firmware]\nroot_certificate = \"{}\"\nissued_after = \"{NOW}\"\nsvn_minimum = 2\n{size}\n",
        base64::engine::general_purpose::STANDARD.encode(google().root_certificate())
    ));
    let mut golden = google().golden(NOW);
    golden.of_vcpus = vec![(4, measurement.clone())];
    golden.of_ram_gib = vec![(16, measurement)];
    let endorsement = google().endorse(&golden).expect("a signature");
    case.bundle
        .endorsements
        .insert(EndorsementKind::GceLaunchEndorsement, endorsement);
    case
}

fn measurement_clause(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::Snp => "snp-measurement",
        Flavor::Tdx => "tdx-mrtd",
    }
}

#[test]
fn a_measurement_is_expected_because_google_endorses_it() {
    for flavor in [Flavor::Snp, Flavor::Tdx] {
        let case = case(flavor);
        case.assert_accepted();
        let verified = case.appraise().expect("accepted");
        // Nothing is relied upon for longer than the signer's certificate lives.
        let late = case.at(UnixTime::from_seconds(NOW.seconds() + 10 * DAY + 1));
        assert!(late.failed().contains("gce-endorsement-validity"));
        assert!(verified.fresh_until() <= UnixTime::from_seconds(NOW.seconds() + 10 * DAY));
    }
}

#[test]
fn without_a_valid_endorsement_the_measurement_is_not_expected() {
    for flavor in [Flavor::Snp, Flavor::Tdx] {
        let mut none = case(flavor);
        none.bundle
            .endorsements
            .remove(EndorsementKind::GceLaunchEndorsement);
        none.assert_failed(&["gce-endorsement-format", measurement_clause(flavor)]);
        let mut forged = case(flavor);
        let document = forged
            .bundle
            .endorsements
            .remove(EndorsementKind::GceLaunchEndorsement);
        let mut document = document.expect("an endorsement");
        *document.last_mut().expect("bytes") ^= 1;
        forged
            .bundle
            .endorsements
            .insert(EndorsementKind::GceLaunchEndorsement, document);
        forged.assert_failed(&["gce-endorsement-signature", measurement_clause(flavor)]);
        let old = case(flavor).policy("svn_minimum = 2", "svn_minimum = 3");
        old.assert_failed(&["gce-endorsement-floor", measurement_clause(flavor)]);
    }
    let other_size = case(Flavor::Snp).policy("vcpus = [4]", "vcpus = [8]");
    other_size.assert_failed(&["gce-endorsement-measurement", "snp-measurement"]);
    let mut other = case(Flavor::Tdx);
    other.bundle.evidence[48 + 136] ^= 1;
    simulated::adversary::sign_quote(
        platform(),
        &mut other.bundle.evidence,
        simulated::adversary::Domain::Simulated,
    )
    .expect("a signature");
    other.assert_failed(&["gce-endorsement-measurement", "tdx-mrtd"]);
}

#[test]
fn an_endorsement_that_nobody_asked_for_decides_nothing() {
    let mut listed = Case::new(Flavor::Tdx);
    let asked = case(Flavor::Tdx);
    listed.bundle.endorsements = asked.bundle.endorsements;
    listed.assert_accepted();
}

/// What was not reached is listed, too: a reader sees that Google's word would have been asked for.
#[test]
fn googles_clauses_are_listed_where_the_policy_takes_its_word() {
    for flavor in [Flavor::Snp, Flavor::Tdx] {
        let outcomes = |mut case: Case| -> Vec<Outcome> {
            case.bundle.evidence.truncate(16);
            let explanation = case.verifier().explain(&case.bundle, &case.nonce, case.now);
            let clauses = explanation.clauses.into_iter();
            let of_google = clauses.filter(|clause| clause.id.starts_with("gce-endorsement"));
            of_google.map(|clause| clause.outcome).collect()
        };
        let listed = outcomes(case(flavor));
        assert!(
            !listed.is_empty() && listed.iter().all(|outcome| *outcome == Outcome::Skipped),
            "{listed:?}"
        );
        assert_eq!(outcomes(Case::new(flavor)), []);
    }
}
