//! Deterministic CBOR (RFC 8949 section 4.2.1), both ways.
//!
//! A decoder that reads fields and then compares the input with its own encoding of them accepts
//! exactly one form: shortest integers and lengths, definite lengths, keys in order, nothing after.

use alloc::vec::Vec;
use core::convert::Infallible;

use minicbor::{Decoder, Encoder};

/// An encoder into memory.
pub(crate) type Writer = Encoder<Vec<u8>>;

/// What is wrong with an encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CborFault {
    /// Not CBOR of the expected shape.
    Shape,
    /// A length or a count is beyond its bound.
    Bound,
}

impl From<minicbor::decode::Error> for CborFault {
    fn from(_: minicbor::decode::Error) -> Self {
        CborFault::Shape
    }
}

/// Encodes with `write`; writing into memory cannot fail.
pub(crate) fn encode(
    write: impl FnOnce(&mut Writer) -> Result<(), minicbor::encode::Error<Infallible>>,
) -> Vec<u8> {
    let mut writer = Encoder::new(Vec::new());
    match write(&mut writer) {
        Ok(()) => writer.into_writer(),
        Err(_) => unreachable!("a Vec takes every write"),
    }
}

/// A map header of exactly `entries` entries.
pub(crate) fn map_of(decoder: &mut Decoder<'_>, entries: u64) -> Result<(), CborFault> {
    if decoder.map()? == Some(entries) {
        Ok(())
    } else {
        Err(CborFault::Shape)
    }
}

/// The next key, which must be `key`: with all keys in order none is missing, doubled or unknown.
pub(crate) fn key(decoder: &mut Decoder<'_>, key: u64) -> Result<(), CborFault> {
    if decoder.u64()? == key {
        Ok(())
    } else {
        Err(CborFault::Shape)
    }
}

/// A byte string of at most `bytes_max` bytes.
pub(crate) fn bytes<'b>(decoder: &mut Decoder<'b>, bytes_max: usize) -> Result<&'b [u8], CborFault> {
    let bytes = decoder.bytes()?;
    if bytes.len() > bytes_max {
        Err(CborFault::Bound)
    } else {
        Ok(bytes)
    }
}

/// A byte string of exactly `N` bytes.
pub(crate) fn array<const N: usize>(decoder: &mut Decoder<'_>) -> Result<[u8; N], CborFault> {
    decoder.bytes()?.try_into().map_err(|_| CborFault::Shape)
}
