//! Files that somebody is handed: what they look like, whom they are about, until when they count.

use attestation::{
    Bundle, EndorsementKind, Kind, PckAuthority, certificates_in_pem, inspect, published, published_names,
    recognise,
};
use simulated::Flavor;
use simulated::adversary::{self, Publication};

use crate::support::{COLLATERAL_SECONDS, Case, NOW, changeable_platform};

/// So many bytes that begin with these.
fn beginning(bytes: usize, start: &[&[u8]]) -> Vec<u8> {
    let mut file = start.concat();
    file.resize(bytes, 0);
    file
}

#[test]
fn a_file_is_recognised_by_its_beginning() {
    let word = |word: u32| word.to_le_bytes();
    let report = |bytes, version| beginning(bytes, &[&word(version)]);
    for version in [1, 2, 5, 64] {
        assert_eq!(
            recognise(&report(0x4a0, version)),
            Some(Kind::SnpReport),
            "{version}"
        );
    }
    for version in [0, 65] {
        assert_eq!(recognise(&report(0x4a0, version)), None, "{version}");
    }
    assert_ne!(recognise(&report(0x49f, 2)), Some(Kind::SnpReport));
    assert_ne!(recognise(&report(0x4a1, 2)), Some(Kind::SnpReport));

    let quote = |bytes, first: u32, tee: u32| recognise(&beginning(bytes, &[&word(first), &word(tee)]));
    for (first, tee) in [
        (0x0002_0004, 0x81),
        (0x0002_0005, 0x81),
        (0x0003_0003, 0),
        (0x0000_0001, 0x81),
        (0x0003_0010, 0x81),
    ] {
        assert_eq!(
            quote(433, first, tee),
            Some(Kind::TdxQuote),
            "{first:#x} {tee:#x}"
        );
    }
    assert_eq!(quote(432, 0x0002_0004, 0x81), None);
    for (first, tee) in [
        (0x0002_0000, 0x81),
        (0x0002_0011, 0x81),
        (0x0004_0004, 0x81),
        (0x0002_0004, 0x80),
        (0x0002_0004, 1),
    ] {
        assert_eq!(quote(433, first, tee), None, "{first:#x} {tee:#x}");
    }

    let event_log =
        |kind: u32, name: &[u8]| recognise(&beginning(64, &[&word(0), &word(kind), &[0; 24], name]));
    assert_eq!(event_log(3, b"Spec ID Event03\0"), Some(Kind::EventLog));
    assert_eq!(event_log(4, b"Spec ID Event03\0"), None);
    assert_eq!(event_log(3, b"Spec ID Event02\0"), None);

    for (file, kind) in [
        (&b"HCLA"[..], Some(Kind::AzureHclReport)),
        (b"HCL", None),
        (&[0xff, b'T', b'C', b'G', 0x80, 0x18], Some(Kind::TpmQuote)),
        (&[0xff, b'T', b'C', b'G', 0x80, 0x17], None),
        (&[0x11, 0xe0], Some(Kind::NvidiaReport)),
        (&[0x11, 0xe1], None),
        (b" \n-----BEGIN CERTIFICATE-----", Some(Kind::PemCertificates)),
        (b"-----BEGIN X509 CRL-----", None),
        (b" {", Some(Kind::Json)),
        (b"\t[", Some(Kind::Json)),
        (b"\n<a/>", Some(Kind::Xml)),
        (b"a", None),
        (b"", None),
    ] {
        assert_eq!(recognise(file), kind, "{file:x?}");
    }
}

#[test]
fn a_file_is_named_in_words() {
    for (kind, word) in [
        (Kind::Bundle, "bundle"),
        (Kind::SnpReport, "SEV-SNP"),
        (Kind::TdxQuote, "TDX quote"),
        (Kind::AzureHclReport, "HCL"),
        (Kind::TpmQuote, "TPM quote"),
        (Kind::NvidiaReport, "NVIDIA"),
        (Kind::Certificate, "a certificate"),
        (Kind::RevocationList, "revocation list"),
        (Kind::PemCertificates, "PEM"),
        (Kind::EventLog, "event log"),
        (Kind::Json, "JSON"),
        (Kind::Xml, "XML"),
    ] {
        assert!(kind.text().contains(word), "{}", kind.text());
    }
}

