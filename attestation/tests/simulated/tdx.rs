//! Every rule of a TDX examination refuses what it should, and nothing else does.

use attestation::{Assurance, EndorsementKind, PlatformTag};
use simulated::Flavor;
use simulated::adversary::{self, Domain, Publication, QE_REPORT_AT};

use crate::support::{COLLATERAL_AGE_SECONDS, COLLATERAL_SECONDS, Case, NOW, changeable_platform, platform};

const BODY: usize = 48;

fn case() -> Case {
    Case::new(Flavor::Tdx)
}

/// The case with bytes of the quote changed by its own security processor, which signs anything.
fn with(changes: &[(usize, &[u8])]) -> Case {
    let mut case = case();
    for (offset, bytes) in changes {
        case.bundle.evidence[*offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    adversary::sign_quote(platform(), &mut case.bundle.evidence, Domain::Simulated).expect("a signature");
    case
}

fn published(publication: &Publication) -> Case {
    let mut platform = changeable_platform();
    adversary::publish(&mut platform, NOW, COLLATERAL_SECONDS, publication).expect("it is published");
    Case::of(&platform, Flavor::Tdx)
}

#[test]
fn simulated_tdx_evidence_is_accepted_and_says_so() {
    let case = case();
    case.assert_accepted();
    let verified = case.appraise().expect("accepted");
    assert_eq!(verified.assurance(), Assurance::Simulated);
    assert_eq!(verified.claims().platform(), PlatformTag::SimulatedIntelTdx);
    assert_eq!(verified.claims().hardware_id().len(), 16);
    with(&[]).assert_accepted();
}

#[test]
fn each_field_of_a_simulated_quote_is_checked() {
    for (changes, clauses) in [
        (&[(0, &[3][..])][..], &["tdx-quote-version"][..]),
        (&[(0, &[6])], &["tdx-quote-version"]),
        (&[(0, &[5])], &["tdx-quote-format"]),
        (&[(2, &[3])], &["tdx-quote-header"]),
        (&[(4, &[0])], &["tdx-quote-header"]),
        (&[(6, &[1])], &["tdx-quote-header"]),
        (&[(12, &[0])], &["tdx-quote-header"]),
        (&[(27, &[0])], &["tdx-quote-header"]),
        (&[(8, &[1])], &["tdx-reserved-zero"]),
        (&[(11, &[1])], &["tdx-reserved-zero"]),
        (&[(28, &[1])], &[]),
        // Versions: module 1.5 level 11, microcode 4.
        (&[(BODY, &[10])], &["tdx-module-level"]),
        (&[(BODY, &[12])], &[]),
        (&[(BODY + 1, &[2])], &["tdx-module-identity"]),
        (&[(BODY + 1, &[0])], &[]),
        (&[(BODY, &[4, 0])], &["tdx-platform-level"]),
        (&[(BODY + 2, &[3])], &["tdx-platform-level"]),
        (&[(BODY + 64, &[1])], &["tdx-module-identity"]),
        (&[(BODY + 111, &[1])], &["tdx-module-identity"]),
        (&[(BODY + 112, &[1])], &["tdx-module-identity"]),
        // Attributes: debug is any bit of byte 0, SEPT_VE_DISABLE bit 28, migratable 29, PKS 30.
        (&[(BODY + 120, &[1])], &["tdx-attributes", "tdx-debug"]),
        (&[(BODY + 120, &[0x80])], &["tdx-attributes", "tdx-debug"]),
        (&[(BODY + 123, &[0x00])], &["tdx-attributes"]),
        (&[(BODY + 123, &[0x30])], &["tdx-attributes"]),
        (&[(BODY + 123, &[0x50])], &["tdx-attributes"]),
        (&[(BODY + 127, &[0x80])], &["tdx-attributes"]),
        (&[(BODY + 128, &[0])], &["tdx-xfam"]),
        (&[(BODY + 136, &[0xaa])], &["tdx-mrtd"]),
        (&[(BODY + 183, &[0xaa])], &["tdx-mrtd"]),
        (&[(BODY + 184, &[1])], &["tdx-mrconfigid"]),
        (&[(BODY + 232, &[1])], &["tdx-mrowner"]),
        (&[(BODY + 280, &[1])], &["tdx-mrownerconfig"]),
        (&[(BODY + 328, &[1])], &["tdx-rtmr0"]),
        (&[(BODY + 376, &[1])], &["tdx-rtmr1"]),
        (&[(BODY + 424, &[1])], &["tdx-rtmr2"]),
        (&[(BODY + 472, &[1])], &["tdx-rtmr3"]),
        (&[(BODY + 519, &[1])], &["tdx-rtmr3"]),
        (&[(BODY + 520, &[0xaa])], &["report-data"]),
        (&[(BODY + 583, &[0xaa])], &["report-data"]),
        // The quoting enclave.
        (&[(QE_REPORT_AT + 16, &[1])], &["tdx-quoting-enclave"]),
        (&[(QE_REPORT_AT + 48, &[0x13])], &["tdx-quoting-enclave"]),
        (&[(QE_REPORT_AT + 48, &[0x15])], &[]),
        (&[(QE_REPORT_AT + 128, &[0])], &["tdx-quoting-enclave"]),
        (&[(QE_REPORT_AT + 256, &[3])], &["tdx-quoting-enclave"]),
        (&[(QE_REPORT_AT + 258, &[3])], &["tdx-qe-level"]),
        (&[(QE_REPORT_AT + 258, &[5])], &[]),
        (&[(QE_REPORT_AT + 352, &[1])], &["tdx-qe-report-binding"]),
    ] {
        assert_eq!(
            with(changes).failed(),
            clauses.iter().copied().collect(),
            "{changes:02x?}"
        );
    }
}

#[test]
fn what_the_signatures_leave_out_is_bound_or_zero() {
    // Authentication data of the quoting enclave.
    let mut case = case();
    case.bundle.evidence[QE_REPORT_AT + 384 + 64 + 2] ^= 1;
    case.assert_failed(&["tdx-qe-report-binding"]);
    // The two signatures.
    let mut case = self::case();
    case.bundle.evidence[BODY + 584 + 4] ^= 1;
    case.assert_failed(&["tdx-quote-signature"]);
    let mut case = self::case();
    case.bundle.evidence[QE_REPORT_AT + 384] ^= 1;
    case.assert_failed(&["tdx-qe-report-signature"]);
    // Padding.
    let mut case = self::case();
    case.bundle.evidence.extend([0; 70]);
    case.assert_accepted();
    case.bundle.evidence.push(1);
    case.assert_failed(&["tdx-reserved-zero"]);
}

/// The quote in version 5 with the body of TDX 1.5 (type 3) and a service TD.
fn version_5(mrservicetd: u8, change: impl FnOnce(&mut Vec<u8>)) -> Case {
    let mut case = case();
    let quote = &case.bundle.evidence;
    let mut changed = [
        &quote[..BODY],
        &[3, 0],
        &648u32.to_le_bytes(),
        &quote[BODY..BODY + 584],
        &[0; 64],
    ]
    .concat();
    changed.extend(&quote[BODY + 584..]);
    changed[0] = 5;
    changed[BODY + 6 + 600] = mrservicetd;
    change(&mut changed);
    adversary::sign_quote(platform(), &mut changed, Domain::Simulated).expect("a signature");
    case.bundle.evidence = changed;
    case
}

#[test]
fn version_5_quotes_show_service_tds() {
    version_5(0, |_| {}).assert_accepted();
    version_5(1, |_| {}).assert_failed(&["tdx-service-td"]);
    version_5(0, |quote| quote[BODY] = 2).assert_failed(&["tdx-quote-format"]);
    version_5(0, |quote| quote[BODY] = 1).assert_failed(&["tdx-quote-format"]);
    version_5(0, |quote| quote[BODY + 6 + 136] ^= 1).assert_failed(&["tdx-mrtd"]);
}

/// The quote with other certificates in it.
fn with_chain(chain: impl FnOnce(Vec<String>) -> Vec<String>) -> Case {
    const BEGIN: &str = "-----BEGIN";
    let mut case = case();
    let quote = case.bundle.evidence.clone();
    let at = quote
        .windows(BEGIN.len())
        .position(|window| window == BEGIN.as_bytes())
        .expect("PEM");
    let text = std::str::from_utf8(&quote[at..]).expect("PEM");
    let certificates = text
        .split(BEGIN)
        .skip(1)
        .map(|rest| format!("{BEGIN}{rest}"))
        .collect();
    let pem = chain(certificates).concat();
    let mut changed = [&quote[..at], pem.as_bytes()].concat();
    let mut put = |offset: usize, length: usize| {
        changed[offset..offset + 4].copy_from_slice(&u32::try_from(length).expect("small").to_le_bytes());
    };
    put(at - 4, pem.len());
    put(QE_REPORT_AT - 4, at + pem.len() - QE_REPORT_AT);
    put(BODY + 584, at + pem.len() - (BODY + 588));
    case.bundle.evidence = changed;
    case
}

#[test]
fn the_chain_in_the_quote_is_exactly_pck_ca_and_root() {
    with_chain(|chain| chain).assert_accepted();
    with_chain(|chain| chain[..2].to_vec()).assert_failed(&["tdx-certificates"]);
    with_chain(|chain| [&chain[..], &chain[2..]].concat()).assert_failed(&["tdx-certificates"]);
    with_chain(|chain| {
        vec!["-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n".into(); chain.len()]
    })
    .assert_failed(&["tdx-certificates"]);
    // The root is the policy's, byte for byte; the CA is no PCK.
    with_chain(|chain| vec![chain[0].clone(), chain[1].clone(), chain[1].clone()])
        .assert_failed(&["tdx-pck-chain"]);
    with_chain(|chain| vec![chain[1].clone(), chain[1].clone(), chain[2].clone()]).assert_failed(&[
        "tdx-pck-chain",
        "tdx-pck-profile",
        "tdx-qe-report-signature",
    ]);
}

#[test]
fn the_policy_decides_on_attributes_machines_and_evaluation_number() {
    with(&[(BODY + 123, &[0x50])])
        .policy("xfam =", "td_attributes = [0x5000_0000]\nxfam =")
        .assert_accepted();
    case()
        .policy("evaluation_number_minimum = 20", "evaluation_number_minimum = 21")
        .assert_failed(&["tdx-evaluation-number"]);
    let machines = case()
        .policy
        .lines()
        .find(|line| line.starts_with("enrolled"))
        .expect("a line")
        .to_owned();
    case()
        .policy(&machines, "enrolled_machines = [\"00\"]")
        .assert_failed(&["tdx-enrolled-machine"]);
}

#[test]
fn each_endorsement_is_required() {
    let signer = &[
        "tdx-qe-identity-signature",
        "tdx-tcb-info-signature",
        "tdx-tcb-signer",
    ][..];
    for (kind, clauses) in [
        (EndorsementKind::TdxRootCrl, &["tdx-crl-signatures"][..]),
        (EndorsementKind::TdxPckCrl, &["tdx-crl-signatures"]),
        (EndorsementKind::TdxTcbInfo, &["tdx-tcb-info-signature"]),
        (EndorsementKind::TdxQeIdentity, &["tdx-qe-identity-signature"]),
        (EndorsementKind::TdxTcbSigningChain, signer),
    ] {
        let mut case = case();
        case.bundle.endorsements.remove(kind);
        case.assert_failed(clauses);
    }
}

#[test]
fn the_two_revocation_lists_do_not_stand_for_each_other() {
    let mut case = case();
    let root = case
        .bundle
        .endorsements
        .document(EndorsementKind::TdxRootCrl)
        .expect("a list")
        .to_vec();
    case.bundle.endorsements.insert(EndorsementKind::TdxPckCrl, root);
    case.assert_failed(&["tdx-crl-signatures"]);
}

#[test]
fn platform_module_and_quoting_enclave_converge() {
    let good = Publication::default();
    for status in ["SWHardeningNeeded", "ConfigurationNeeded", "OutOfDate"] {
        for publication in [
            Publication {
                platform_status: status,
                ..good
            },
            Publication {
                module_status: status,
                ..good
            },
            Publication {
                qe_status: status,
                ..good
            },
        ] {
            published(&publication).assert_failed(&["tdx-tcb-status"]);
        }
    }
    for (publication, level) in [
        (
            Publication {
                platform_status: "Revoked",
                ..good
            },
            "tdx-platform-level",
        ),
        (
            Publication {
                module_status: "Revoked",
                ..good
            },
            "tdx-module-level",
        ),
        (
            Publication {
                qe_status: "Revoked",
                ..good
            },
            "tdx-qe-level",
        ),
    ] {
        published(&publication).assert_failed(&[level, "tdx-tcb-status"]);
    }
}

#[test]
fn an_exception_names_status_advisories_and_end() {
    let publication = Publication {
        platform_status: "SWHardeningNeeded",
        advisories: &["INTEL-SA-00001", "INTEL-SA-00002"],
        ..Publication::default()
    };
    let case = published(&publication);
    let except = |status: &str, advisories: &str, until: &str| {
        let exception = format!(
            "{}\n[[danger.simulated.tdx.tcb_exceptions]]\nstatus = \"{status}\"\nadvisories = {advisories}\nuntil = \"{until}\"\n",
            case.policy
        );
        Case {
            policy: exception,
            ..case.clone()
        }
    };
    let both = "[\"INTEL-SA-00001\", \"INTEL-SA-00002\"]";
    let until = NOW.plus_seconds(60).to_string();
    let accepted = except("SWHardeningNeeded", both, &until);
    accepted.assert_accepted();
    assert_eq!(
        accepted.appraise().expect("accepted").fresh_until(),
        NOW.plus_seconds(60)
    );
    accepted
        .at(NOW.plus_seconds(61))
        .assert_failed(&["tdx-tcb-status"]);
    except("SWHardeningNeeded", "[\"INTEL-SA-00001\"]", &until).assert_failed(&["tdx-tcb-status"]);
    except("ConfigurationNeeded", both, &until).assert_failed(&["tdx-tcb-status"]);
}

#[test]
fn a_revoked_pck_is_refused() {
    let case = published(&Publication {
        revoked: true,
        ..Publication::default()
    });
    case.assert_failed(&["tdx-not-revoked"]);
    assert_eq!(case.appraise().expect_err("revoked").code(), "evidence-revoked");
}

#[test]
fn collateral_about_something_else_is_refused() {
    published(&Publication {
        tcb_info_id: "SGX",
        ..Publication::default()
    })
    .assert_failed(&["tdx-tcb-info-subject"]);
    published(&Publication {
        qe_identity_id: "QE",
        ..Publication::default()
    })
    .assert_failed(&["tdx-qe-identity-subject"]);
}

#[test]
fn a_chain_of_another_simulated_manufacturer_is_refused() {
    let other = simulated::Platform::manufacture(NOW, COLLATERAL_SECONDS).expect("a platform");
    let theirs = Case::of(&other, Flavor::Tdx);
    let mut case = case();
    case.bundle.evidence.clone_from(&theirs.bundle.evidence);
    case.assert_failed(&["tdx-crl-signatures", "tdx-enrolled-machine", "tdx-pck-chain"]);
    for (kind, clauses) in [
        (EndorsementKind::TdxTcbInfo, &["tdx-tcb-info-signature"][..]),
        (EndorsementKind::TdxQeIdentity, &["tdx-qe-identity-signature"]),
        (EndorsementKind::TdxRootCrl, &["tdx-crl-signatures"]),
        (EndorsementKind::TdxPckCrl, &["tdx-crl-signatures"]),
        (
            EndorsementKind::TdxTcbSigningChain,
            &[
                "tdx-qe-identity-signature",
                "tdx-tcb-info-signature",
                "tdx-tcb-signer",
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
fn each_time_counts_to_the_second() {
    let early = attestation::UnixTime::from_seconds(NOW.seconds() - 1);
    let all = [
        "tdx-certificate-validity",
        "tdx-collateral-age",
        "tdx-collateral-current",
        "tdx-crl-current",
    ];
    case().at(early).assert_failed(&all);
    let ended = &["tdx-collateral-age", "tdx-collateral-current", "tdx-crl-current"][..];
    for (seconds, clauses) in [
        (0, &[][..]),
        (COLLATERAL_AGE_SECONDS, &[]),
        (COLLATERAL_AGE_SECONDS + 1, &["tdx-collateral-age"]),
        (COLLATERAL_SECONDS, &["tdx-collateral-age"]),
        (COLLATERAL_SECONDS + 1, ended),
    ] {
        case().at(NOW.plus_seconds(seconds)).assert_failed(clauses);
    }
}
