//! Single messages: key release and key registration.
use crate::{KeyPair, Label, RecipientKey, SealingError, UnixTime};
use zeroize::Zeroizing;

/// Seals one message.
pub fn seal_once(key: &impl RecipientKey, label: Label, aad: &[u8], plaintext: &[u8], now: UnixTime) -> Result<Vec<u8>, SealingError> {
    let _ = (key, label, aad, plaintext, now);
    todo!()
}

/// Opens one message.
pub fn open_once(key: &KeyPair, label: Label, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealingError> {
    let _ = (key, label, aad, sealed);
    todo!()
}
