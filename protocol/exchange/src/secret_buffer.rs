//! A growable buffer that leaves no copy behind: what `Vec` moves when it grows is wiped first.

use zeroize::{Zeroize, Zeroizing};

/// Plaintext in transit between a codec's input and its output.
#[derive(Default)]
pub(crate) struct SecretBuffer(Zeroizing<Vec<u8>>);

impl SecretBuffer {
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            let mut grown = Zeroizing::new(Vec::with_capacity(needed.max(2 * self.0.capacity())));
            grown.extend_from_slice(&self.0);
            self.0 = grown; // the old allocation is wiped as it drops
        }
        self.0.extend_from_slice(bytes);
    }

    /// Takes the first `n` bytes, or as many as there are.
    pub(crate) fn take(&mut self, n: usize) -> Zeroizing<Vec<u8>> {
        let n = n.min(self.0.len());
        let taken = Zeroizing::new(self.0.iter().take(n).copied().collect::<Vec<u8>>());
        self.discard(n);
        taken
    }

    /// Drops the first `n` bytes; what moves down leaves wiped bytes behind.
    pub(crate) fn discard(&mut self, n: usize) {
        let n = n.min(self.0.len());
        let keep = self.0.len() - n;
        self.0.copy_within(n.., 0);
        if let Some(tail) = self.0.get_mut(keep..) {
            tail.zeroize();
        }
        self.0.truncate(keep);
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_inner(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_and_discards_from_the_front() {
        let mut buffer = SecretBuffer::default();
        buffer.extend(b"abc");
        buffer.extend(b"defgh");
        assert_eq!(buffer.take(2).as_slice(), b"ab");
        buffer.discard(1);
        assert_eq!(buffer.as_slice(), b"defgh");
        assert_eq!(buffer.take(99).as_slice(), b"defgh");
        assert!(buffer.is_empty());
    }
}
