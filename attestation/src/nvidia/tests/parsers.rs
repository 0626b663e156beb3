//! Parsers of hostile bytes return, whatever they are given.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::machine::Machine;
use crate::nvidia::manifest::Manifest;
use crate::nvidia::opaque::OpaqueData;
use crate::nvidia::xml::Element;
use crate::nvidia::{Report, fields};
use crate::x509::{OcspResponse, pem_certificates};

fn everything(bytes: &[u8]) {
    if let Some(report) = Report::parse(bytes) {
        fields(&report);
    }
    let _ = OpaqueData::parse(bytes).is_some();
    let _ = Element::parse(bytes).is_ok();
    let _ = Manifest::parse(bytes).is_some();
    let _ = OcspResponse::parse_all(bytes).is_ok();
    let _ = pem_certificates(bytes).is_ok();
}

fn samples() -> Vec<Vec<u8>> {
    let machine = Machine::new();
    let manifest = machine.driver.as_ref().expect("one").document().into_bytes();
    let responses = machine.responses.as_ref().expect("responses");
    alloc::vec![machine.devices[0].evidence(), manifest, responses[0].der()]
}

#[test]
fn every_truncation_and_every_changed_byte_is_read_without_panic() {
    for sample in samples() {
        for end in 0..sample.len() {
            everything(&sample[..end]);
        }
        for place in 0..sample.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, b'<', b'&', b'"'] {
                let mut changed = sample.clone();
                changed[place] = value;
                everything(&changed);
            }
        }
    }
}

#[test]
fn truncated_responses_and_reports_are_refused() {
    let [report, manifest, response] = samples().try_into().expect("three");
    assert!(Report::parse(&report).is_some());
    assert!(Manifest::parse(&manifest).is_some());
    assert!(OcspResponse::parse_all(&response).is_ok());
    for end in 0..report.len() {
        assert!(Report::parse(&report[..end]).is_none(), "{end}");
    }
    for end in 0..manifest.len() - 1 {
        assert!(Manifest::parse(&manifest[..end]).is_none(), "{end}");
    }
    for end in 1..response.len() {
        assert!(OcspResponse::parse_all(&response[..end]).is_err(), "{end}");
    }
    let many: Vec<u8> = core::iter::repeat_n(&response, 33).flatten().copied().collect();
    assert!(OcspResponse::parse_all(&many).is_err());
    assert!(OcspResponse::parse_all(&many[response.len()..]).is_ok());
}

proptest! {
    #[test]
    fn random_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        everything(&bytes);
    }

    #[test]
    fn random_text_is_read_without_panic(text in "[<>/&;:\"'=a-c \\n\\r!?\\[\\]-]{0,200}") {
        everything(text.as_bytes());
        everything(alloc::format!("<a xmlns='b:c'>{text}</a>").as_bytes());
    }

    #[test]
    fn random_records_after_a_header_are_read_without_panic(
        blocks in any::<u8>(),
        record in proptest::collection::vec(any::<u8>(), 0..512),
        rest in proptest::collection::vec(any::<u8>(), 0..256),
    ) {
        let mut bytes = alloc::vec![0; 41];
        bytes.push(blocks);
        bytes.extend(&(record.len() as u32).to_le_bytes()[..3]);
        bytes.extend(record);
        bytes.extend(rest);
        everything(&bytes);
    }
}
