//! Every byte of every document around real evidence counts.

use attestation::EndorsementKind;

use crate::real::Real;
use crate::sweep::{accepted, flipped, is_full, say};

/// Changes one bit of each byte of each document, cuts each off, and goes on for a while after its end.
fn assert_each_byte_counts(name: &str, kinds: &[EndorsementKind]) {
    let Some(real) = Real::named(name) else { return };
    for kind in kinds {
        let document = real.endorsements.document(*kind).expect("a document").to_vec();
        let accepts = |changed: Vec<u8>| changed != document && real.accepts_document(*kind, changed);
        let found = accepted(document.len(), |at| accepts(flipped(&document, at * 8 + at % 8)));
        assert_eq!(
            found,
            Vec::<usize>::new(),
            "{name} {}: bytes that do not count",
            kind.as_str()
        );
        let step = if is_full() { 1 } else { 16 };
        let found = accepted(document.len() / step, |cut| {
            accepts(document[..cut * step].to_vec())
        });
        assert_eq!(found, Vec::<usize>::new(), "{name} {} cut short", kind.as_str());
        let found = accepted(16, |more| {
            accepts([&document[..], &vec![b'a'; more + 1]].concat())
        });
        assert_eq!(
            found,
            Vec::<usize>::new(),
            "{name} {} with more after it",
            kind.as_str()
        );
        say(&format!(
            "{name} {}: each of {} bytes refused",
            kind.as_str(),
            document.len()
        ));
    }
}

#[test]
fn every_byte_of_the_documents_around_a_real_report_counts() {
    use EndorsementKind::{SnpCrl, SnpIntermediate, SnpLeaf};
    assert_each_byte_counts("snp-milan-v3-oak-container", &[SnpLeaf, SnpIntermediate, SnpCrl]);
    if is_full() {
        assert_each_byte_counts("snp-turin-v5-aci-ms", &[SnpLeaf, SnpIntermediate]);
        assert_each_byte_counts("azure-snp-genoa-v3-coco", &[SnpLeaf, SnpIntermediate, SnpCrl]);
    }
}

#[test]
fn every_byte_of_the_documents_around_a_real_quote_counts() {
    use EndorsementKind::{TdxPckCrl, TdxQeIdentity, TdxRootCrl, TdxTcbInfo, TdxTcbSigningChain};
    let kinds = [
        TdxRootCrl,
        TdxPckCrl,
        TdxTcbInfo,
        TdxQeIdentity,
        TdxTcbSigningChain,
    ];
    assert_each_byte_counts("tdx-v4-near", &kinds);
}

/// White space outside the signed object means nothing (RFC 8259 section 2); inside it is signed.
#[test]
fn white_space_is_free_only_outside_the_signed_object() {
    use EndorsementKind::TdxQeIdentity;
    let Some(real) = Real::named("tdx-v4-near") else {
        return;
    };
    let document = real
        .endorsements
        .document(TdxQeIdentity)
        .expect("a document")
        .to_vec();
    let text = std::str::from_utf8(&document).expect("JSON");
    let (head, tail) = ("{\"enclaveIdentity\":", ",\"signature\":\"");
    let end = text.find(tail).expect("the signature");
    let after = end + tail.len() - 1;
    // Around each token of the outer object: its brace, the name, the colon, the signed object, the comma, ...
    let mut free = vec![0, 1, head.len() - 1, head.len(), end, end + 1, after - 1, after];
    free.extend([document.len() - 1, document.len()]);
    for space in [b' ', b'\n', b'\t', b'\r'] {
        let found = accepted(document.len() + 1, |at| {
            let changed = [&document[..at], &[space], &document[at..]].concat();
            real.accepts_document(TdxQeIdentity, changed)
        });
        assert_eq!(found, free, "{space:#x}");
        if !is_full() {
            break;
        }
    }
}

/// The signature is lower-case hexadecimal, and nothing else is read as the same number.
#[test]
fn a_signature_in_json_has_one_spelling() {
    use EndorsementKind::TdxTcbInfo;
    let Some(real) = Real::named("tdx-v4-near") else {
        return;
    };
    let document = real
        .endorsements
        .document(TdxTcbInfo)
        .expect("a document")
        .to_vec();
    let text = String::from_utf8(document).expect("JSON");
    let (object, signature) = text.split_once(",\"signature\":\"").expect("a signature");
    let signature = signature.trim_end_matches("\"}");
    let with = |signature: &str| {
        let changed = format!("{object},\"signature\":{signature}}}").into_bytes();
        real.accepts_document(TdxTcbInfo, changed)
    };
    assert!(with(&format!("\"{signature}\"")));
    for other in [
        format!("\"{}\"", signature.to_uppercase()),
        format!("\"0x{signature}\""),
        format!("\" {signature}\""),
        format!("\"{signature}00\""),
        format!("[\"{signature}\"]"),
        format!("\"{signature}\",\"signature\":\"{signature}\""),
        format!("\"{signature}\",\"more\":0"),
        "null".to_owned(),
        "\"\"".to_owned(),
    ] {
        assert!(!with(&other), "{other}");
    }
}
