//! The framing that requests and responses share.
//!
//! [`Seal`] and [`Open`] turn plaintext into framed ciphertext and back, in either media. The opening side fails
//! once and for all: after the first error nothing more is opened, and `finish` stays an error.

use wire::codec::{read_varint, write_varint};
use wire::limits::{CHUNK_CIPHERTEXT_BYTES_MAX, CHUNK_PLAINTEXT_BYTES_MAX};
use wire::message::Media;

use super::Plaintext;
use crate::SealingError;
use crate::hpke_context::{RecipientContext, SenderContext};
use crate::suite::AEAD_TAG_BYTES;

/// Associated data of the final chunk (draft-ietf-ohai-chunked-ohttp-08 section 6.1).
const FINAL: &[u8] = b"final";

/// Seals and frames.
pub(super) struct Seal {
    context: Box<dyn SenderContext>,
    media: Media,
}

impl Seal {
    pub(super) fn new(context: Box<dyn SenderContext>, media: Media) -> Self {
        Self { context, media }
    }

    pub(super) fn context(&self) -> &dyn SenderContext {
        self.context.as_ref()
    }

    /// Non-final chunks. Nothing is written for an empty plaintext: an empty non-final chunk is an error for the
    /// reader.
    pub(super) fn chunks(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), SealingError> {
        if self.media == Media::OneShot {
            return Err(SealingError::ApiMisuse("chunks in a message of one piece"));
        }
        for piece in plaintext.chunks(CHUNK_PLAINTEXT_BYTES_MAX) {
            let sealed = self.context.seal(b"", piece)?;
            write_varint(sealed.len() as u64, out);
            out.extend(sealed);
        }
        Ok(())
    }

    /// The rest and the authenticated end.
    pub(super) fn last(mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), SealingError> {
        if self.media == Media::OneShot {
            out.extend(self.context.seal(b"", plaintext)?);
            return Ok(());
        }
        let whole = plaintext.len().saturating_sub(1) / CHUNK_PLAINTEXT_BYTES_MAX * CHUNK_PLAINTEXT_BYTES_MAX;
        let (before, last) = plaintext.split_at(whole);
        self.chunks(before, out)?;
        write_varint(0, out);
        out.extend(self.context.seal(FINAL, last)?);
        Ok(())
    }
}

/// Takes frames apart and opens them.
pub(super) struct Open {
    context: Box<dyn RecipientContext>,
    media: Media,
    buffer: Vec<u8>,
    /// The size 0 was read: what follows is the final chunk, up to the end of the stream.
    at_final: bool,
    failed: bool,
    remaining: usize,
    limit: usize,
}

impl Open {
    /// `remaining` of `limit` bytes may still come.
    pub(super) fn new(
        context: Box<dyn RecipientContext>,
        media: Media,
        remaining: usize,
        limit: usize,
    ) -> Self {
        Self {
            context,
            media,
            buffer: Vec::new(),
            at_final: false,
            failed: false,
            remaining,
            limit,
        }
    }

    pub(super) fn context(&self) -> &dyn RecipientContext {
        self.context.as_ref()
    }

    /// Takes ciphertext and appends the plaintext of each whole non-final chunk.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<Plaintext>) -> Result<(), SealingError> {
        let result = self.try_push(bytes, out);
        self.failed |= result.is_err();
        result
    }

    fn try_push(&mut self, bytes: &[u8], out: &mut Vec<Plaintext>) -> Result<(), SealingError> {
        if self.failed {
            return Err(SealingError::Open);
        }
        self.remaining = self
            .remaining
            .checked_sub(bytes.len())
            .ok_or(SealingError::TooLarge { limit: self.limit })?;
        self.buffer.extend_from_slice(bytes);
        if self.media == Media::OneShot {
            return Ok(());
        }
        let mut used = 0;
        while !self.at_final {
            let rest = self.buffer.get(used..).unwrap_or_default();
            let Some((size, prefix)) = read_varint(rest) else {
                break;
            };
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            if size == 0 {
                self.at_final = true;
                used += prefix;
                break;
            }
            if size > CHUNK_CIPHERTEXT_BYTES_MAX {
                return Err(SealingError::TooLarge {
                    limit: CHUNK_CIPHERTEXT_BYTES_MAX,
                });
            }
            // Draft-08: a non-final chunk without plaintext is a decryption failure.
            if size <= AEAD_TAG_BYTES {
                return Err(SealingError::Open);
            }
            let Some(sealed) = rest.get(prefix..prefix + size) else {
                break;
            };
            out.push(self.context.open(b"", sealed)?);
            used += prefix + size;
        }
        self.buffer.drain(..used);
        if self.at_final && self.buffer.len() > CHUNK_CIPHERTEXT_BYTES_MAX {
            return Err(SealingError::TooLarge {
                limit: CHUNK_CIPHERTEXT_BYTES_MAX,
            });
        }
        Ok(())
    }

    /// The stream has ended: opens the final chunk, or says that there was none.
    pub(super) fn finish(mut self) -> Result<Plaintext, SealingError> {
        if self.failed {
            return Err(SealingError::Open);
        }
        let aad = match self.media {
            Media::OneShot => b"",
            Media::Chunked if self.at_final => FINAL,
            Media::Chunked => return Err(SealingError::Truncated),
        };
        if self.buffer.len() < AEAD_TAG_BYTES {
            return Err(SealingError::Truncated);
        }
        self.context.open(aad, &self.buffer)
    }
}
