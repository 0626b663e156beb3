//! Documents that are signed as they should be and say something else than they should: certificates of the wrong
//! name or purpose, collateral about something else. On the simulated platform, whose manufacturers sign anything.

use attestation::AppraisalPolicy;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use simulated::Flavor;
use simulated::adversary::{self, Document, Domain, Flaw, Publication, QE_REPORT_AT};

use crate::support::{COLLATERAL_SECONDS, Case, DAY, NOW, changeable_platform};

#[test]
fn each_flaw_of_each_simulated_certificate_is_refused() {
    use Document::{Ask, Pck, PckCa, TcbSigner, Vcek};
    use Flaw::{CriticalProfile, Renamed, Rewritten, UnknownCritical, WrongPurpose};
    let (intermediate, chain, signer) = (
        &["snp-intermediate-signature"][..],
        &["tdx-pck-chain"][..],
        &["tdx-tcb-signer"][..],
    );
    for (flavor, document, flaw, clauses) in [
        // What an issuer issued names the issuer.
        (
            Flavor::Snp,
            Ask,
            Renamed,
            &["snp-intermediate-signature", "snp-leaf-signature"][..],
        ),
        (Flavor::Snp, Ask, WrongPurpose, intermediate),
        (Flavor::Snp, Ask, UnknownCritical, intermediate),
        (Flavor::Snp, Vcek, Renamed, &["snp-leaf-profile"]),
        (Flavor::Snp, Vcek, WrongPurpose, &["snp-leaf-profile"]),
        (Flavor::Snp, Vcek, UnknownCritical, &["snp-leaf-profile"]),
        (Flavor::Snp, Vcek, CriticalProfile, &["snp-leaf-profile"]),
        (
            Flavor::Snp,
            Vcek,
            Rewritten(b"Genoa", b"Milan"),
            &["snp-leaf-profile"],
        ),
        (
            Flavor::Tdx,
            PckCa,
            Renamed,
            &["tdx-crl-signatures", "tdx-pck-chain"],
        ),
        (Flavor::Tdx, PckCa, WrongPurpose, chain),
        (Flavor::Tdx, PckCa, UnknownCritical, chain),
        (Flavor::Tdx, Pck, Renamed, chain),
        (Flavor::Tdx, Pck, WrongPurpose, chain),
        (Flavor::Tdx, Pck, UnknownCritical, chain),
        // The first component under another arc, and as another component: ends of the identifier 1.13.1.2.1.
        (
            Flavor::Tdx,
            Pck,
            Rewritten(&[0x0d, 1, 2, 1], &[0x0d, 1, 3, 1]),
            &["tdx-pck-profile"],
        ),
        (
            Flavor::Tdx,
            Pck,
            Rewritten(&[0x0d, 1, 2, 1], &[0x0d, 1, 2, 19]),
            &["tdx-pck-profile"],
        ),
        (Flavor::Tdx, TcbSigner, Renamed, signer),
        (Flavor::Tdx, TcbSigner, WrongPurpose, signer),
        (Flavor::Tdx, TcbSigner, UnknownCritical, signer),
    ] {
        let mut platform = changeable_platform();
        adversary::reissue_flawed(&mut platform, document, flaw, NOW, DAY).expect("it is issued");
        let failed = Case::of(&platform, flavor).failed();
        assert_eq!(failed, clauses.iter().copied().collect(), "{document:?} {flaw:?}");
    }
}

#[test]
fn words_beside_a_refused_simulated_chain_tell_which_part_is_wrong() {
    for (document, flaw, found) in [
        (Document::Pck, Flaw::Renamed, "other certificates"),
        (Document::Pck, Flaw::WrongPurpose, "other certificates"),
        (Document::PckCa, Flaw::WrongPurpose, "other certificates"),
    ] {
        let mut platform = changeable_platform();
        adversary::reissue_flawed(&mut platform, document, flaw, NOW, DAY).expect("it is issued");
        let case = Case::of(&platform, Flavor::Tdx);
        let explanation = case.verifier().explain(&case.bundle, &case.nonce, case.now);
        let chain = explanation
            .clauses
            .iter()
            .find(|clause| clause.id == "tdx-pck-chain")
            .expect("the clause");
        assert_eq!(chain.found, found, "{document:?} {flaw:?}");
    }
}