#[test]
fn what_a_platform_publishes_is_recognised_and_names_itself() {
    let (snp, tdx) = (Case::new(Flavor::Snp).bundle, Case::new(Flavor::Tdx).bundle);
    let bundle = snp.encode().expect("it fits");
    assert_eq!((recognise(&bundle), inspect(&bundle)), (Some(Kind::Bundle), None));
    let pem = tdx
        .endorsements
        .document(EndorsementKind::TdxTcbSigningChain)
        .expect("a chain");
    assert_eq!(
        (recognise(pem), inspect(pem)),
        (Some(Kind::PemCertificates), None)
    );
    assert_eq!(certificates_in_pem(pem).map(|chain| chain.len()), Some(2));
    assert_eq!(certificates_in_pem(b""), None);
    assert_eq!(certificates_in_pem(&pem[1..]), None);

    for (bundle, kind, subject, issuer) in [
        (&snp, EndorsementKind::SnpLeaf, Some("SEV-VCEK"), "SEV-Genoa"),
        (
            &snp,
            EndorsementKind::SnpIntermediate,
            Some("SEV-Genoa"),
            "ARK-Genoa",
        ),
        (&snp, EndorsementKind::SnpCrl, None, "ARK-Genoa"),
        (&tdx, EndorsementKind::TdxRootCrl, None, "Intel SGX Root CA"),
        (
            &tdx,
            EndorsementKind::TdxPckCrl,
            None,
            "Intel SGX PCK Platform CA",
        ),
    ] {
        let document = bundle.endorsements.document(kind).expect("a document");
        let list = subject.is_none();
        let recognised = if list {
            Kind::RevocationList
        } else {
            Kind::Certificate
        };
        assert_eq!(recognise(document), Some(recognised), "{kind:?}");
        let names = published_names(document).expect("it names itself");
        assert_eq!(
            (names.subject.as_deref(), names.issuer.as_str()),
            (subject, issuer)
        );
        assert_eq!(names.serial.is_empty(), list, "{kind:?}");
        let dates = published(kind, document)
            .expect("it is of its kind")
            .expect("it has dates");
        assert_eq!((dates.issuer.as_str(), dates.number), (issuer, None));
        assert_eq!((dates.issued, dates.until), (names.not_before, names.not_after));
        assert!(names.not_before <= NOW && NOW < names.not_after, "{kind:?}");
        if list {
            assert!(
                names.not_after <= NOW.plus_seconds(COLLATERAL_SECONDS),
                "{kind:?}"
            );
        }
        let fields = inspect(document).expect("it has fields");
        let field = |name: &str| {
            let field = fields.iter().find(|field| field.name == name);
            field.map(|field| field.value.to_string())
        };
        assert_eq!(field("issuer").as_deref(), Some(issuer));
        assert_eq!(field("subject").as_deref(), subject);
        let (from, until) = if list {
            ("this update", "next update")
        } else {
            ("not before", "not after")
        };
        assert_eq!(field(from), Some(names.not_before.to_string()));
        assert_eq!(field(until), Some(names.not_after.to_string()));
        assert_eq!(field("revoked").as_deref(), list.then_some("0"), "{kind:?}");
        assert_eq!(
            field("kind").as_deref(),
            (kind == EndorsementKind::SnpLeaf).then_some("VCEK")
        );
        assert_eq!(published_names(&document[1..]), None);
        assert!(published(kind, &document[1..]).is_err());
    }
    for (kind, issuer) in [
        (EndorsementKind::TdxTcbInfo, None),
        (EndorsementKind::TdxQeIdentity, Some("TD_QE")),
    ] {
        let document = tdx.endorsements.document(kind).expect("a document");
        assert_eq!((recognise(document), inspect(document)), (Some(Kind::Json), None));
        let dates = published(kind, document)
            .expect("it is of its kind")
            .expect("it has dates");
        assert!(dates.number.is_some() && dates.issued <= NOW && NOW < dates.until);
        assert!(issuer.is_none_or(|issuer| dates.issuer == issuer), "{dates:?}");
    }
}

#[test]
fn a_tcb_signing_chain_is_two_certificates() {
    let bundle = Case::new(Flavor::Tdx).bundle;
    let kind = EndorsementKind::TdxTcbSigningChain;
    let chain = bundle.endorsements.document(kind).expect("a chain");
    assert_eq!(published(kind, chain), Ok(None));
    let end = b"-----END CERTIFICATE-----\n";
    let first = chain
        .windows(end.len())
        .position(|window| window == end)
        .expect("a certificate")
        + end.len();
    assert!(published(kind, &chain[..first]).is_err());
    assert!(published(kind, &[chain, &chain[..first]].concat()).is_err());
    assert!(published(kind, b"").is_err());
}

#[test]
fn collateral_about_something_else_is_not_published_as_of_tdx() {
    let bundle = |publication: &Publication| -> Bundle {
        let mut platform = changeable_platform();
        adversary::publish(&mut platform, NOW, COLLATERAL_SECONDS, publication).expect("it is published");
        Case::of(&platform, Flavor::Tdx).bundle
    };
    let reads = |publication: &Publication, kind| {
        let bundle = bundle(publication);
        published(kind, bundle.endorsements.document(kind).expect("a document")).is_ok()
    };
    let (info, identity) = (EndorsementKind::TdxTcbInfo, EndorsementKind::TdxQeIdentity);
    let good = Publication::default();
    assert!(reads(&good, info) && reads(&good, identity));
    let other = Publication {
        tcb_info_id: "SGX",
        qe_identity_id: "QE",
        ..good
    };
    assert!(!reads(&other, info) && !reads(&other, identity));
    for (kind, from, to) in [
        (info, "\"version\":3", "\"version\":2"),
        (identity, "\"version\":2", "\"version\":1"),
    ] {
        let other = Publication {
            rewritten: (from, to),
            ..good
        };
        assert!(!reads(&other, kind), "{to}");
    }
    assert_eq!(PckAuthority::Platform.as_str(), "platform");
    assert_eq!(PckAuthority::Processor.as_str(), "processor");
}
