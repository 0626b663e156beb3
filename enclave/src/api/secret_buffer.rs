//! A buffer for documents that hold a completion: it grows without leaving a copy behind.

use std::io::Write;

use exchange::Completion;
use zeroize::{Zeroize, Zeroizing};

/// Bytes that are wiped when dropped and when outgrown. Neither Debug nor Clone.
pub(crate) struct SecretBuffer(Zeroizing<Vec<u8>>);

impl SecretBuffer {
    /// An empty buffer.
    pub(crate) fn new() -> Self {
        Self(Zeroizing::new(Vec::new()))
    }

    /// Appends.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            let mut grown = Vec::with_capacity(needed.next_power_of_two().max(1024));
            grown.extend_from_slice(&self.0);
            self.0.zeroize();
            *self.0 = grown;
        }
        self.0.extend_from_slice(bytes);
    }

    /// The bytes.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as the body of a response.
    pub(crate) fn into_completion(self) -> Completion {
        Completion::from_zeroizing(self.0)
    }
}

impl Default for SecretBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Write for SecretBuffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static_assertions::assert_not_impl_any!(SecretBuffer: core::fmt::Debug, Clone, serde::Serialize);

    #[test]
    fn growing_keeps_the_bytes() {
        let mut buffer = SecretBuffer::new();
        for byte in 0..=255_u8 {
            buffer.push(&[byte; 33]);
        }
        assert_eq!(buffer.expose().len(), 256 * 33);
        assert_eq!((buffer.expose()[0], buffer.expose()[256 * 33 - 1]), (0, 255));
    }
}
