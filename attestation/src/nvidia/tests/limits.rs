//! What parsers bound: as much is read, one more is refused.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::authority::{Certificate, NOW, pem};
use super::der::{bits, element, explicit, integer, octets, oid, sequence, time};
use crate::nvidia::opaque::OpaqueData;
use crate::nvidia::xml::Element;
use crate::x509::{self, OcspResponse, RevocationList, pem_certificates};

/// Asserts that `reads` takes `bound` and nothing above.
fn bounded(what: &str, bound: usize, reads: impl Fn(usize) -> bool) {
    assert!(reads(bound), "{what}: {bound}");
    assert!(!reads(bound + 1), "{what}: {bound} and one more");
}

#[test]
fn documents_in_xml_are_bounded() {
    let reads = |text: String| Element::parse(text.as_bytes()).is_ok();
    bounded("bytes", 256 * 1024, |size| {
        reads(format!("<a/>{}", " ".repeat(size - 4)))
    });
    bounded("elements in one another", 12, |depth| {
        reads("<a>".repeat(depth) + &"</a>".repeat(depth))
    });
    bounded("elements", 4096, |count| {
        reads(format!("<a>{}</a>", "<b/>".repeat(count - 1)))
    });
    let numbered = |count: usize, prefix: &str| -> String {
        (0..count)
            .map(|number| format!(" {prefix}{number}='c:d'"))
            .collect()
    };
    bounded("attributes", 96, |count| {
        reads(format!("<a{}/>", numbered(count, "b")))
    });
    bounded("namespaces", 16, |count| {
        reads(format!("<a{}/>", numbered(count, "xmlns:b")))
    });
}

#[test]
fn opaque_records_are_bounded() {
    bounded("records", 64, |count| {
        let records = (1000..).take(count).flat_map(|kind: u16| {
            let [low, high] = kind.to_le_bytes();
            [low, high, 0, 0]
        });
        OpaqueData::parse(&records.collect::<Vec<u8>>()).is_some()
    });
}

/// A certificate with as many extensions, of which the last has a value of `size` bytes.
fn certificate(extensions: usize, size: usize) -> Vec<u8> {
    let mut certificate = Certificate::signer("large", 1);
    // The first is KeyUsage.
    certificate.extensions = (1..extensions)
        .map(|number| {
            let id: &'static str = format!("1.2.3.{number}").leak();
            (id, false, vec![5; size])
        })
        .collect();
    certificate.der(&Certificate::authority("root", 2))
}

#[test]
fn certificates_are_bounded() {
    bounded("extensions", 32, |count| {
        x509::Certificate::parse(&certificate(count, 1)).is_ok()
    });
    // Signatures in DER differ in length.
    bounded("bytes", 16 * 1024, |size| {
        let exact = (0..100)
            .map(|_| certificate(2, 15_000))
            .map(|small| certificate(2, 15_000 + size - small.len()))
            .find(|bytes| bytes.len() == size);
        x509::Certificate::parse(&exact.expect("of this size")).is_ok()
    });
    let one = Certificate::authority("root", 1);
    let one = one.der(&one);
    bounded("certificates in PEM", 8, |count| {
        pem_certificates(pem(&vec![one.clone(); count]).as_bytes()).is_ok_and(|all| all.len() == count)
    });
}

fn algorithm() -> Vec<u8> {
    sequence(&[oid("1.2.840.10045.4.3.3")])
}

#[test]
fn revocation_lists_are_bounded() {
    bounded("entries", 4096, |count| {
        let revoked = vec![sequence(&[integer(1), time(NOW)]); count];
        let tbs = sequence(&[
            integer(1),
            algorithm(),
            sequence(&[]),
            time(NOW),
            time(NOW),
            sequence(&revoked),
        ]);
        let list = sequence(&[tbs, algorithm(), bits(&[], 0)]);
        RevocationList::parse(&list).is_ok_and(|list| list.len() == count)
    });
}

/// A response that nobody signed.
fn response(statuses: usize, certificates: &[Vec<u8>]) -> Vec<u8> {
    let id = sequence(&[
        sequence(&[oid("1.3.14.3.2.26")]),
        octets(&[1]),
        octets(&[2]),
        integer(3),
    ]);
    let single = sequence(&[id, element(0x80, &[]), time(NOW)]);
    let tbs = sequence(&[
        explicit(2, &octets(&[1])),
        time(NOW),
        sequence(&vec![single; statuses]),
    ]);
    let basic = [
        tbs,
        algorithm(),
        bits(&[], 0),
        explicit(0, &sequence(certificates)),
    ];
    let bytes = sequence(&[oid("1.3.6.1.5.5.7.48.1.1"), octets(&sequence(&basic))]);
    sequence(&[element(0x0a, &[0]), explicit(0, &bytes)])
}

#[test]
fn ocsp_responses_are_bounded() {
    let reads = |bytes: &[u8]| OcspResponse::parse_all(bytes).is_ok();
    bounded("responses", 32, |count| reads(&response(1, &[]).repeat(count)));
    bounded("statuses", 32, |count| reads(&response(count, &[])));
    bounded("certificates", 4, |count| {
        reads(&response(1, &vec![sequence(&[]); count]))
    });
    bounded("bytes", 16 * 1024, |size| {
        let certificate = |bytes: usize| [octets(&vec![0; bytes])];
        let rest = size - response(1, &certificate(15_000)).len();
        let bytes = response(1, &certificate(15_000 + rest));
        assert_eq!(bytes.len(), size);
        reads(&bytes)
    });
}
