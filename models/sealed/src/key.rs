//! The model key.

use zeroize::Zeroizing;

use crate::Result;

/// Length of a model key in bytes.
pub(crate) const MODEL_KEY_BYTES: usize = 32;

/// The key that opens one sealed model: 32 bytes, wiped on drop; no Debug, Clone or Serialize.
pub struct ModelKey(Zeroizing<[u8; MODEL_KEY_BYTES]>);

impl ModelKey {
    /// Makes a new key from the system's random generator.
    pub fn generate() -> Result<Self> {
        todo!()
    }

    /// Takes the bytes of a key that was unwrapped or released.
    pub fn from_bytes(bytes: Zeroizing<[u8; MODEL_KEY_BYTES]>) -> Self {
        Self(bytes)
    }

    /// The key's bytes, for wrapping and for release.
    pub fn expose_bytes(&self) -> &[u8; MODEL_KEY_BYTES] {
        &self.0
    }
}
