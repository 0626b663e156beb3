//! Encapsulated responses.
use crate::SealingError;

/// Server half.
pub struct ResponseSealer { _p: () }
impl ResponseSealer {
    /// Seals `plaintext` as one or more non-final chunks (chunked only).
    pub fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), SealingError> { let _ = (plaintext, out); todo!() }
    /// Seals the rest, final.
    pub fn finish(self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), SealingError> { let _ = (plaintext, out); todo!() }
}

/// Client half.
pub struct ResponseOpener { _p: () }
impl ResponseOpener {
    /// Takes ciphertext, appends plaintext of whole chunks to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), SealingError> { let _ = (bytes, out); todo!() }
    /// The stream has ended: opens the final chunk.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), SealingError> { let _ = out; todo!() }
}
