//! What people are shown of a clause, and bounds that no other test comes near.

use alloc::format;
use alloc::string::String;

use simulated::Flavor;

use super::{ASKED, Case, FLAVORS, VM_ID, verifier};
use crate::azure::evidence::subject;
use crate::azure::hcl::HclReport;
use crate::tpm::testkit::{EK, Issue, NOW, attestation_key, extended_key_usage, intermediate};
use crate::{snp, tdx};

/// What a clause expects, and what it found.
fn shown(case: &Case, id: &str) -> (String, String) {
    let explanation = verifier(&case.policy).explain_azure_evidence(
        case.tag(),
        &case.evidence,
        None,
        &case.endorsements,
        Some(&ASKED),
        NOW,
    );
    let clause = explanation.clauses.into_iter().find(|clause| clause.id == id);
    let clause = clause.expect("the clause was examined");
    (clause.expected, clause.found)
}

fn words(expected: &str, found: &str) -> (String, String) {
    (expected.into(), found.into())
}

#[test]
fn report_and_hash_are_called_by_name() {
    for (flavor, name) in [(Flavor::Snp, "SNP"), (Flavor::Tdx, "TDX")] {
        assert_eq!(shown(&Case::new(flavor), "azure-report-type"), words(name, name));
        let mut case = Case::new(flavor);
        case.report_type = 7;
        assert_eq!(shown(&case.launch(), "azure-report-type"), words(name, "type 7"));
    }
    let any = "SHA-256, SHA-384 or SHA-512";
    for (number, name) in [(1, "SHA-256"), (2, "SHA-384"), (3, "SHA-512"), (9, "hash type 9")] {
        let mut case = Case::new(Flavor::Snp);
        case.hash_type = number;
        assert_eq!(shown(&case.launch(), "azure-hash-type"), words(any, name));
    }
}

#[test]
fn settings_are_shown_as_they_are_said() {
    let case = Case::new(Flavor::Snp);
    assert_eq!(shown(&case, "azure-vm-id"), words(VM_ID, VM_ID));
    let absent = case.clone().setting("vmUniqueId", "another");
    assert_eq!(shown(&absent, "azure-vm-id"), words(VM_ID, "not said"));
    let other = VM_ID.replace("3c18", "4d29");
    let two = case
        .clone()
        .policy(&format!("[\"{VM_ID}\"]"), &format!("[\"{other}\", \"{VM_ID}\"]"));
    assert_eq!(
        shown(&two, "azure-vm-id"),
        words(&format!("{other} or {VM_ID}"), VM_ID)
    );
    let any = case.policy(&format!("[\"{VM_ID}\"]"), "\"any\"");
    assert_eq!(shown(&any, "azure-vm-id"), words("any", VM_ID));
}

#[test]
fn an_exception_is_named_where_it_is_taken() {
    for (id, exception, expected) in [
        ("azure-secure-boot", "secure-boot-disabled", "true"),
        ("azure-console", "console-enabled", "false"),
        ("azure-interactive-console", "interactive-console", "false"),
        ("azure-ipmi", "ipmi-enabled", "false"),
        ("azure-filtered-devices", "filtered-devices", "false"),
        ("azure-tpm-persisted", "persisted-vtpm", "false"),
    ] {
        let strict = Case::new(Flavor::Snp);
        assert_eq!(shown(&strict, id).0, expected, "{id}");
        let taken = format!("{expected}, or the exception {exception}");
        assert_eq!(shown(&strict.excepting(exception), id).0, taken);
    }
    let mut without = Case::new(Flavor::Snp).excepting("absent-ak-certificate");
    without.endorsements.remove(super::CHAIN);
    let expected = "certificates, or the exception absent-ak-certificate";
    assert_eq!(
        shown(&without, "azure-ak-certificates"),
        words(expected, "the exception")
    );
}

#[test]
fn a_chain_is_said_to_be_of_what_it_certifies() {
    let case = Case::new(Flavor::Snp);
    assert_eq!(shown(&case, "azure-ak-chain").1, "valid");
    let mut other = Issue::leaf(attestation_key());
    other.extensions.push(extended_key_usage(&[EK]));
    let other = case.chain(&[other.issue(), intermediate()]);
    assert_eq!(
        shown(&other, "azure-ak-chain").1,
        "not that of an attestation key"
    );
}

#[test]
fn user_data_are_a_text_or_absent() {
    let case = || Case::new(Flavor::Snp);
    let zeros = format!("\"{}\"", "00".repeat(64));
    for other in ["7", "null", "[]", "{}", "true"] {
        case().setting(&zeros, other).refused(&["azure-runtime-data"]);
        let excepted = case().excepting("absent-user-data");
        excepted.setting(&zeros, other).refused(&["azure-runtime-data"]);
    }
}

#[test]
fn a_report_has_its_bound() {
    let case = Case::new(Flavor::Snp);
    let of = |bytes: usize| {
        let mut report = case.evidence.hcl_report.clone();
        report.resize(bytes, 0);
        HclReport::parse(&report).is_some()
    };
    assert_eq!((of(8192), of(8193)), (true, false));
}

#[test]
fn a_td_report_is_of_version_0_or_1() {
    // REPORTTYPE is under the hardware's MAC alone, which nobody outside can check: only its words are judged.
    for (version, clauses) in [
        (0, &[][..]),
        (1, &[]),
        (2, &["azure-td-report"]),
        (0xff, &["azure-td-report"]),
    ] {
        let case = Case::new(Flavor::Tdx);
        case.change(|evidence| evidence.hcl_report[32 + 2] = version)
            .refused(clauses);
    }
}

#[test]
fn the_subject_is_the_processors() {
    for flavor in FLAVORS {
        let case = Case::new(flavor);
        let inner = match &case.evidence.td_quote {
            Some(quote) => tdx::subject(&tdx::Quote::parse(quote).expect("a quote")),
            None => {
                let report = &case.evidence.hcl_report[32..32 + 1184];
                Some(snp::subject(&snp::Report::parse(report).expect("a report")))
            }
        };
        let evidence = case.evidence.encode().expect("it fits");
        assert!(inner.as_ref().is_some_and(|subject| !subject.is_empty()));
        assert_eq!(subject(&evidence), inner);
        assert_eq!(subject(&evidence[1..]), None);
    }
}
