//! Encapsulated requests.
use crate::{AttestedKey, KeyPair, SealingError, UnixTime};
use crate::stream::{ResponseOpener, ResponseSealer};
use wire::{SymmetricSuite, ids::KemId, message::Media};

/// Client half.
pub struct RequestSealer { _p: () }
impl RequestSealer {
    /// Begins an encapsulated request to `key`; appends header and encapsulated key to `out`.
    pub fn new(key: &AttestedKey, media: Media, now: UnixTime, out: &mut Vec<u8>) -> Result<Self, SealingError> { let _ = (key, media, now, out); todo!() }
    /// Seals `plaintext` as one or more non-final chunks (chunked only).
    pub fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), SealingError> { let _ = (plaintext, out); todo!() }
    /// Seals the rest, final.
    pub fn finish(self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<ResponseOpener, SealingError> { let _ = (plaintext, out); todo!() }
}

/// Server half, first step: waits for header and encapsulated key.
pub struct HeaderReader { _p: () }
impl HeaderReader {
    /// For one request; `limit` bounds the whole encapsulated request.
    pub fn new(media: Media, limit: usize) -> Self { let _ = (media, limit); todo!() }
    /// Takes bytes; once header and encapsulated key are there, returns the second step.
    pub fn push(self, bytes: &[u8]) -> Result<Result<Encapsulated, HeaderReader>, SealingError> { let _ = bytes; todo!() }
}

/// Server half, second step: header and encapsulated key are known, nothing was opened.
pub struct Encapsulated { _p: () }
impl Encapsulated {
    /// Key identifier.
    pub fn key_id(&self) -> u8 { todo!() }
    /// KEM.
    pub fn kem(&self) -> KemId { todo!() }
    /// KDF, AEAD.
    pub fn symmetric(&self) -> SymmetricSuite { todo!() }
    /// The encapsulated key.
    pub fn enc(&self) -> &[u8] { todo!() }
    /// SHA-256 of the encapsulated key, for the replay cache.
    pub fn enc_sha256(&self) -> [u8; 32] { todo!() }
    /// Decapsulates.
    pub fn open_with(self, key: &KeyPair) -> Result<RequestOpener, SealingError> { let _ = key; todo!() }
}

/// Server half, third step.
pub struct RequestOpener { _p: () }
impl RequestOpener {
    /// Takes ciphertext, appends plaintext of whole chunks to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), SealingError> { let _ = (bytes, out); todo!() }
    /// The stream has ended: opens the final chunk.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<ResponseSealer, SealingError> { let _ = out; todo!() }
}
