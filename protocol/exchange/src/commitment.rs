//! Salted commitments to a request and to a response.
//!
//! `SHA-256(label ‖ salt ‖ SHA-256(message))`. The salt has 32 random bytes and is told to the client only, so a
//! receipt can be shown to anyone: without the salt, not even a guessed prompt can be confirmed.

use sha2::{Digest, Sha256};

/// Bytes of a salt.
pub(crate) const SALT_BYTES: usize = 32;

/// Digest of a request: method, path and body, each behind its length in eight bytes.
pub(crate) fn request_digest(method: &str, path: &str, body: &[u8]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in [method.as_bytes(), path.as_bytes(), body] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

/// Digest of a response as it is read: status in two bytes, then the body without padding and comment lines.
#[derive(Clone)]
pub(crate) struct ResponseDigest(Sha256);

impl ResponseDigest {
    pub(crate) fn new(status: u16) -> Self {
        Self(Sha256::new_with_prefix(status.to_be_bytes()))
    }

    pub(crate) fn update(&mut self, body: &[u8]) {
        self.0.update(body);
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// Commitment to a request.
pub(crate) fn request_commitment(salt: &[u8; SALT_BYTES], digest: &[u8; 32]) -> [u8; 32] {
    commit(b"adyton request commitment v1", salt, digest)
}

/// Commitment to a response.
pub(crate) fn response_commitment(salt: &[u8; SALT_BYTES], digest: &[u8; 32]) -> [u8; 32] {
    commit(b"adyton response commitment v1", salt, digest)
}

fn commit(label: &[u8], salt: &[u8; SALT_BYTES], digest: &[u8; 32]) -> [u8; 32] {
    Sha256::new()
        .chain_update(label)
        .chain_update(salt)
        .chain_update(digest)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(
            request_digest("GET", "/a", b"b"),
            request_digest("GET", "/ab", b"")
        );
        assert_ne!(
            request_commitment(&[0; 32], &[0; 32]),
            response_commitment(&[0; 32], &[0; 32])
        );
        assert_ne!(
            request_commitment(&[0; 32], &[0; 32]),
            request_commitment(&[1; 32], &[0; 32])
        );
    }
}
