//! Bundles, encodings, and what is shown of them.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use proptest::prelude::*;
use simulated::Flavor;

use super::{Case, FLAVORS, PARAVISOR, PCRS, VM_ID, runtime, values, verifier};
use crate::azure::AzureEvidence;
use crate::azure::hcl::{HclReport, assemble};
use crate::azure::runtime::RuntimeData;
use crate::event_log::EventKind;
use crate::tpm::testkit::{Issue, Log, Message, NOW, attestation_key, intermediate, statement_fields};
use crate::{
    AppraisalError, Bundle, Nonce, PlatformTag, Statement, StatementFields, inspect, vtpm_qualifying_data,
};

fn statement() -> Statement {
    statement_of([1; 32])
}

fn statement_of(receipt_key: [u8; 32]) -> Statement {
    let fields = StatementFields {
        receipt_key,
        ..statement_fields()
    };
    fields.encode().expect("a statement")
}

/// An appraisal of a whole bundle: its nonce and statement are what the vTPM signed.
#[test]
fn a_bundle_is_bound_to_statement_and_nonce_by_the_quote() {
    let statement = statement();
    let nonce = Nonce::from_bytes([6; 32]);
    let asked = vtpm_qualifying_data(&statement.report_data(&nonce));
    for flavor in FLAVORS {
        let case = Case::new(flavor).message(&Message::new(&asked, &PCRS, &values()));
        let bundle = Bundle {
            platform: case.tag(),
            evidence: case.evidence.encode().expect("it fits"),
            statement: statement.statement_bytes().to_vec(),
            event_log: None,
            devices: Vec::new(),
            endorsements: case.endorsements.clone(),
        };
        let bundle = Bundle::decode(&bundle.encode().expect("it fits")).expect("a bundle");
        let verifier = verifier(&case.policy);
        let verified = verifier.appraise(&bundle, &nonce, NOW).expect("accepted");
        assert_eq!(verified.claims().platform(), case.tag());
        assert_eq!(verified.claims().launch_measurement(), &PARAVISOR);
        let vtpm = verified.claims().vtpm().expect("a vTPM");
        assert_eq!((vtpm.reset_count, vtpm.restart_count), (3, 1));
        assert_eq!(vtpm.firmware_version, 0x2020_0312_0012_0003);
        let refused = |bundle: &Bundle, nonce: &Nonce| match verifier.appraise(bundle, nonce, NOW) {
            Err(AppraisalError::Mismatch(clause)) => clause.id,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(&bundle, &Nonce::from_bytes([7; 32])), "vtpm-extra-data");
        let mut other = bundle.clone();
        other.statement = statement_of([2; 32]).statement_bytes().to_vec();
        assert_eq!(refused(&other, &nonce), "vtpm-extra-data");
        // A statement that nobody can read leaves the question open, and open questions refuse.
        other.statement.clear();
        assert!(verifier.appraise(&other, &nonce, NOW).is_err());
        let processor = match flavor {
            Flavor::Snp => (PlatformTag::AmdSevSnp, &case.evidence.hcl_report[32..32 + 1184]),
            Flavor::Tdx => (
                PlatformTag::IntelTdx,
                case.evidence.td_quote.as_deref().expect("a quote"),
            ),
        };
        assert_eq!(
            crate::endorsement_subject(bundle.platform, &bundle.evidence),
            crate::endorsement_subject(processor.0, processor.1)
        );
    }
}

#[test]
fn a_log_tells_the_boot_that_was_quoted() {
    let statement = statement();
    let nonce = Nonce::from_bytes([6; 32]);
    let asked = vtpm_qualifying_data(&statement.report_data(&nonce));
    let log = Log::default().event(11, EventKind::IPL, b"kernel_cmdline: quiet");
    let values = [&[1; 32][..], &log.value(11)].concat();
    for flavor in FLAVORS {
        let case = Case::new(flavor)
            .message(&Message::new(&asked, &PCRS, &values))
            .policy(&hex::encode([2; 32]), &hex::encode(log.value(11)))
            .change(|evidence| evidence.pcr_values = values.clone());
        let mut bundle = Bundle {
            platform: case.tag(),
            evidence: case.evidence.encode().expect("it fits"),
            statement: statement.statement_bytes().to_vec(),
            event_log: Some(log.bytes()),
            endorsements: case.endorsements.clone(),
            devices: Vec::new(),
        };
        let verifier = verifier(&case.policy);
        let verified = verifier.appraise(&bundle, &nonce, NOW).expect("accepted");
        let boot = verified.claims().boot();
        assert!(
            boot.iter().any(|field| field.value.to_string().contains("quiet")),
            "{boot:?}"
        );
        let other = Log::default().event(11, EventKind::IPL, b"kernel_cmdline: debug");
        bundle.event_log = Some(other.bytes());
        let error = verifier.appraise(&bundle, &nonce, NOW).expect_err("another log");
        assert_eq!(error.clause().id, "vtpm-event-log");
        bundle.event_log = None;
        let verified = verifier.appraise(&bundle, &nonce, NOW).expect("accepted");
        assert!(verified.claims().boot().is_empty());
    }
}

