//! Writes DER (X.690), as much of it as certificates and OCSP responses need.

use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

use der::asn1::ObjectIdentifier;

use crate::UnixTime;

pub(super) fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len();
    let mut bytes = vec![tag];
    match length {
        0..0x80 => bytes.push(length as u8),
        0x80..0x100 => bytes.extend([0x81, length as u8]),
        0x100..0x1_0000 => bytes.extend([0x82, (length >> 8) as u8, length as u8]),
        _ => bytes.extend([0x83, (length >> 16) as u8, (length >> 8) as u8, length as u8]),
    }
    bytes.extend(contents);
    bytes
}

pub(super) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    element(0x30, &parts.concat())
}

pub(super) fn set(parts: &[Vec<u8>]) -> Vec<u8> {
    element(0x31, &parts.concat())
}

/// `[number]`, constructed.
pub(super) fn explicit(number: u8, contents: &[u8]) -> Vec<u8> {
    element(0xa0 | number, contents)
}

pub(super) fn octets(bytes: &[u8]) -> Vec<u8> {
    element(0x04, bytes)
}

pub(super) fn bits(bytes: &[u8], unused: u8) -> Vec<u8> {
    element(0x03, &[&[unused], bytes].concat())
}

pub(super) fn integer(value: u8) -> Vec<u8> {
    element(0x02, &[value])
}

pub(super) fn oid(id: &str) -> Vec<u8> {
    element(0x06, ObjectIdentifier::new_unwrap(id).as_bytes())
}

pub(super) fn utf8(text: &str) -> Vec<u8> {
    element(0x0c, text.as_bytes())
}

/// GeneralizedTime.
pub(super) fn time(moment: UnixTime) -> Vec<u8> {
    let digits: String = moment
        .to_string()
        .chars()
        .filter(|character| !matches!(character, '-' | 'T' | ':'))
        .collect();
    element(0x18, digits.as_bytes())
}
