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

/// Offset of the first block: request, response header, count, length of the record.
const FIRST: usize = 45;
const BLOCK_BYTES: usize = 55;

#[test]
fn measurement_records_of_another_form_are_refused() {
    let report = samples().swap_remove(0);
    let with = |place: usize, value: u8| {
        let mut changed = report.clone();
        changed[place] = value;
        changed
    };
    for (what, place, value) in [
        ("index 0", FIRST, 0),
        ("an index twice", FIRST + BLOCK_BYTES, 1),
        ("another specification", FIRST + 1, 2),
        ("a larger block", FIRST + 2, 52),
        ("a smaller block", FIRST + 2, 50),
        ("a smaller value", FIRST + 5, 47),
        ("a larger value", FIRST + 5, 49),
        ("fewer blocks", FIRST - 4, 7),
        ("more blocks", FIRST - 4, 9),
    ] {
        assert!(Report::parse(&with(place, value)).is_none(), "{what}");
    }
    let parsed = Report::parse(&report).expect("a report");
    assert_eq!(parsed.digest(0), Some(&[1; 48]));
    assert_eq!((parsed.digest(8), parsed.digest(255)), (None, None));
    let raw = with(FIRST + 4, 0x81);
    let parsed = Report::parse(&raw).expect("a report");
    assert_eq!(parsed.digest(0), None, "a raw value is no digest");
}

#[test]
fn an_unsuccessful_response_is_refused() {
    let response = samples().swap_remove(2);
    let status = response.windows(3).position(|bytes| bytes == [0x0a, 1, 0]);
    for code in [1, 2, 3, 5, 6] {
        let mut changed = response.clone();
        changed[status.expect("the status") + 2] = code;
        assert!(OcspResponse::parse_all(&changed).is_err(), "{code}");
    }
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
