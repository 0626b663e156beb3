//! The client's side of one exchange.
//!
//! 1. [`Exchange::seal`] writes the inner request, pads it and seals it to an attested key
//! 2. [`SealedRequest`] gives the ciphertext in pieces to send in order
//! 3. [`ResponseReader::push`] takes ciphertext and gives head and body as they come
//! 4. [`ResponseReader::finish`] says whether the answer is whole, and whether its receipt fits

use sealing::AttestedKey;
use sealing::stream::{Plaintext, RequestSealer, ResponseOpener};
use wire::limits::{ENCAPSULATED_REQUEST_BYTES_MAX, ENCAPSULATED_RESPONSE_BYTES_MAX};
use wire::message::Media;

use crate::binary_http::{self, Decoder, Head, Kind, Part};
use crate::commitment::{ResponseDigest, request_digest};
use crate::events::{CommentFilter, EVENT_STREAM};
use crate::receipt::{Delivered, RECEIPT_HEADER, SignedReceipt};
use crate::{Completion, ExchangeError, Padding, Request, ResponseHead, UnixTime, date};

/// Headers that the exchange writes itself.
const RESERVED: [&str; 5] = ["authorization", "date", "content-length", "host", RECEIPT_HEADER];

/// Seals requests.
pub struct Exchange;

impl Exchange {
    /// Seals `request` to `key` as of `now`: evidence must be fresh at `now`, and the inner Date is `now`.
    pub fn seal(
        key: &AttestedKey,
        media: Media,
        request: Request,
        padding: Padding,
        now: UnixTime,
    ) -> Result<(SealedRequest, ResponseReader), ExchangeError> {
        let digest = request_digest(&request.method, &request.path, request.body.expose());
        let message = inner_request(&request, now)?;
        let message = padding.fill_bucket(message);
        let mut ciphertext = Vec::new();
        let sealer = RequestSealer::new(key, media, now, &mut ciphertext)?;
        let response = sealer.finish(&message, &mut ciphertext)?;
        if ciphertext.len() > ENCAPSULATED_REQUEST_BYTES_MAX {
            return Err(ExchangeError::TooLarge {
                what: "encapsulated request",
                limit: ENCAPSULATED_REQUEST_BYTES_MAX,
            });
        }
        Ok((
            SealedRequest {
                media,
                ciphertext,
                sent: 0,
            },
            ResponseReader::new(response, digest),
        ))
    }
}

/// The inner request with the headers that every request has.
fn inner_request(request: &Request, now: UnixTime) -> Result<zeroize::Zeroizing<Vec<u8>>, ExchangeError> {
    if request
        .headers
        .iter()
        .any(|(name, _)| RESERVED.contains(&name.as_str()))
    {
        return Err(ExchangeError::ApiMisuse(
            "a header that the exchange writes itself",
        ));
    }
    let mut fields = vec![("date".to_owned(), date::format(now))];
    fields.extend(request.headers.iter().cloned());
    let mut bearer = None;
    if let Some(token) = &request.token {
        fields.push(("authorization".to_owned(), format!("Bearer {}", token.expose())));
        bearer = Some(fields.len() - 1);
    }
    let message = binary_http::request(&request.method, &request.path, &fields, request.body.expose());
    if let Some((_, value)) = bearer.and_then(|at| fields.get_mut(at)) {
        zeroize::Zeroize::zeroize(value);
    }
    message
}

/// Ciphertext of a request: an iterator of pieces of at most 64 KiB, to send in order.
pub struct SealedRequest {
    media: Media,
    ciphertext: Vec<u8>,
    sent: usize,
}

impl SealedRequest {
    /// Framing; its content types are [`Media::request_type`] and [`Media::response_type`].
    pub fn media(&self) -> Media {
        self.media
    }

    /// Size of what was not taken yet.
    pub fn bytes_left(&self) -> usize {
        self.ciphertext.len() - self.sent
    }

    /// All of it at once.
    pub fn into_bytes(self) -> Vec<u8> {
        self.ciphertext
    }
}

impl Iterator for SealedRequest {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let rest = self.ciphertext.get(self.sent..)?;
        let piece = rest
            .chunks(wire::limits::FRAME_PAYLOAD_BYTES_MAX)
            .next()?
            .to_vec();
        self.sent += piece.len();
        Some(piece)
    }
}

/// A piece of the answer.
pub enum ResponseEvent {
    /// Status and headers; once, first.
    Head(ResponseHead),
    /// Body bytes, in order. Of a stream: without padding and comment lines.
    Body(Completion),
}

