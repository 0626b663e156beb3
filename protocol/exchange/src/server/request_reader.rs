//! Opening one request.

use std::sync::Arc;

use sealing::stream::{HeaderProgress, HeaderReader, Plaintext, RequestOpener};
use wire::ProblemCode;
use wire::message::Media;

use super::{Gateway, Responder};
use crate::binary_http::{Decoder, Head, Kind, Part};
use crate::commitment::request_digest;
use crate::secret_buffer::SecretBuffer;
use crate::{ApiToken, ExchangeError, Prompt, Request, UnixTime, date};

/// Opens one request.
#[must_use = "only finish() tells whether the request is whole"]
pub struct RequestReader {
    gateway: Arc<Gateway>,
    media: Media,
    state: State,
    inner: Inner,
}

enum State {
    Header(HeaderReader),
    Opening { opener: RequestOpener, epoch: u64 },
    Failed,
}

impl RequestReader {
    pub(super) fn new(gateway: Arc<Gateway>, media: Media) -> Self {
        let limit = gateway.config().request_bytes_max;
        let state = State::Header(HeaderReader::new(media, limit));
        Self {
            gateway,
            media,
            state,
            inner: Inner::new(limit),
        }
    }

    /// Takes ciphertext as it arrives, at `now`. After an error, abort with [`ExchangeError::problem`].
    pub fn push(&mut self, bytes: &[u8], now: UnixTime) -> Result<(), ExchangeError> {
        // Whatever fails below leaves the reader failed.
        match core::mem::replace(&mut self.state, State::Failed) {
            State::Header(reader) => match reader.push(bytes)? {
                HeaderProgress::Waiting(reader) => self.state = State::Header(reader),
                HeaderProgress::Ready(request) => {
                    let (key, epoch) = self.gateway.admit(&request, now)?;
                    let mut opener = request.open_with(&key)?;
                    self.inner.open(&mut opener, b"")?;
                    self.state = State::Opening { opener, epoch };
                }
            },
            State::Opening { mut opener, epoch } => {
                self.inner.open(&mut opener, bytes)?;
                self.state = State::Opening { opener, epoch };
            }
            State::Failed => return Err(ExchangeError::ApiMisuse("a request that has failed")),
        }
        Ok(())
    }

    /// The stream has ended.
    ///
    /// Outer error: nothing could be opened, or not to its end; abort with [`ExchangeError::problem`]. Inner error:
    /// opened, but not acceptable as a request; answer it with [`Responder::refuse`].
    pub fn finish(
        mut self,
        now: UnixTime,
    ) -> Result<(Result<Request, ProblemCode>, Responder), ExchangeError> {
        let State::Opening { opener, epoch } = self.state else {
            return Err(sealing::SealingError::Truncated.into());
        };
        let mut chunks = Vec::new();
        let sealer = opener.finish(&mut chunks)?;
        self.inner.read(chunks);
        let (request, digest) = self.inner.finish(now, self.gateway.config().date_window_seconds);
        let responder = Responder::new(sealer, self.media, self.gateway.config().padding, epoch, digest);
        Ok((request, responder))
    }
}

/// What happens to opened chunks. A fault of the inner message is kept until the end, because only then there is a
/// key to answer it with.
struct Inner {
    decoder: Decoder,
    head: Option<Head>,
    body: SecretBuffer,
    fault: Option<ExchangeError>,
}

impl Inner {
    fn new(limit: usize) -> Self {
        let decoder = Decoder::new(Kind::Request, limit);
        Self {
            decoder,
            head: None,
            body: SecretBuffer::default(),
            fault: None,
        }
    }

    fn open(&mut self, opener: &mut RequestOpener, bytes: &[u8]) -> Result<(), ExchangeError> {
        let mut chunks = Vec::new();
        opener.push(bytes, &mut chunks)?;
        self.read(chunks);
        Ok(())
    }

    fn read(&mut self, chunks: Vec<Plaintext>) {
        for chunk in chunks {
            if self.fault.is_none() {
                let mut parts = Vec::new();
                self.fault = self.decoder.push(&chunk, &mut parts).err();
                self.take(parts);
            }
        }
    }

    fn take(&mut self, parts: Vec<Part>) {
        for part in parts {
            match part {
                Part::Head(head) => self.head = Some(head),
                Part::Content(content) => self.body.extend(&content),
            }
        }
    }

    /// The request, and the digest that a receipt commits to.
    fn finish(mut self, now: UnixTime, window_seconds: u64) -> (Result<Request, ProblemCode>, [u8; 32]) {
        if self.fault.is_none() {
            let mut parts = Vec::new();
            let decoder = core::mem::replace(&mut self.decoder, Decoder::new(Kind::Request, 0));
            self.fault = decoder.finish(&mut parts).err();
            self.take(parts);
        }
        let body = Prompt::from_zeroizing(self.body.into_inner());
        match (self.head, self.fault) {
            (Some(Head::Request { method, path, fields }), None) => {
                let digest = request_digest(&method, &path, body.expose());
                (accept(method, path, fields, body, now, window_seconds), digest)
            }
            (_, fault) => {
                let code = fault.map_or(ProblemCode::MalformedRequest, |fault| fault.problem());
                (Err(code), request_digest("", "", b""))
            }
        }
    }
}

/// Takes the headers apart that the exchange itself reads: one Date inside the window, at most one bearer token.
fn accept(
    method: String,
    path: String,
    fields: Vec<(String, String)>,
    body: Prompt,
    now: UnixTime,
    window_seconds: u64,
) -> Result<Request, ProblemCode> {
    let mut token = None;
    let mut dates = Vec::new();
    let mut headers = Vec::new();
    for (name, value) in fields {
        match name.as_str() {
            "date" => dates.push(value),
            "authorization" => {
                let value = zeroize::Zeroizing::new(value);
                let (scheme, text) = value.split_once(' ').ok_or(ProblemCode::UnauthorizedToken)?;
                if token.is_some() || !scheme.eq_ignore_ascii_case("bearer") {
                    return Err(ProblemCode::UnauthorizedToken);
                }
                token = Some(ApiToken::new(text.trim().to_owned()));
            }
            _ if headers.iter().any(|(seen, _)| *seen == name) => return Err(ProblemCode::MalformedRequest),
            _ => headers.push((name, value)),
        }
    }
    let [date] = dates.as_slice() else {
        return Err(ProblemCode::MalformedRequest);
    };
    let date = date::parse(date).ok_or(ProblemCode::MalformedRequest)?;
    if date.seconds().abs_diff(now.seconds()) > window_seconds {
        return Err(ProblemCode::DateOutsideWindow);
    }
    Ok(Request {
        method,
        path,
        headers,
        token,
        body,
    })
}