/// An anchor is self-issued and an authority: neither half is enough.
#[test]
fn a_simulated_root_that_another_issued_or_that_may_not_issue_is_no_anchor() {
    let reads = |policy: &str| AppraisalPolicy::from_toml(policy).is_ok();
    let mut platform = changeable_platform();
    let case = Case::of(&platform, Flavor::Tdx);
    assert!(reads(&case.policy));
    let folder = tempfile::tempdir().expect("a folder");
    platform.save(folder.path()).expect("it is saved");
    let base64 =
        |name: &str| STANDARD.encode(std::fs::read(folder.path().join(name)).expect("a certificate"));
    let (root, ca) = (base64("tdx-root.der"), base64("tdx-ca.der"));
    assert!(case.policy.contains(&root));
    assert!(
        !reads(&case.policy.replace(&root, &ca)),
        "an authority that the root issued"
    );
    adversary::reissue_flawed(&mut platform, Document::Root, Flaw::WrongPurpose, NOW, DAY)
        .expect("it is issued");
    assert!(
        !reads(&Case::of(&platform, Flavor::Tdx).policy),
        "self-issued, and a signer"
    );
}

fn published(publication: &Publication) -> (simulated::Platform, Case) {
    let mut platform = changeable_platform();
    adversary::publish(&mut platform, NOW, COLLATERAL_SECONDS, publication).expect("it is published");
    let case = Case::of(&platform, Flavor::Tdx);
    (platform, case)
}

#[test]
fn each_certificate_that_the_simulated_root_revoked_is_refused() {
    for revoked in [
        &[Document::PckCa][..],
        &[Document::TcbSigner],
        &[Document::PckCa, Document::TcbSigner],
    ] {
        let publication = Publication {
            revoked_by_root: revoked,
            ..Publication::default()
        };
        let (_, case) = published(&publication);
        case.assert_failed(&["tdx-not-revoked"]);
        assert_eq!(case.appraise().expect_err("revoked").code(), "evidence-revoked");
    }
}

#[test]
fn each_thing_that_simulated_collateral_says_otherwise_is_refused() {
    let (subject, enclave, module) = (
        &["tdx-tcb-info-subject"][..],
        &["tdx-quoting-enclave"][..],
        &["tdx-module-identity"][..],
    );
    let tcb_info = &["tdx-tcb-info-signature"][..];
    let both = &["tdx-qe-identity-signature", "tdx-tcb-info-signature"][..];
    for (from, to, clauses) in [
        // What TCB info is about.
        ("\"version\":3", "\"version\":4", subject),
        ("\"version\":3", "\"version\":2", subject),
        ("\"tcbType\":0", "\"tcbType\":1", subject),
        ("514D554C0000", "514D554C0001", subject),
        ("\"pceId\":\"0000\"", "\"pceId\":\"0001\"", subject),
        ("\"version\":2", "\"version\":1", &["tdx-qe-identity-subject"]),
        // What the quoting enclave and the module must be.
        (
            "\"miscselect\":\"00000000\"",
            "\"miscselect\":\"01000000\"",
            enclave,
        ),
        ("\"attributes\":\"1100", "\"attributes\":\"1500", &[]),
        ("\"attributes\":\"1100", "\"attributes\":\"1300", enclave),
        ("\"isvprodid\":2", "\"isvprodid\":1", enclave),
        ("\"id\":\"TDX_01\"", "\"id\":\"TDX_03\"", module),
        (
            "\"attributes\":\"0000000000000000\"",
            "\"attributes\":\"0000000000000001\"",
            module,
        ),
        // Members that are missing, doubled, or of another form.
        ("\"tcbType\":0,", "", tcb_info),
        ("\"tcbType\":0", "\"tcbType\":0,\"tcbType\":0", tcb_info),
        ("\"tcbType\":0", "\"tcbType\":\"0\"", tcb_info),
        ("\"pcesvn\":13", "\"pcesvn\":65536", tcb_info),
        ("\"pcesvn\":13", "\"pcesvn\":-1", tcb_info),
        ("[{\"svn\":5},", "[", tcb_info),
        ("\"UpToDate\"", "\"Fine\"", both),
        ("\"nextUpdate\":\"20", "\"nextUpdate\":\"", both),
        ("\"issueDate\":", "\"issuedate\":", both),
        // What nobody here knows is signed and means nothing.
        ("\"tcbType\":0", "\"tcbType\":0,\"more\":[1]", &[]),
    ] {
        let publication = Publication {
            rewritten: (from, to),
            ..Publication::default()
        };
        let failed = published(&publication).1.failed();
        assert_eq!(failed, clauses.iter().copied().collect(), "{from} {to}");
    }
}

/// An identity whose mask leaves the debug bit out: a quoting enclave under debug is refused all the same.
#[test]
fn a_simulated_quoting_enclave_under_debug_is_refused_whatever_the_mask_says() {
    let publication = Publication {
        rewritten: ("\"FBFFFFFF", "\"F9FFFFFF"),
        ..Publication::default()
    };
    let (platform, mut case) = published(&publication);
    case.assert_accepted();
    case.bundle.evidence[QE_REPORT_AT + 48] = 0x13;
    adversary::sign_quote(&platform, &mut case.bundle.evidence, Domain::Simulated).expect("a signature");
    case.assert_failed(&["tdx-quoting-enclave"]);
}
