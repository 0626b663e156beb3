//! The attestation report: an SPDM request and its response (DMTF DSP0274 1.1, section 10.11),
//! read from the raw bytes. Integers are little-endian.
//!
//! | bytes | field |
//! |---|---|
//! | 1 + 1 | request: SPDM version 0x11, GET_MEASUREMENTS 0xe0 |
//! | 1 + 1 | Param1 bit 0: signature requested; Param2 0xff: all measurements |
//! | 32 | nonce of whoever asked |
//! | 1 | slot of the certificate chain |
//! | 1 + 1 | response: SPDM version 0x11, MEASUREMENTS 0x60 |
//! | 1 + 1 | Param1 zero; Param2 slot of the certificate chain |
//! | 1 + 3 | number of blocks, length of the measurement record |
//! | n | measurement record |
//! | 32 | nonce of the device |
//! | 2 + n | opaque data ([`super::opaque`]) |
//! | 96 | signature over everything before it |
//! | 0 or 1 | zero byte, which some tools leave of a C string |
//!
//! A block of the measurement record (the same section):
//!
//! | bytes | field |
//! |---|---|
//! | 1 | index, counted from 1 |
//! | 1 | MeasurementSpecification: 1, DMTF |
//! | 2 | size of what follows |
//! | 1 | type; bit 7 set: the raw value, clear: its digest |
//! | 2 + n | value |

use alloc::vec::Vec;

use super::cursor::Cursor;

/// Far above what devices send (4 KiB).
const REPORT_BYTES_MAX: usize = 64 * 1024;
const REQUEST_BYTES: usize = 37;
const DMTF: u8 = 1;
const RAW: u8 = 0x80;
/// SHA-384.
pub(super) const DIGEST_BYTES: usize = 48;

/// A report taken apart; everything borrows the received bytes.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(super) request: Request<'a>,
    pub(super) response_header: [u8; 4],
    pub(super) measurements: Vec<Measurement<'a>>,
    pub(super) responder_nonce: &'a [u8; 32],
    pub(super) opaque: &'a [u8],
    /// Request and response up to the signature.
    pub(super) signed: &'a [u8],
    pub(super) signature: &'a [u8; 96],
    pub(super) trailing: &'a [u8],
}

/// The request as the device heard it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) header: [u8; 4],
    pub(super) nonce: &'a [u8; 32],
    pub(super) slot: u8,
}

/// One measurement block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measurement<'a> {
    /// Counted from 1. Reference manifests count from 0.
    pub(super) index: u8,
    kind: u8,
    value: &'a [u8],
}

impl<'a> Report<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() > REPORT_BYTES_MAX {
            return None;
        }
        let mut cursor = Cursor(bytes);
        let header = *cursor.array()?;
        let nonce = cursor.array()?;
        let [slot] = *cursor.array()?;
        let request = Request { header, nonce, slot };
        debug_assert_eq!(bytes.len() - cursor.0.len(), REQUEST_BYTES);
        let response_header = *cursor.array()?;
        let [blocks, low, middle, high] = *cursor.array()?;
        let record = cursor.take(usize::try_from(u32::from_le_bytes([low, middle, high, 0])).ok()?)?;
        let measurements = measurements(record, blocks)?;
        let responder_nonce = cursor.array()?;
        let opaque_bytes = cursor.u16()?;
        let opaque = cursor.take(usize::from(opaque_bytes))?;
        let signed = bytes.get(..bytes.len() - cursor.0.len())?;
        let signature = cursor.array()?;
        Some(Self {
            request,
            response_header,
            measurements,
            responder_nonce,
            opaque,
            signed,
            signature,
            trailing: cursor.0,
        })
    }

    /// The digest at `index` of a reference manifest, which counts from 0.
    pub(super) fn digest(&self, index: u8) -> Option<&'a [u8; DIGEST_BYTES]> {
        let block = self
            .measurements
            .iter()
            .find(|measurement| Some(measurement.index) == index.checked_add(1))?;
        block.digest()
    }
}

impl<'a> Measurement<'a> {
    /// The value if it is a SHA-384 digest.
    pub(super) fn digest(&self) -> Option<&'a [u8; DIGEST_BYTES]> {
        if self.kind & RAW == 0 {
            self.value.try_into().ok()
        } else {
            None
        }
    }

    /// The value, whatever it is.
    pub(super) fn value(&self) -> &'a [u8] {
        self.value
    }
}

/// As many blocks as announced, in rising order of their indices, and nothing else.
fn measurements(record: &[u8], blocks: u8) -> Option<Vec<Measurement<'_>>> {
    let mut cursor = Cursor(record);
    let mut measurements: Vec<Measurement<'_>> = Vec::new();
    for _ in 0..blocks {
        let [index, specification] = *cursor.array()?;
        let bytes = cursor.u16()?;
        let mut block = Cursor(cursor.take(usize::from(bytes))?);
        let [kind] = *block.array()?;
        let bytes = block.u16()?;
        let value = block.take(usize::from(bytes))?;
        let rises = measurements.last().map_or(0, |last| last.index) < index;
        if !rises || specification != DMTF || !block.0.is_empty() {
            return None;
        }
        measurements.push(Measurement { index, kind, value });
    }
    (cursor.0.is_empty() && !measurements.is_empty()).then_some(measurements)
}
