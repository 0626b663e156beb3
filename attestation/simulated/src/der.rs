//! Writes DER (X.690), as much of it as certificates need.

use attestation::UnixTime;
use der::asn1::ObjectIdentifier;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const NULL: u8 = 0x05;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const IA5_STRING: u8 = 0x16;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    let length = contents.len();
    if length < 0x80 {
        bytes.push(length as u8);
    } else {
        let digits: Vec<u8> = length
            .to_be_bytes()
            .into_iter()
            .skip_while(|byte| *byte == 0)
            .collect();
        bytes.push(0x80 | digits.len() as u8);
        bytes.extend(digits);
    }
    bytes.extend(contents);
    bytes
}

pub(crate) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    element(SEQUENCE, &parts.concat())
}

pub(crate) fn set(parts: &[Vec<u8>]) -> Vec<u8> {
    element(SET, &parts.concat())
}

/// A non-negative INTEGER from its big-endian bytes.
pub(crate) fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let mut digits = bytes[start..].to_vec();
    if digits.first().is_none_or(|first| *first >= 0x80) {
        digits.insert(0, 0);
    }
    element(INTEGER, &digits)
}

pub(crate) fn boolean(value: bool) -> Vec<u8> {
    element(0x01, &[if value { 0xff } else { 0x00 }])
}

pub(crate) fn null() -> Vec<u8> {
    element(NULL, &[])
}

pub(crate) fn octets(bytes: &[u8]) -> Vec<u8> {
    element(OCTET_STRING, bytes)
}

pub(crate) fn bit_string(bytes: &[u8], unused_bits: u8) -> Vec<u8> {
    element(BIT_STRING, &[&[unused_bits], bytes].concat())
}

pub(crate) fn object_identifier(id: &str) -> Vec<u8> {
    element(OBJECT_IDENTIFIER, ObjectIdentifier::new_unwrap(id).as_bytes())
}

pub(crate) fn utf8_string(text: &str) -> Vec<u8> {
    element(UTF8_STRING, text.as_bytes())
}

pub(crate) fn ia5_string(text: &str) -> Vec<u8> {
    element(IA5_STRING, text.as_bytes())
}

/// `[number]`, constructed.
pub(crate) fn explicit(number: u8, contents: &[u8]) -> Vec<u8> {
    element(0xa0 | number, contents)
}

/// UTCTime until 2049, GeneralizedTime after (RFC 5280 section 4.1.2.5).
pub(crate) fn time(moment: UnixTime) -> Vec<u8> {
    let digits: String = moment
        .to_string()
        .chars()
        .filter(|character| !matches!(character, '-' | 'T' | ':'))
        .collect();
    if &digits[..4] < "2050" {
        element(UTC_TIME, &digits.as_bytes()[2..])
    } else {
        element(GENERALIZED_TIME, digits.as_bytes())
    }
}
