//! Every rule of an SNP examination refuses what it should, and nothing else does.

use attestation::{Assurance, EndorsementKind, PlatformTag};
use simulated::Flavor;
use simulated::adversary::{self, Document, Domain, Publication};

use crate::support::{
    COLLATERAL_AGE_SECONDS, COLLATERAL_SECONDS, Case, DAY, NOW, changeable_platform, platform,
};

fn case() -> Case {
    Case::new(Flavor::Snp)
}

/// The case with bytes of the report changed by its own security processor, which signs anything.
fn with(changes: &[(usize, &[u8])]) -> Case {
    let mut case = case();
    for (offset, bytes) in changes {
        case.bundle.evidence[*offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    adversary::sign_report(platform(), &mut case.bundle.evidence, Domain::Simulated).expect("a signature");
    case
}

#[test]
fn simulated_snp_evidence_is_accepted_and_says_so() {
    let case = case();
    case.assert_accepted();
    let verified = case.appraise().expect("accepted");
    assert_eq!(verified.assurance(), Assurance::Simulated);
    assert_eq!(verified.claims().platform(), PlatformTag::SimulatedAmdSevSnp);
    assert_eq!(verified.claims().hardware_id().len(), 64);
    assert_eq!(verified.statement().statement_bytes(), case.bundle.statement);
    with(&[]).assert_accepted();
}

#[test]
fn each_field_of_a_simulated_report_is_checked() {
    const TCB: [u8; 8] = [10, 0, 0, 0, 0, 0, 23, 84];
    let tcb = |at: usize, value: u8| {
        let mut tcb = TCB;
        tcb[at] = value;
        tcb
    };
    for (changes, clauses) in [
        (
            &[(0x000, &4u32.to_le_bytes()[..])][..],
            &["snp-report-version"][..],
        ),
        (&[(0x000, &6u32.to_le_bytes())], &["snp-report-version"]),
        (&[(0x000, &2u32.to_le_bytes())], &["snp-report-version"]),
        (&[(0x034, &[2])], &["snp-signature-algorithm"]),
        (
            &[(0x048, &[0x04])],
            &["snp-intermediate-signature", "snp-leaf-kind", "snp-signing-key"],
        ),
        (&[(0x048, &[0x1c])], &["snp-leaf-kind", "snp-signing-key"]),
        (&[(0x048, &[0x02])], &["snp-chip-key-unmasked"]),
        // Reserved areas.
        (&[(0x048, &[0x20])], &["snp-reserved-zero"]),
        (&[(0x049, &[1])], &["snp-reserved-zero"]),
        (&[(0x04f, &[1])], &["snp-reserved-zero"]),
        (&[(0x18b, &[1])], &["snp-reserved-zero"]),
        (&[(0x19f, &[1])], &["snp-reserved-zero"]),
        (&[(0x1eb, &[1])], &["snp-reserved-zero"]),
        (&[(0x1ef, &[1])], &["snp-reserved-zero"]),
        (&[(0x208, &[1])], &["snp-reserved-zero"]),
        (&[(0x29f, &[1])], &["snp-reserved-zero"]),
        // Which processor.
        (&[(0x1a0, &[0; 64])], &["snp-chip-id"]),
        (&[(0x1df, &[0xff, 10])], &["snp-chip-id"]),
        (&[(0x188, &[0x1a])], &["snp-generation"]),
        (&[(0x188, &[0x20])], &["snp-generation"]),
        (&[(0x189, &[0x12])], &["snp-processor-accepted"]),
        (&[(0x189, &[0x01])], &["snp-generation", "snp-processor-accepted"]),
        (&[(0x18a, &[2])], &["snp-processor-accepted"]),
        // Versions: reported, committed, current, launch.
        (&[(0x180, &tcb(0, 9))], &["snp-tcb-certified", "snp-tcb-reported"]),
        (
            &[(0x180, &tcb(6, 22))],
            &["snp-tcb-certified", "snp-tcb-reported"],
        ),
        (
            &[(0x180, &tcb(7, 83))],
            &["snp-tcb-certified", "snp-tcb-reported"],
        ),
        (&[(0x180, &tcb(7, 85))], &["snp-tcb-certified", "snp-tcb-order"]),
        (&[(0x180, &tcb(2, 1))], &["snp-tcb-layout"]),
        (&[(0x1e0, &tcb(5, 1))], &["snp-tcb-layout"]),
        (&[(0x038, &tcb(3, 1))], &["snp-tcb-layout"]),
        (&[(0x1f0, &tcb(4, 1))], &["snp-tcb-layout"]),
        (&[(0x1e0, &tcb(7, 83))], &["snp-tcb-committed", "snp-tcb-order"]),
        (&[(0x1e0, &tcb(7, 85))], &["snp-tcb-order"]),
        (&[(0x1e0, &tcb(7, 85)), (0x038, &tcb(7, 85))], &[]),
        (&[(0x038, &tcb(1, 1))], &[]),
        (&[(0x038, &tcb(7, 83))], &["snp-tcb-order"]),
        (&[(0x1f0, &tcb(0, 9))], &["snp-tcb-launch"]),
        (&[(0x1f0, &tcb(7, 85))], &["snp-tcb-order"]),
        (&[(0x1ec, &[50])], &["snp-firmware-order"]),
        (&[(0x1ec, &[48])], &["snp-firmware"]),
        (&[(0x1ec, &[0xff, 54])], &["snp-firmware"]),
        (&[(0x1f8, &[0x1f])], &["snp-mitigations"]),
        (&[(0x200, &[0x1f])], &["snp-mitigations"]),
        (&[(0x040, &[0x06])], &["snp-platform-info"]),
        (&[(0x040, &[0x66])], &[]),
        // What was launched.
        (&[(0x090, &[0xaa])], &["snp-measurement"]),
        (&[(0x0bf, &[0xaa])], &["snp-measurement"]),
        (&[(0x0c0, &[1])], &["snp-host-data"]),
        (&[(0x0df, &[1])], &["snp-host-data"]),
        (&[(0x010, &[1])], &["snp-family-id"]),
        (&[(0x020, &[1])], &["snp-image-id"]),
        (&[(0x0e0, &[1])], &["snp-id-key"]),
        (&[(0x110, &[1])], &["snp-author-key"]),
        (&[(0x048, &[0x01])], &["snp-author-key"]),
        (&[(0x030, &[1])], &["snp-vmpl"]),
        // Guest policy: debug is bit 19, migration bit 18, SMT bit 16, CXL bit 21.
        (&[(0x00a, &[0x0a])], &["snp-debug"]),
        (&[(0x00a, &[0x06])], &["snp-migration"]),
        (&[(0x160, &[0xfe])], &["snp-migration"]),
        (&[(0x00a, &[0x00])], &["snp-policy-reserved"]),
        (&[(0x00b, &[0x04])], &["snp-policy-reserved"]),
        (&[(0x00f, &[0x80])], &["snp-policy-reserved"]),
        (&[(0x00a, &[0x03])], &["snp-policy-allowed"]),
        (&[(0x00a, &[0x22])], &["snp-policy-allowed"]),
        (&[(0x008, &[0x36])], &["snp-policy-abi"]),
        (&[(0x009, &[0x00])], &["snp-policy-abi"]),
        (&[(0x050, &[0xaa])], &["report-data"]),
        (&[(0x08f, &[0xaa])], &["report-data"]),
    ] {
        let case = with(changes);
        // A changed byte may by chance be what it was; the expectation decides.
        let expected = clauses.iter().copied().collect();
        assert_eq!(case.failed(), expected, "{changes:02x?}");
    }
}

#[test]
fn what_a_version_does_not_have_must_be_zero() {
    let version = |version: u8, more: &[(usize, &[u8])]| {
        let version = [version];
        let changes = [&[(0x000, &version[..])][..], more].concat();
        with(&changes).policy(
            "guest_svn_minimum",
            "report_versions = [2, 3, 4]\nguest_svn_minimum",
        )
    };
    let no_mitigations: (usize, &[u8]) = (0x1f8, &[0; 16]);
    let no_processor: (usize, &[u8]) = (0x188, &[0; 3]);
    for number in [3, 4] {
        version(number, &[]).assert_failed(&["snp-reserved-zero"]);
        version(number, &[no_mitigations]).assert_failed(&["snp-mitigations"]);
        version(number, &[no_mitigations, (0x207, &[1])])
            .assert_failed(&["snp-mitigations", "snp-reserved-zero"]);
    }
    version(2, &[no_mitigations, no_processor]).assert_failed(&["snp-mitigations"]);
    version(2, &[no_mitigations]).assert_failed(&["snp-mitigations", "snp-reserved-zero"]);
    version(2, &[no_processor]).assert_failed(&["snp-reserved-zero"]);
}

#[test]
fn a_chip_id_of_turin_is_eight_bytes_and_zeros() {
    let mut platform = changeable_platform();
    adversary::become_turin(&mut platform, NOW, COLLATERAL_SECONDS).expect("another machine");
    let case = Case::of(&platform, Flavor::Snp);
    case.assert_accepted();
    for at in [0x1a0, 0x1a7, 0x1a8, 0x1df] {
        let mut case = case.clone();
        case.bundle.evidence[at] ^= 1;
        adversary::sign_report(&platform, &mut case.bundle.evidence, Domain::Simulated).expect("a signature");
        case.assert_failed(&["snp-chip-id"]);
    }
}

#[test]
fn bytes_after_the_signature_must_be_zero() {
    for offset in [0x2d0, 0x2e7, 0x318, 0x32f, 0x330, 0x49f] {
        let mut case = case();
        case.bundle.evidence[offset] = 1;
        case.assert_failed(&["snp-reserved-zero"]);
    }
    for offset in [0x2a0, 0x2e8] {
        let mut case = case();
        case.bundle.evidence[offset] ^= 1;
        case.assert_failed(&["snp-report-signature"]);
    }
}

#[test]
fn what_the_policy_demands_must_be_there() {
    let required = "guest_policy_required = []";
    for protection in [
        "single-socket",
        "memory-aes-256-xts",
        "rapl-disabled",
        "ciphertext-hiding",
        "page-swap-disabled",
    ] {
        // Named twice it is demanded as much.
        for list in [
            format!("\"{protection}\""),
            format!("\"{protection}\", \"{protection}\""),
        ] {
            case()
                .policy(required, &format!("guest_policy_required = [{list}]"))
                .assert_failed(&["snp-policy-required"]);
        }
    }
    for protection in ["rapl-disabled", "ciphertext-hiding"] {
        for list in [
            format!("\"{protection}\""),
            format!("\"{protection}\", \"{protection}\""),
        ] {
            case()
                .policy("platform_required = [", &format!("platform_required = [{list}, "))
                .assert_failed(&["snp-platform-info"]);
        }
    }
    case()
        .policy("guest_svn_minimum = 0", "guest_svn_minimum = 1")
        .assert_failed(&["snp-guest-svn"]);
    case()
        .policy("steppings = [1]", "steppings = [0, 2]")
        .assert_failed(&["snp-processor-accepted"]);
    case()
        .policy("generation = \"genoa\"", "generation = \"milan\"")
        .assert_failed(&["snp-processor-accepted"]);
    case()
        .policy("firmware = \"1.55.49\"", "firmware = \"1.55.50\"")
        .assert_failed(&["snp-firmware"]);
    case()
        .policy("mitigations = 0x3f", "mitigations = 0x7f")
        .assert_failed(&["snp-mitigations"]);
    let machines = case()
        .policy
        .lines()
        .find(|line| line.starts_with("enrolled"))
        .expect("a line")
        .to_owned();
    case()
        .policy(&machines, "enrolled_machines = [\"00\"]")
        .assert_failed(&["snp-enrolled-machine"]);
    case()
        .policy(&machines, "enrolled_machines = \"any\"")
        .assert_accepted();
}

#[test]
fn minimum_tcb_counts_in_each_component_and_each_tcb() {
    for (from, to) in [
        ("boot_loader = 10", "boot_loader = 11"),
        ("tee = 0", "tee = 1"),
        ("\nsnp = 23", "\nsnp = 24"),
        ("microcode = 84", "microcode = 85"),
    ] {
        case()
            .policy(from, to)
            .assert_failed(&["snp-tcb-committed", "snp-tcb-launch", "snp-tcb-reported"]);
    }
}

#[test]
fn smt_and_cxl_are_accepted_only_by_name() {
    let accept = |case: Case, what: &str| {
        case.policy(
            "guest_policy_required",
            &format!("guest_policy_accepted = [\"{what}\"]\nguest_policy_required"),
        )
    };
    accept(with(&[(0x00a, &[0x03])]), "smt").assert_accepted();
    accept(with(&[(0x00a, &[0x22])]), "cxl").assert_accepted();
    accept(with(&[(0x00a, &[0x03])]), "cxl").assert_failed(&["snp-policy-allowed"]);
}

#[test]
fn each_endorsement_is_required() {
    for (kind, clause) in [
        (EndorsementKind::SnpLeaf, "snp-certificates"),
        (EndorsementKind::SnpIntermediate, "snp-certificates"),
        (EndorsementKind::SnpCrl, "snp-crl-signature"),
    ] {
        let mut case = case();
        case.bundle.endorsements.remove(kind);
        case.assert_failed(&[clause]);
    }
    let mut case = case().policy(
        "guest_svn",
        "exceptions = [\"absent-revocation-list\"]\nguest_svn",
    );
    case.bundle.endorsements.remove(EndorsementKind::SnpCrl);
    case.assert_accepted();
    case.bundle
        .endorsements
        .insert(EndorsementKind::SnpCrl, vec![0x30, 0x00]);
    case.assert_failed(&["snp-crl-signature"]);
}

#[test]
fn a_chain_of_another_simulated_manufacturer_is_refused() {
    let other = simulated::Platform::manufacture(NOW, COLLATERAL_SECONDS).expect("a platform");
    let theirs = Case::of(&other, Flavor::Snp);
    // Their evidence under our root: the names are the same, the keys are not.
    let mut case = case();
    case.bundle.evidence.clone_from(&theirs.bundle.evidence);
    case.assert_failed(&["snp-chip-id", "snp-report-signature"]);
    case.bundle.endorsements = theirs.bundle.endorsements.clone();
    case.assert_failed(&[
        "snp-crl-signature",
        "snp-enrolled-machine",
        "snp-intermediate-signature",
    ]);
    // One document of theirs among ours.
    for (kind, clauses) in [
        (EndorsementKind::SnpCrl, &["snp-crl-signature"][..]),
        (
            EndorsementKind::SnpIntermediate,
            &["snp-intermediate-signature", "snp-leaf-signature"],
        ),
        (
            EndorsementKind::SnpLeaf,
            &[
                "snp-chip-id",
                "snp-enrolled-machine",
                "snp-leaf-signature",
                "snp-report-signature",
            ],
        ),
    ] {
        let mut case = self::case();
        let document = theirs.bundle.endorsements.document(kind).expect("a document");
        case.bundle.endorsements.insert(kind, document.to_vec());
        case.assert_failed(clauses);
    }
}

#[test]
fn documents_in_each_others_place_are_refused() {
    let mut case = case();
    let ask = case
        .bundle
        .endorsements
        .document(EndorsementKind::SnpIntermediate)
        .expect("an ASK")
        .to_vec();
    let leaf = case
        .bundle
        .endorsements
        .document(EndorsementKind::SnpLeaf)
        .expect("a leaf")
        .to_vec();
    case.bundle.endorsements.insert(EndorsementKind::SnpLeaf, ask);
    let failed = case.failed();
    assert!(
        failed.contains("snp-leaf-signature") && failed.contains("snp-leaf-profile"),
        "{failed:?}"
    );
    case.bundle
        .endorsements
        .insert(EndorsementKind::SnpIntermediate, leaf);
    case.assert_failed(&["snp-root"]);
}

#[test]
fn a_revoked_intermediate_is_refused() {
    let mut platform = changeable_platform();
    let revoked = Publication {
        revoked: true,
        ..Publication::default()
    };
    adversary::publish(&mut platform, NOW, COLLATERAL_SECONDS, &revoked).expect("it is published");
    let case = Case::of(&platform, Flavor::Snp);
    case.assert_failed(&["snp-not-revoked"]);
    assert_eq!(case.appraise().expect_err("revoked").code(), "evidence-revoked");
}

#[test]
fn each_time_counts_to_the_second() {
    let mut platform = changeable_platform();
    adversary::reissue(&mut platform, Document::Vcek, NOW.plus_seconds(DAY), DAY).expect("it is issued");
    let case = Case::of(&platform, Flavor::Snp);
    let validity = &["snp-certificate-validity"][..];
    for (seconds, clauses) in [
        (DAY - 1, validity),
        (DAY, &[]),
        (DAY + 1, &[]),
        (2 * DAY - 1, &[]),
        (2 * DAY, &[]),
        (2 * DAY + 1, validity),
    ] {
        case.clone().at(NOW.plus_seconds(seconds)).assert_failed(clauses);
    }

    let list = &["snp-collateral-age", "snp-crl-current"][..];
    let age = &["snp-collateral-age"][..];
    let early = attestation::UnixTime::from_seconds(NOW.seconds() - 1);
    self::case().at(early).assert_failed(&[
        "snp-certificate-validity",
        "snp-collateral-age",
        "snp-crl-current",
    ]);
    for (seconds, clauses) in [
        (0, &[][..]),
        (COLLATERAL_AGE_SECONDS, &[]),
        (COLLATERAL_AGE_SECONDS + 1, age),
        (COLLATERAL_SECONDS, age),
        (COLLATERAL_SECONDS + 1, list),
    ] {
        self::case().at(NOW.plus_seconds(seconds)).assert_failed(clauses);
    }
}

#[test]
fn freshness_ends_with_whatever_ends_first() {
    let fresh_until = |case: Case| case.appraise().expect("accepted").fresh_until();
    assert_eq!(fresh_until(case()), NOW.plus_seconds(3600));
    let long = case().policy(
        "evidence_age_seconds_max = 3600",
        "evidence_age_seconds_max = 31000000",
    );
    // The statement's keys live 7200 seconds.
    assert_eq!(fresh_until(long.clone()), NOW.plus_seconds(7200));
    // The collateral's age ends before.
    let late = NOW.plus_seconds(COLLATERAL_AGE_SECONDS - 60);
    assert_eq!(fresh_until(long.clone().at(late)), late.plus_seconds(60));
    let older = long.policy(
        "collateral_age_seconds_max = 1728000",
        "collateral_age_seconds_max = 31000000",
    );
    let late = NOW.plus_seconds(COLLATERAL_SECONDS - 30);
    assert_eq!(fresh_until(older.at(late)), late.plus_seconds(30));

    let verified = case().appraise().expect("accepted");
    assert!(verified.is_fresh(NOW) && verified.is_fresh(NOW.plus_seconds(3600)));
    assert!(!verified.is_fresh(NOW.plus_seconds(3601)));
    assert!(!verified.is_fresh(attestation::UnixTime::from_seconds(NOW.seconds() - 1)));
}
