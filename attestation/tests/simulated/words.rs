//! What a relying party reads: claims of verified evidence, and the words of kinds, questions and outcomes.

use attestation::{
    AppraisalPolicy, Assurance, DeviceEvidence, DeviceKind, EndorsementKind, Endorsements, EventLog,
    FieldValue, Nonce, Outcome, PlatformTag, Question, Role, UnixTime, catalogue, inspect,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use simulated::Flavor;

use crate::support::{Case, EVIDENCE_AGE_SECONDS, NOW};

#[test]
fn claims_are_those_of_the_evidence() {
    let (snp, tdx) = (Case::new(Flavor::Snp), Case::new(Flavor::Tdx));
    let verified = snp.appraise().expect("accepted");
    let (claims, report) = (verified.claims(), &snp.bundle.evidence);
    assert_eq!(claims.launch_measurement()[..], report[0x90..0xc0]);
    assert_eq!(claims.hardware_id(), &report[0x1a0..0x1e0]);
    assert_eq!((claims.vtpm(), claims.boot()), (None, &[][..]));
    let verified = tdx.appraise().expect("accepted");
    let (claims, quote) = (verified.claims(), &tdx.bundle.evidence);
    assert_eq!(claims.platform(), PlatformTag::SimulatedIntelTdx);
    assert_eq!(claims.launch_measurement()[..], quote[48 + 136..48 + 184]);
    assert_eq!(claims.hardware_id().len(), 16);
    assert_eq!((claims.vtpm(), claims.boot()), (None, &[][..]));
}

#[test]
fn evidence_is_fresh_from_its_appraisal_to_its_end() {
    let verified = Case::new(Flavor::Snp).appraise().expect("accepted");
    let last = NOW.plus_seconds(EVIDENCE_AGE_SECONDS);
    assert_eq!((verified.appraised_at(), verified.fresh_until()), (NOW, last));
    let before = UnixTime::from_seconds(NOW.seconds() - 1);
    for (now, fresh) in [
        (before, false),
        (NOW, true),
        (NOW.plus_seconds(1), true),
        (last, true),
        (last.plus_seconds(1), false),
    ] {
        assert_eq!(verified.is_fresh(now), fresh, "{now}");
    }
}

#[test]
fn each_kind_is_its_own_word() {
    for (tag, word, is_simulated) in [
        (PlatformTag::AmdSevSnp, "amd-sev-snp", false),
        (PlatformTag::IntelTdx, "intel-tdx", false),
        (PlatformTag::AzureAmdSevSnp, "azure-amd-sev-snp", false),
        (PlatformTag::AzureIntelTdx, "azure-intel-tdx", false),
        (PlatformTag::SimulatedAmdSevSnp, "simulated-amd-sev-snp", true),
        (PlatformTag::SimulatedIntelTdx, "simulated-intel-tdx", true),
        (
            PlatformTag::SimulatedAzureAmdSevSnp,
            "simulated-azure-amd-sev-snp",
            true,
        ),
    ] {
        assert_eq!((tag.as_str(), tag.to_string().as_str()), (word, word));
        assert_eq!(PlatformTag::from_text(word), Some(tag));
        assert_eq!(tag.is_simulated(), is_simulated, "{word}");
    }
    assert_eq!(PlatformTag::from_text("intel-sgx"), None);
    for (role, number, word) in [(Role::Inference, 1, "inference"), (Role::Broker, 2, "broker")] {
        assert_eq!((role.number(), role.to_string().as_str()), (number, word));
        assert_eq!(Role::from_number(number), Some(role));
    }
    assert_eq!((Role::from_number(0), Role::from_number(3)), (None, None));
    let words = DeviceKind::ALL.map(DeviceKind::as_str);
    assert_eq!(words, ["nvidia-gpu", "nvidia-switch", "gce-vtpm"]);
    assert_eq!(Assurance::Hardware.to_string(), "hardware");
    assert_eq!(Assurance::Simulated.to_string(), "SIMULATED");
    let outcomes = [Outcome::Pass, Outcome::Fail, Outcome::Skipped].map(|outcome| outcome.to_string());
    assert_eq!(outcomes, ["PASS", "FAIL", "SKIPPED"]);
    for (question, word) in [
        (Question::Genuine, "genuine"),
        (Question::UpToDate, "up to date"),
        (Question::Expected, "expect"),
        (Question::Mine, "mine"),
    ] {
        assert!(question.text().contains(word), "{}", question.text());
    }
}

#[test]
fn the_catalogue_has_each_clause_of_an_explanation() {
    let case = Case::new(Flavor::Tdx);
    let notes: Vec<_> = catalogue().into_iter().flat_map(|group| group.clauses).collect();
    assert!(notes.len() > 150, "{}", notes.len());
    for clause in case
        .verifier()
        .explain(&case.bundle, &case.nonce, case.now)
        .clauses
    {
        let note = notes.iter().find(|note| note.id == clause.id).expect(clause.id);
        assert_eq!((note.question, note.citation), (clause.question, clause.citation));
        assert!(!note.stops.is_empty(), "{}", note.id);
    }
}

#[test]
fn endorsements_are_kept_by_kind() {
    let (leaf, list) = (EndorsementKind::SnpLeaf, EndorsementKind::SnpCrl);
    let mut endorsements = Endorsements::new();
    assert!(endorsements.is_empty());
    endorsements.insert(leaf, vec![1]);
    assert!(!endorsements.is_empty());
    let mut other = Endorsements::new();
    other.insert(leaf, vec![2]);
    other.insert(list, vec![3]);
    endorsements.fill_from(&other);
    // What is there already stays.
    let all: Vec<_> = endorsements.iter().collect();
    assert_eq!(all, [(leaf, &[1][..]), (list, &[3])]);
    assert_eq!(endorsements.remove(leaf), Some(vec![1]));
    assert_eq!(endorsements.remove(leaf), None);
    assert_eq!(endorsements.document(leaf), None);
    assert_eq!(endorsements.document(list), Some(&[3][..]));
    let reissued = EndorsementKind::ALL.into_iter().filter(|kind| kind.is_reissued());
    assert_eq!(
        reissued.map(EndorsementKind::as_str).collect::<Vec<_>>(),
        [
            "snp-crl",
            "tdx-pck-crl",
            "tdx-root-crl",
            "tdx-tcb-info",
            "tdx-qe-identity"
        ]
    );
}

#[test]
fn a_device_is_known_by_its_leaf_certificate() {
    let chain = Case::new(Flavor::Tdx).bundle.endorsements;
    let chain = chain
        .document(EndorsementKind::TdxTcbSigningChain)
        .expect("a chain");
    let device = |certificates: &[u8]| DeviceEvidence {
        kind: DeviceKind::NvidiaGpu,
        evidence: vec![],
        certificates: certificates.to_vec(),
        endorsements: Endorsements::new(),
    };
    let leaf = &attestation::certificates_in_pem(chain).expect("a chain")[0];
    let digest = <sha2::Sha256 as sha2::Digest>::digest(leaf);
    assert_eq!(device(chain).digest(), Some(digest.into()));
    assert_eq!(device(b"").digest(), None);
    assert_eq!(device(b"no certificate").digest(), None);
}

#[test]
fn values_of_fields_are_shown_and_read_back() {
    for (value, shown, bytes) in [
        (FieldValue::Bytes(vec![1, 0xab]), "01ab", Some(vec![1, 0xab])),
        (
            FieldValue::Bytes(vec![0; 15]),
            &*"00".repeat(15),
            Some(vec![0; 15]),
        ),
        (FieldValue::Bytes(vec![0; 16]), "zero", Some(vec![0; 16])),
        (FieldValue::Number(0x1f), "0x1f", None),
        (FieldValue::Text("1.55.49".into()), "1.55.49", None),
        (FieldValue::Text("01ab".into()), "01ab", Some(vec![1, 0xab])),
    ] {
        assert_eq!((value.to_string().as_str(), value.to_bytes()), (shown, bytes));
    }
    let mut nearly_zero = vec![0; 16];
    nearly_zero[15] = 1;
    assert_eq!(
        FieldValue::Bytes(nearly_zero).to_string(),
        format!("{}01", "00".repeat(15))
    );
}

#[test]
fn a_nonce_is_shown_as_its_digits() {
    let nonce = Nonce::from_bytes([0x5e; 32]);
    assert_eq!(format!("{nonce:?}"), format!("Nonce({})", "5e".repeat(32)));
    assert_eq!(nonce.as_bytes(), &[0x5e; 32]);
}

#[test]
fn each_fault_of_an_event_log_says_what_to_do() {
    let hint = |bytes: &[u8]| EventLog::parse(bytes).expect_err("no log").hint();
    let too_large = vec![0; 2 << 20];
    assert!(hint(&too_large).contains("without its padding"));
    assert!(hint(b"").contains("binary_bios_measurements"));
    assert!(hint(b"[{\"imr\":3}]").contains("fetch the log again"));
}

/// Intel DCAP, quote version 4: signature data, in them certification data, in those a chain; each to its end.
#[test]
fn nothing_stands_behind_the_certification_data_of_a_quote() {
    const SIGNATURE_DATA_AT: usize = 48 + 584;
    const INNER_SIZE_AT: usize = SIGNATURE_DATA_AT + 4 + 128 + 2;
    let quote = Case::new(Flavor::Tdx).bundle.evidence;
    assert_eq!(quote[..2], [4, 0]);
    let number = |at: usize| u32::from_le_bytes(quote[at..at + 4].try_into().expect("4 bytes"));
    let end = INNER_SIZE_AT + 4 + number(INNER_SIZE_AT) as usize;
    let with_a_byte = |sizes: &[usize]| {
        let mut longer = quote.clone();
        longer.insert(end, 0);
        for at in sizes {
            longer[*at..at + 4].copy_from_slice(&(number(*at) + 1).to_le_bytes());
        }
        inspect(&longer).is_some()
    };
    assert!(inspect(&quote).is_some());
    assert!(
        !with_a_byte(&[SIGNATURE_DATA_AT]),
        "behind the certification data"
    );
    assert!(
        !with_a_byte(&[SIGNATURE_DATA_AT, INNER_SIZE_AT]),
        "behind the chain"
    );
}

#[test]
fn collateral_has_its_bound() {
    let of = |bytes: usize| {
        let mut case = Case::new(Flavor::Tdx);
        let kind = EndorsementKind::TdxTcbInfo;
        let mut document = case
            .bundle
            .endorsements
            .document(kind)
            .expect("TCB info")
            .to_vec();
        document.resize(bytes, b' ');
        case.bundle.endorsements.insert(kind, document);
        case.failed().is_empty()
    };
    assert_eq!((of(128 * 1024), of(128 * 1024 + 1)), (true, false));
}

#[test]
fn a_root_is_issued_by_itself() {
    let case = Case::new(Flavor::Snp);
    let intermediate = case
        .bundle
        .endorsements
        .document(EndorsementKind::SnpIntermediate)
        .expect("an ASK");
    let line = case
        .policy
        .lines()
        .find(|line| line.starts_with("root_certificate"))
        .expect("a root");
    let other = format!("root_certificate = \"{}\"", STANDARD.encode(intermediate));
    assert!(AppraisalPolicy::from_toml(&case.policy).is_ok());
    assert!(AppraisalPolicy::from_toml(&case.policy.replace(line, &other)).is_err());
}
