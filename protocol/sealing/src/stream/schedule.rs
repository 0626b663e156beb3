//! Labels and the key schedule of the response (RFC 9458 section 4.4; draft-ietf-ohai-chunked-ohttp-08 section 6).

use hkdf::Hkdf;
use sha2::{Sha256, Sha384};
use wire::ids::KdfId;
use wire::message::Media;
use zeroize::Zeroizing;

use crate::header::HEADER_BYTES;
use crate::suite::AEAD_NONCE_BYTES;
use crate::{SealingError, Suite};

/// HPKE `info` of a request: label, a zero byte, the header.
pub(super) fn request_info(media: Media, header: &[u8; HEADER_BYTES]) -> Vec<u8> {
    let label: &[u8] = match media {
        Media::OneShot => b"message/bhttp request",
        Media::Chunked => b"message/bhttp chunked request",
    };
    [label, &[0], header].concat()
}

/// Exporter context of the response secret.
pub(super) fn response_label(media: Media) -> &'static [u8] {
    match media {
        Media::OneShot => b"message/bhttp response",
        Media::Chunked => b"message/bhttp chunked response",
    }
}

/// AEAD key and base nonce of a response.
pub(super) struct ResponseKeys {
    pub(super) key: Zeroizing<Vec<u8>>,
    pub(super) nonce: Zeroizing<[u8; AEAD_NONCE_BYTES]>,
}

impl ResponseKeys {
    /// `prk = Extract(enc ‖ response_nonce, secret)`, `key = Expand(prk, "key", Nk)`,
    /// `nonce = Expand(prk, "nonce", Nn)`, with the KDF of the suite.
    pub(super) fn derive(
        suite: Suite,
        enc: &[u8],
        response_nonce: &[u8],
        secret: &[u8],
    ) -> Result<Self, SealingError> {
        let salt = [enc, response_nonce].concat();
        let mut keys = Self {
            key: Zeroizing::new(vec![0; suite.aead_key_bytes()]),
            nonce: Zeroizing::new([0; AEAD_NONCE_BYTES]),
        };
        let expanded = if suite.symmetric().kdf == KdfId::HKDF_SHA384 {
            let prk = Hkdf::<Sha384>::new(Some(&salt), secret);
            prk.expand(b"key", &mut keys.key)
                .and_then(|()| prk.expand(b"nonce", keys.nonce.as_mut()))
        } else {
            let prk = Hkdf::<Sha256>::new(Some(&salt), secret);
            prk.expand(b"key", &mut keys.key)
                .and_then(|()| prk.expand(b"nonce", keys.nonce.as_mut()))
        };
        expanded.map_err(|_| SealingError::ApiMisuse("response key too long"))?;
        Ok(keys)
    }
}
