//! Encapsulated requests.

use sha2::{Digest, Sha256};
use wire::SymmetricSuite;
use wire::ids::KemId;
use wire::message::Media;
use zeroize::Zeroizing;

use super::chunk::{Open, Seal};
use super::schedule::{request_info, response_label};
use super::{Plaintext, ResponseOpener, ResponseSealer};
use crate::attested_key::private::Recipient as _;
use crate::header::{HEADER_BYTES, Header};
use crate::{AttestedKey, KeyPair, SealingError, Suite, UnixTime, hpke_context};

/// Client half of a request.
#[must_use = "a request without its final chunk is refused"]
pub struct RequestSealer {
    suite: Suite,
    media: Media,
    enc: Vec<u8>,
    seal: Seal,
}

impl RequestSealer {
    /// Begins an encapsulated request to `key`, which must be fresh at `now`. Appends header and encapsulated key
    /// to `out`.
    pub fn new(
        key: &AttestedKey,
        media: Media,
        now: UnixTime,
        out: &mut Vec<u8>,
    ) -> Result<Self, SealingError> {
        let (config, suite) = key.usable(now)?;
        let header = Header::new(config, suite).to_bytes();
        let info = request_info(media, &header);
        let (enc, context) = hpke_context::setup_sender(suite, config.public_key(), &info)?;
        out.extend(header);
        out.extend(&enc);
        Ok(Self {
            suite,
            media,
            enc,
            seal: Seal::new(context, media),
        })
    }

    /// Seals `plaintext` in non-final chunks; only for [`Media::Chunked`].
    pub fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), SealingError> {
        self.seal.chunks(plaintext, out)
    }

    /// Seals the rest and the authenticated end; the response is read with what this returns.
    pub fn finish(self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<ResponseOpener, SealingError> {
        let mut secret = Zeroizing::new(vec![0; self.suite.response_nonce_bytes()]);
        self.seal
            .context()
            .export(response_label(self.media), &mut secret)?;
        self.seal.last(plaintext, out)?;
        Ok(ResponseOpener::new(self.suite, self.media, self.enc, secret))
    }
}

/// Server half, first step: waits for header and encapsulated key.
pub struct HeaderReader {
    media: Media,
    limit: usize,
    buffer: Vec<u8>,
}

/// Where a [`HeaderReader`] is.
pub enum HeaderProgress {
    /// More bytes are needed.
    Waiting(HeaderReader),
    /// Header and encapsulated key are there.
    Ready(Encapsulated),
}

impl HeaderReader {
    /// For one request; `limit` bounds the whole encapsulated request in bytes.
    pub fn new(media: Media, limit: usize) -> Self {
        Self {
            media,
            limit,
            buffer: Vec::new(),
        }
    }

    /// Takes bytes. An unknown KEM is [`SealingError::KeyConfig`]: the size of its encapsulated key is not known.
    pub fn push(mut self, bytes: &[u8]) -> Result<HeaderProgress, SealingError> {
        if self.buffer.len() + bytes.len() > self.limit {
            return Err(SealingError::TooLarge { limit: self.limit });
        }
        self.buffer.extend_from_slice(bytes);
        let Some(header) = self.buffer.first_chunk::<HEADER_BYTES>() else {
            return Ok(HeaderProgress::Waiting(self));
        };
        let header = Header::from_bytes(header)?;
        let enc_bytes = header.kem.enc_bytes().ok_or(SealingError::KeyConfig)?;
        if self.buffer.len() < HEADER_BYTES + enc_bytes {
            return Ok(HeaderProgress::Waiting(self));
        }
        let rest = self.buffer.split_off(HEADER_BYTES + enc_bytes);
        let enc = self.buffer.split_off(HEADER_BYTES);
        Ok(HeaderProgress::Ready(Encapsulated {
            media: self.media,
            limit: self.limit,
            header,
            enc,
            rest,
        }))
    }
}

/// Server half, second step: header and encapsulated key are known, nothing was opened.
pub struct Encapsulated {
    media: Media,
    limit: usize,
    header: Header,
    enc: Vec<u8>,
    rest: Vec<u8>,
}

impl Encapsulated {
    /// Identifier of the key that the request says it is sealed to.
    pub fn key_id(&self) -> u8 {
        self.header.key_id
    }

    /// KEM that the request names.
    pub fn kem(&self) -> KemId {
        self.header.kem
    }

    /// KDF and AEAD that the request names.
    pub fn symmetric(&self) -> SymmetricSuite {
        self.header.symmetric
    }

    /// SHA-256 of the encapsulated key: what the replay cache remembers.
    pub fn enc_sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.enc).into()
    }

    /// Decapsulates with `key`; [`SealingError::KeyConfig`] when the request names another key or suite.
    pub fn open_with(self, key: &KeyPair) -> Result<RequestOpener, SealingError> {
        self.header.check(key)?;
        let info = request_info(self.media, &self.header.to_bytes());
        let context = key.recipient(&self.enc, &info)?;
        let remaining = self.limit.saturating_sub(HEADER_BYTES + self.enc.len());
        Ok(RequestOpener {
            suite: key.suite(),
            media: self.media,
            enc: self.enc,
            open: Open::new(context, self.media, remaining, self.limit),
            first: self.rest,
        })
    }
}

/// Server half, third step: opens the request's chunks.
#[must_use = "only finish() tells whether the request is whole"]
pub struct RequestOpener {
    suite: Suite,
    media: Media,
    enc: Vec<u8>,
    open: Open,
    /// What came together with header and encapsulated key.
    first: Vec<u8>,
}

impl RequestOpener {
    /// Takes ciphertext and appends the plaintext of each whole chunk.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<Plaintext>) -> Result<(), SealingError> {
        let first = core::mem::take(&mut self.first);
        self.open.push(&first, out)?;
        self.open.push(bytes, out)
    }

    /// The stream has ended: opens the final chunk. The response is sealed with what this returns.
    pub fn finish(mut self, out: &mut Vec<Plaintext>) -> Result<ResponseSealer, SealingError> {
        self.push(b"", out)?;
        let mut secret = Zeroizing::new(vec![0; self.suite.response_nonce_bytes()]);
        self.open
            .context()
            .export(response_label(self.media), &mut secret)?;
        out.push(self.open.finish()?);
        ResponseSealer::new(self.suite, self.media, &self.enc, &secret)
    }
}
