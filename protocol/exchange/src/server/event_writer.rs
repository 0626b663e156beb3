//! Writing a stream of server-sent events in chunks that tell nothing of their content's size.
//!
//! One sealed chunk is one piece of content of a binary HTTP response of indeterminate length: the size of the
//! content (two bytes), the events, then padding in the form of a comment line. Its plaintext is a multiple of
//! [`CHUNK_UNIT_BYTES`]. The first chunk begins with the head of the response; the final one carries the receipt and the
//! two terminators, and is filled with zero bytes.

use sealing::stream::ResponseSealer;
use wire::limits::CHUNK_PLAINTEXT_BYTES_MAX;
use wire::message::Media;
use zeroize::Zeroizing;

use crate::binary_http::{content_chunk_header, stream_head};
use crate::commitment::ResponseDigest;
use crate::events::{CommentFilter, EVENT_STREAM, RECEIPT_PREFIX};
use crate::padding::{CHUNK_UNIT_BYTES, write_event_padding};
use crate::receipt::{ReceiptFacts, ReceiptSigner, SignedReceipt};
use crate::secret_buffer::SecretBuffer;
use crate::{ExchangeError, Padding};

/// Bytes of a content size between 64 and 16383.
const SIZE_BYTES: usize = 2;
/// Content of the largest chunk.
const CONTENT_BYTES_MAX: usize = CHUNK_PLAINTEXT_BYTES_MAX - SIZE_BYTES;
/// Content of a chunk of one unit.
const CONTENT_BYTES_UNIT: usize = CHUNK_UNIT_BYTES - SIZE_BYTES;
/// Events that may wait for their tick; above it they go out at once, as chunks of the one size.
const QUEUE_BYTES_MAX: usize = 1024 * 1024;

/// Writes server-sent events. Dropped without [`EventWriter::finish`], the client sees a cut stream.
#[must_use = "a stream without finish() is a cut stream for the client"]
pub struct EventWriter {
    sealer: ResponseSealer,
    media: Media,
    padding: Padding,
    epoch: u64,
    request_digest: [u8; 32],
    response_digest: ResponseDigest,
    filter: CommentFilter,
    /// Profile `constant`: events that wait for their tick.
    queue: SecretBuffer,
    /// One piece: the message, until it is whole.
    whole: SecretBuffer,
}

impl EventWriter {
    pub(super) fn new(
        sealer: ResponseSealer,
        media: Media,
        padding: Padding,
        epoch: u64,
        request_digest: [u8; 32],
        out: &mut Vec<u8>,
    ) -> Result<Self, ExchangeError> {
        let status = 200;
        let mut writer = Self {
            sealer,
            media,
            padding,
            epoch,
            request_digest,
            response_digest: ResponseDigest::new(status),
            filter: CommentFilter::default(),
            queue: SecretBuffer::default(),
            whole: SecretBuffer::default(),
        };
        let mut head = stream_head(status, &[("content-type".to_owned(), EVENT_STREAM.to_owned())])?;
        if padding != Padding::Off {
            // The smallest content that fills the unit and whose size takes two bytes.
            let content =
                (head.len() + SIZE_BYTES + 64).next_multiple_of(CHUNK_UNIT_BYTES) - head.len() - SIZE_BYTES;
            content_chunk_header(content, &mut head);
            write_event_padding(content, &mut head);
        }
        writer.send(&head, out)?;
        Ok(writer)
    }

    /// Writes one or more whole events: text that ends with an empty line. Except in profile `constant`, they are
    /// sealed and flushed at once.
    pub fn write(&mut self, events: &[u8], out: &mut Vec<u8>) -> Result<(), ExchangeError> {
        if !events.ends_with(b"\n\n") {
            return Err(ExchangeError::ApiMisuse("an event ends with an empty line"));
        }
        let content = self.filter.push(events);
        self.response_digest.update(&content);
        match self.padding {
            Padding::Off => self.content(events, events.len().min(CONTENT_BYTES_MAX), out),
            Padding::Sized => self.content(events, CONTENT_BYTES_MAX, out),
            Padding::Constant => {
                self.queue.extend(events);
                while self.queue.len() > QUEUE_BYTES_MAX {
                    self.tick(out)?;
                }
                Ok(())
            }
        }
    }

    /// Profile `constant`: one chunk of the one size, with what waits and padding. To be called every
    /// [`Padding::tick_milliseconds`]; in the other profiles it sends a chunk of padding, which keeps a slow stream
    /// alive.
    pub fn tick(&mut self, out: &mut Vec<u8>) -> Result<(), ExchangeError> {
        let events = self.queue.take(CONTENT_BYTES_UNIT);
        self.padded_content(&events, CONTENT_BYTES_UNIT, out)
    }

    /// Whether events wait for their tick; finish when none does, so that the end does not show their size.
    pub fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Ends the stream, with a receipt if one is due.
    pub fn finish(
        mut self,
        receipt: Option<(&ReceiptSigner, ReceiptFacts)>,
        out: &mut Vec<u8>,
    ) -> Result<Option<SignedReceipt>, ExchangeError> {
        while self.is_waiting() {
            self.tick(out)?;
        }
        let digest = self.response_digest.clone().finish();
        let delivered = receipt
            .map(|(signer, facts)| signer.sign(&facts, self.epoch, &self.request_digest, &digest))
            .transpose()?;
        let mut last = Vec::new();
        if let Some(delivered) = &delivered {
            let line = [RECEIPT_PREFIX, delivered.to_text().as_bytes(), b"\n\n"].concat();
            content_chunk_header(line.len(), &mut last);
            last.extend(line);
        }
        content_chunk_header(0, &mut last); // content terminator
        last.push(0); // terminator of the trailers, of which there are none
        if self.padding != Padding::Off {
            last.resize(last.len().next_multiple_of(CHUNK_UNIT_BYTES), 0);
        }
        match self.media {
            Media::Chunked => self.sealer.finish(&last, out)?,
            Media::OneShot => {
                self.whole.extend(&last);
                self.sealer
                    .finish(&self.padding.fill_bucket(self.whole.into_inner()), out)?;
            }
        }
        Ok(delivered.map(|delivered| delivered.receipt()))
    }

    /// Events in as few chunks as they need, the last one padded to a unit unless the profile is `off`.
    fn content(&mut self, events: &[u8], piece_bytes: usize, out: &mut Vec<u8>) -> Result<(), ExchangeError> {
        for piece in events.chunks(piece_bytes.max(1)) {
            let bytes = match self.padding {
                Padding::Off => piece.len(),
                _ => (piece.len() + SIZE_BYTES).next_multiple_of(CHUNK_UNIT_BYTES) - SIZE_BYTES,
            };
            self.padded_content(piece, bytes, out)?;
        }
        Ok(())
    }

    /// One chunk with `bytes` of content: `piece` and padding.
    fn padded_content(&mut self, piece: &[u8], bytes: usize, out: &mut Vec<u8>) -> Result<(), ExchangeError> {
        let mut chunk = Zeroizing::new(Vec::with_capacity(SIZE_BYTES + bytes));
        content_chunk_header(bytes, &mut chunk);
        chunk.extend_from_slice(piece);
        write_event_padding(bytes - piece.len(), &mut chunk);
        self.send(&chunk, out)
    }

    fn send(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), ExchangeError> {
        match self.media {
            Media::Chunked => self.sealer.seal(chunk, out)?,
            Media::OneShot => self.whole.extend(chunk),
        }
        Ok(())
    }
}
