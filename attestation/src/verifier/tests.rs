//! Simulated evidence and real evidence do not verify as each other, even under the same keys: here
//! the verifier is given the simulated roots as if they were built in.

use alloc::collections::BTreeSet;
use std::sync::OnceLock;

use attester::Attester as _;
use simulated::adversary::{Domain, sign_quote, sign_report};
use simulated::{Flavor, Platform};

use super::{RawEvidence, Verifier};
use crate::snp::Generation;
use crate::{AppraisalPolicy, Endorsements, Outcome, PlatformTag, UnixTime};

const REPORT_DATA: [u8; 64] = [7; 64];
const NOW: UnixTime = UnixTime::from_seconds(1_795_000_000);

/// This crate is linked twice, as itself under test and as the simulated platform's own: times,
/// reports and endorsements cross over as numbers and bytes.
fn platform() -> &'static Platform {
    static PLATFORM: OnceLock<Platform> = OnceLock::new();
    let now = simulated::UnixTime::from_seconds(NOW.seconds());
    PLATFORM.get_or_init(|| Platform::manufacture(now, 3600).expect("a platform"))
}

/// A verifier that takes the simulated roots for real ones, and the other way round.
fn verifier(flavor: Flavor) -> Verifier {
    let mut policy = alloc::format!(
        "version = 1\nrole = \"broker\"\nevidence_age_seconds_max = 60\ncollateral_age_seconds_max = 60\n\
         config_digests = [\"{}\"]\n",
        "00".repeat(32)
    );
    policy.push_str(&platform().policy_fragment(flavor, &[9; 48]));
    let policy = AppraisalPolicy::from_toml(&policy).expect("the policy reads");
    let mut verifier = Verifier::new(policy);
    verifier.policy.snp = verifier.policy.simulated_snp.clone();
    verifier.policy.tdx = verifier.policy.simulated_tdx.clone();
    verifier.snp_anchors = verifier.simulated_snp_anchors.clone();
    let root = verifier
        .policy
        .tdx
        .as_ref()
        .and_then(|tdx| tdx.root_certificate.clone());
    verifier.tdx_anchor = root.map(|root| root.0);
    assert!(
        verifier
            .snp_anchors
            .iter()
            .all(|(generation, _)| *generation == Generation::Genoa)
    );
    verifier
}

fn failed(flavor: Flavor, domain: Domain, tag: PlatformTag) -> BTreeSet<&'static str> {
    let collected = platform()
        .attester(flavor, [9; 48], [0; 32])
        .evidence(&REPORT_DATA)
        .expect("evidence");
    let mut evidence = collected.evidence;
    match flavor {
        Flavor::Snp => sign_report(platform(), &mut evidence, domain),
        Flavor::Tdx => sign_quote(platform(), &mut evidence, domain),
    }
    .expect("a signature");
    let endorsements = Endorsements::decode(&collected.endorsements.encode()).expect("endorsements");
    let evidence = RawEvidence {
        platform: tag,
        evidence: &evidence,
        event_log: None,
        endorsements: &endorsements,
    };
    let explanation = verifier(flavor).explain_evidence(&evidence, Some(&REPORT_DATA), NOW);
    let clauses = explanation.clauses;
    assert!(clauses.iter().all(|clause| clause.outcome != Outcome::Skipped));
    clauses
        .iter()
        .filter(|clause| clause.outcome == Outcome::Fail)
        .map(|clause| clause.id)
        .collect()
}

#[test]
fn each_domain_verifies_in_its_own_tag_only_even_under_the_same_keys() {
    let snp = ["snp-report-signature"];
    let tdx = ["tdx-qe-report-signature", "tdx-quote-signature"];
    for (flavor, real, simulated, clauses) in [
        (
            Flavor::Snp,
            PlatformTag::AmdSevSnp,
            PlatformTag::SimulatedAmdSevSnp,
            &snp[..],
        ),
        (
            Flavor::Tdx,
            PlatformTag::IntelTdx,
            PlatformTag::SimulatedIntelTdx,
            &tdx[..],
        ),
    ] {
        let clauses: BTreeSet<_> = clauses.iter().copied().collect();
        assert_eq!(failed(flavor, Domain::Simulated, simulated), BTreeSet::new());
        assert_eq!(failed(flavor, Domain::Hardware, real), BTreeSet::new());
        assert_eq!(
            failed(flavor, Domain::Simulated, real),
            clauses,
            "simulated evidence posing as real"
        );
        assert_eq!(
            failed(flavor, Domain::Hardware, simulated),
            clauses,
            "real evidence posing as simulated"
        );
    }
}
