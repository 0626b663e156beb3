//! Plaintext of a model file.

/// Bytes of an opened file: wiped on drop; no Debug, Clone or Serialize.
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// The plaintext.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}
