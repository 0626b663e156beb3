//! Encapsulated responses.

use wire::limits::ENCAPSULATED_RESPONSE_BYTES_MAX;
use wire::message::Media;
use zeroize::Zeroizing;

use super::Plaintext;
use super::chunk::{Open, Seal};
use super::schedule::ResponseKeys;
use crate::{SealingError, Suite, hpke_context};

/// Server half of a response.
#[must_use = "a response without its final chunk is an error for the client"]
pub struct ResponseSealer {
    /// The response nonce, until it is written.
    nonce: Vec<u8>,
    seal: Seal,
}

impl ResponseSealer {
    pub(super) fn new(suite: Suite, media: Media, enc: &[u8], secret: &[u8]) -> Result<Self, SealingError> {
        let mut nonce = vec![0; suite.response_nonce_bytes()];
        getrandom::fill(&mut nonce).map_err(|_| SealingError::Randomness)?;
        Self::with_nonce(suite, media, enc, secret, nonce)
    }

    /// With a given response nonce: a nonce is used once, so only published vectors come here directly.
    pub(crate) fn with_nonce(
        suite: Suite,
        media: Media,
        enc: &[u8],
        secret: &[u8],
        nonce: Vec<u8>,
    ) -> Result<Self, SealingError> {
        let keys = ResponseKeys::derive(suite, enc, &nonce, secret)?;
        let context = hpke_context::response_sender(suite, &keys.key, keys.nonce.as_slice())?;
        Ok(Self {
            nonce,
            seal: Seal::new(context, media),
        })
    }

    /// Seals `plaintext` in non-final chunks; only for [`Media::Chunked`]. Up to 16 KiB make one chunk.
    pub fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), SealingError> {
        out.append(&mut self.nonce);
        self.seal.chunks(plaintext, out)
    }

    /// Seals the rest and the authenticated end.
    pub fn finish(mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), SealingError> {
        out.append(&mut self.nonce);
        self.seal.last(plaintext, out)
    }
}

/// Client half of a response.
#[must_use = "only finish() tells whether the response is whole"]
pub struct ResponseOpener {
    suite: Suite,
    media: Media,
    enc: Vec<u8>,
    secret: Zeroizing<Vec<u8>>,
    state: State,
}

enum State {
    Nonce(Vec<u8>),
    Chunks(Open),
}

impl ResponseOpener {
    pub(crate) fn new(suite: Suite, media: Media, enc: Vec<u8>, secret: Zeroizing<Vec<u8>>) -> Self {
        Self {
            suite,
            media,
            enc,
            secret,
            state: State::Nonce(Vec::new()),
        }
    }

    /// Takes ciphertext and appends the plaintext of each whole chunk. What is returned is authentic and in order;
    /// that it is all, only [`ResponseOpener::finish`] says.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<Plaintext>) -> Result<(), SealingError> {
        if let State::Nonce(nonce) = &mut self.state {
            let missing = self.suite.response_nonce_bytes() - nonce.len();
            let (head, rest) = bytes.split_at(missing.min(bytes.len()));
            nonce.extend_from_slice(head);
            bytes = rest;
            if nonce.len() < self.suite.response_nonce_bytes() {
                return Ok(());
            }
            let keys = ResponseKeys::derive(self.suite, &self.enc, nonce, &self.secret)?;
            let context = hpke_context::response_recipient(self.suite, &keys.key, keys.nonce.as_slice())?;
            let limit = ENCAPSULATED_RESPONSE_BYTES_MAX;
            self.state = State::Chunks(Open::new(context, self.media, limit - nonce.len(), limit));
        }
        match &mut self.state {
            State::Chunks(open) => open.push(bytes, out),
            State::Nonce(_) => Ok(()),
        }
    }

    /// The stream has ended: opens the final chunk. [`SealingError::Truncated`] when there was none.
    pub fn finish(self, out: &mut Vec<Plaintext>) -> Result<(), SealingError> {
        match self.state {
            State::Nonce(_) => Err(SealingError::Truncated),
            State::Chunks(open) => {
                out.push(open.finish()?);
                Ok(())
            }
        }
    }
}
