//! The relying party's challenge.

use core::fmt;

/// 32 bytes that the relying party chose at random and uses once.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce([u8; Nonce::BYTES]);

impl Nonce {
    /// Length in bytes.
    pub const BYTES: usize = 32;

    /// A nonce from random bytes; this crate has no randomness of its own.
    pub const fn from_bytes(bytes: [u8; Nonce::BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; Nonce::BYTES] {
        &self.0
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonce({})", hex::encode(self.0))
    }
}
