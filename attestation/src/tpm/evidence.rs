//! How a vTPM's quote travels: with what vouches for its key, and with the PCR values.
//!
//! Deterministic CBOR map with integer keys, all required:
//!
//! | key | field | type |
//! |---|---|---|
//! | 1 | format version | 1 |
//! | 2 | what vouches for the key: HCL report (Azure), TPMT_PUBLIC (Google) | bytes, at most 8 KiB |
//! | 3 | TD quote (Azure on TDX) | bytes, at most 16 KiB, or null |
//! | 4 | TPMS_ATTEST | bytes, at most 1 KiB |
//! | 5 | RSASSA signature over it, without TPMT_SIGNATURE | bytes, at most 512 |
//! | 6 | SHA-256 PCR values, one after the other in ascending order | bytes, at most 768 |

use alloc::vec::Vec;

use minicbor::Decoder;
use minicbor::data::Type;

use super::signature::SIGNATURE_BYTES_MAX;
use crate::cbor::{self, CborFault};
use crate::error::BundleError;

const VERSION: u64 = 1;
const ENTRIES: u64 = 6;
const VOUCHER_BYTES_MAX: usize = 8 * 1024;
const TD_QUOTE_BYTES_MAX: usize = 16 * 1024;
const MESSAGE_BYTES_MAX: usize = 1024;
/// 24 values of SHA-256.
const PCR_VALUES_BYTES_MAX: usize = 24 * 32;

/// The parts, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    pub(crate) voucher: &'a [u8],
    pub(crate) td_quote: Option<&'a [u8]>,
    pub(crate) message: &'a [u8],
    pub(crate) signature: &'a [u8],
    pub(crate) pcr_values: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Encodes; refuses what [`Parts::decode`] would refuse.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, BundleError> {
        let within = self.voucher.len() <= VOUCHER_BYTES_MAX
            && self
                .td_quote
                .is_none_or(|quote| quote.len() <= TD_QUOTE_BYTES_MAX)
            && self.message.len() <= MESSAGE_BYTES_MAX
            && self.signature.len() <= SIGNATURE_BYTES_MAX
            && self.pcr_values.len() <= PCR_VALUES_BYTES_MAX;
        if within {
            Ok(self.to_cbor())
        } else {
            Err(BundleError::Bound)
        }
    }

    /// Decodes; only the deterministic encoding within the bounds is accepted.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, BundleError> {
        let decoder = &mut Decoder::new(bytes);
        cbor::map_of(decoder, ENTRIES)?;
        cbor::key(decoder, 1)?;
        let version = decoder.u64().map_err(CborFault::from)?;
        if version != VERSION {
            return Err(BundleError::UnknownVersion(version));
        }
        cbor::key(decoder, 2)?;
        let voucher = cbor::bytes(decoder, VOUCHER_BYTES_MAX)?;
        cbor::key(decoder, 3)?;
        let td_quote = match decoder.datatype().map_err(CborFault::from)? {
            Type::Null => {
                decoder.null().map_err(CborFault::from)?;
                None
            }
            _ => Some(cbor::bytes(decoder, TD_QUOTE_BYTES_MAX)?),
        };
        cbor::key(decoder, 4)?;
        let message = cbor::bytes(decoder, MESSAGE_BYTES_MAX)?;
        cbor::key(decoder, 5)?;
        let signature = cbor::bytes(decoder, SIGNATURE_BYTES_MAX)?;
        cbor::key(decoder, 6)?;
        let pcr_values = cbor::bytes(decoder, PCR_VALUES_BYTES_MAX)?;
        let parts = Self {
            voucher,
            td_quote,
            message,
            signature,
            pcr_values,
        };
        if parts.to_cbor() != bytes {
            return Err(BundleError::NotCanonical);
        }
        Ok(parts)
    }

    fn to_cbor(self) -> Vec<u8> {
        cbor::encode(|writer| {
            writer.map(ENTRIES)?.u8(1)?.u64(VERSION)?;
            writer.u8(2)?.bytes(self.voucher)?;
            writer.u8(3)?;
            match self.td_quote {
                Some(quote) => writer.bytes(quote)?,
                None => writer.null()?,
            };
            writer.u8(4)?.bytes(self.message)?;
            writer.u8(5)?.bytes(self.signature)?;
            writer.u8(6)?.bytes(self.pcr_values)?;
            Ok(())
        })
    }
}