#[test]
fn reliance_ends_with_the_certificates_of_the_key() {
    let statement = statement();
    let nonce = Nonce::from_bytes([6; 32]);
    let asked = vtpm_qualifying_data(&statement.report_data(&nonce));
    // 20 seconds after `NOW`.
    let leaf = Issue {
        not_after: "20261118110700Z",
        ..Issue::leaf(attestation_key())
    };
    let case = Case::new(Flavor::Snp)
        .message(&Message::new(&asked, &PCRS, &values()))
        .chain(&[leaf.issue(), intermediate()]);
    let bundle = Bundle {
        platform: case.tag(),
        evidence: case.evidence.encode().expect("it fits"),
        statement: statement.statement_bytes().to_vec(),
        event_log: None,
        endorsements: case.endorsements.clone(),
        devices: Vec::new(),
    };
    let verified = verifier(&case.policy)
        .appraise(&bundle, &nonce, NOW)
        .expect("accepted");
    assert_eq!(verified.fresh_until(), NOW.plus_seconds(20));
}

#[test]
fn evidence_has_one_encoding_within_its_bounds() {
    for flavor in FLAVORS {
        let evidence = Case::new(flavor).evidence;
        let bytes = evidence.encode().expect("it fits");
        assert_eq!(AzureEvidence::decode(&bytes).as_ref(), Ok(&evidence));
        for end in 0..bytes.len() {
            assert!(AzureEvidence::decode(&bytes[..end]).is_err());
        }
        assert!(AzureEvidence::decode(&[&bytes[..], &[0]].concat()).is_err());
        let mut second = bytes.clone();
        second[2] = 2;
        assert_eq!(
            AzureEvidence::decode(&second),
            Err(crate::BundleError::UnknownVersion(2))
        );
        // A version in two bytes where one is enough.
        let mut longer = bytes.clone();
        longer.splice(2..3, [0x18, 0x01]);
        assert_eq!(
            AzureEvidence::decode(&longer),
            Err(crate::BundleError::NotCanonical)
        );
        let over = |change: &dyn Fn(&mut AzureEvidence)| {
            let mut evidence = evidence.clone();
            change(&mut evidence);
            assert_eq!(evidence.encode(), Err(crate::BundleError::Bound));
        };
        over(&|evidence| evidence.hcl_report.resize(8 * 1024 + 1, 0));
        over(&|evidence| evidence.td_quote = Some(alloc::vec![0; 16 * 1024 + 1]));
        over(&|evidence| evidence.quote_message.resize(1025, 0));
        over(&|evidence| evidence.quote_signature.resize(513, 0));
        over(&|evidence| evidence.pcr_values.resize(769, 0));
        let largest = AzureEvidence {
            hcl_report: alloc::vec![0; 8 * 1024],
            td_quote: Some(alloc::vec![0; 16 * 1024]),
            quote_message: alloc::vec![0; 1024],
            quote_signature: alloc::vec![0; 512],
            pcr_values: alloc::vec![0; 768],
        };
        let bytes = largest.encode().expect("it fits");
        assert_eq!(AzureEvidence::decode(&bytes), Ok(largest));
    }
}

#[test]
fn fields_of_a_report_are_shown() {
    for flavor in FLAVORS {
        let case = Case::new(flavor);
        let fields = inspect(&case.evidence.hcl_report).expect("a report");
        let value = |name: &str| {
            let mut fields = fields.iter();
            fields
                .find(|field| field.name == name)
                .map(|field| field.value.to_string())
        };
        assert_eq!(value("keys").as_deref(), Some("HCLAkPub, HCLEkPub"));
        assert_eq!(value("HCLAkPub"), Some(hex::encode(attestation_key().modulus())));
        assert_eq!(value("secure-boot").as_deref(), Some("true"));
        assert_eq!(value("vmUniqueId").as_deref(), Some(VM_ID));
        let measurement = match flavor {
            Flavor::Snp => "MEASUREMENT",
            Flavor::Tdx => "MRTD",
        };
        assert_eq!(value(measurement), Some(hex::encode(PARAVISOR)));
    }
    assert!(inspect(b"HCLA").is_none());
}

proptest! {
    #[test]
    fn no_parser_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400), at in 0usize..2700, end in any::<bool>()) {
        let report = assemble(2, 1, &[7; 1184], runtime().as_bytes());
        let mut changed = report.clone();
        let at = at.min(changed.len());
        changed.splice(at..(at + bytes.len()).min(report.len()), bytes.iter().copied());
        if end {
            changed.truncate(at);
        }
        for bytes in [&bytes, &changed] {
            if let Some(report) = HclReport::parse(bytes) {
                let _ = report.hash_type().map(|hash| hash.report_data(report.runtime_data));
            }
            let _ = inspect(bytes);
            let _ = AzureEvidence::decode(bytes);
            let _ = crate::azure::subject(bytes);
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut claims = runtime().into_bytes();
        let at = at.min(claims.len());
        claims.splice(at..at, text.bytes());
        for bytes in [&bytes[..], text.as_bytes(), &claims] {
            if let Some(runtime) = RuntimeData::parse(bytes) {
                let _ = (runtime.attestation_key(), runtime.key_names());
            }
        }
    }
}