/// What a whole answer ends with.
#[must_use]
pub struct Finished {
    /// What the final chunk contained.
    pub events: Vec<ResponseEvent>,
    /// A receipt whose commitments match what was sent and read. Whose signature it is, is for
    /// [`SignedReceipt::verify`]. Refusals have none.
    pub receipt: Option<SignedReceipt>,
}

/// Reads one answer.
#[must_use = "only finish() tells whether the answer is whole"]
pub struct ResponseReader {
    opener: ResponseOpener,
    inner: Inner,
}

impl ResponseReader {
    fn new(opener: ResponseOpener, request_digest: [u8; 32]) -> Self {
        let inner = Inner {
            decoder: Decoder::new(Kind::Response, ENCAPSULATED_RESPONSE_BYTES_MAX),
            request_digest,
            response: None,
            filter: None,
            header_receipt: None,
        };
        Self { opener, inner }
    }

    /// Takes ciphertext. What is returned is authentic and in order; that it is all, only
    /// [`ResponseReader::finish`] says. After an error nothing more is returned.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<ResponseEvent>, ExchangeError> {
        let mut chunks = Vec::new();
        let opened = self.opener.push(bytes, &mut chunks);
        let events = self.inner.read(chunks)?;
        opened?;
        Ok(events)
    }

    /// The stream has ended. An error unless the authenticated end was there, the inner message is whole and the
    /// receipt, if there is one, commits to this request and this response.
    pub fn finish(mut self) -> Result<Finished, ExchangeError> {
        let mut chunks = Vec::new();
        self.opener.finish(&mut chunks)?;
        let mut events = self.inner.read(chunks)?;
        let receipt = self.inner.finish(&mut events)?;
        Ok(Finished { events, receipt })
    }
}

/// What happens to opened chunks.
struct Inner {
    decoder: Decoder,
    request_digest: [u8; 32],
    response: Option<ResponseDigest>,
    /// Present when the body is a stream of events.
    filter: Option<CommentFilter>,
    header_receipt: Option<String>,
}

impl Inner {
    fn read(&mut self, chunks: Vec<Plaintext>) -> Result<Vec<ResponseEvent>, ExchangeError> {
        let mut parts = Vec::new();
        for chunk in chunks {
            self.decoder.push(&chunk, &mut parts)?;
        }
        self.events(parts)
    }

    fn events(&mut self, parts: Vec<Part>) -> Result<Vec<ResponseEvent>, ExchangeError> {
        let mut events = Vec::new();
        for part in parts {
            match part {
                Part::Head(Head::Response { status, mut fields }) => {
                    self.response = Some(ResponseDigest::new(status));
                    let stream = |(name, value): &(String, String)| {
                        name == "content-type" && value.split(';').next() == Some(EVENT_STREAM)
                    };
                    self.filter = fields.iter().any(stream).then(CommentFilter::default);
                    fields.retain(|(name, value)| {
                        if name == RECEIPT_HEADER {
                            self.header_receipt = Some(value.clone());
                        }
                        name != RECEIPT_HEADER
                    });
                    events.push(ResponseEvent::Head(ResponseHead {
                        status,
                        headers: fields,
                    }));
                }
                Part::Head(Head::Request { .. }) => return Err(ExchangeError::MalformedInner("response")),
                Part::Content(content) => {
                    let content = match &mut self.filter {
                        Some(filter) => filter.push(&content),
                        None => content,
                    };
                    if let Some(response) = &mut self.response {
                        response.update(&content);
                    }
                    if !content.is_empty() {
                        events.push(ResponseEvent::Body(Completion::from_zeroizing(content)));
                    }
                }
            }
        }
        Ok(events)
    }

    fn finish(mut self, events: &mut Vec<ResponseEvent>) -> Result<Option<SignedReceipt>, ExchangeError> {
        let mut parts = Vec::new();
        let decoder = core::mem::replace(&mut self.decoder, Decoder::new(Kind::Response, 0));
        decoder.finish(&mut parts)?;
        events.extend(self.events(parts)?);
        let response = self
            .response
            .ok_or(ExchangeError::MalformedInner("response"))?
            .finish();
        let line = match &self.filter {
            Some(filter) => filter.receipt()?,
            None => self.header_receipt.as_ref().map(String::as_bytes),
        };
        line.map(|line| Delivered::from_text(line)?.check(&self.request_digest, &response))
            .transpose()
    }
}
