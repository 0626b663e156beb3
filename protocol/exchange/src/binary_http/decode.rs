//! Reading binary HTTP piece by piece.
//!
//! States: head → content → trailers → padding. The head is small and bounded, so it is parsed anew until it is
//! whole; content is handed on as it comes. [`Decoder::finish`] applies section 3.8: what is missing at the very
//! end of a message is empty, but nothing may stop in the middle.

use wire::WireError;
use wire::codec::{Reader, read_varint};
use zeroize::Zeroizing;

use super::{
    AUTHORITY_BYTES_MAX, FIELDS_MAX, Fields, HEAD_BYTES_MAX, INFORMATIONAL_MAX, Kind, check_fields,
    check_method, check_path,
};
use crate::ExchangeError;
use crate::secret_buffer::SecretBuffer;

/// Control data and headers.
pub(crate) enum Head {
    Request {
        method: String,
        path: String,
        fields: Fields,
    },
    Response {
        status: u16,
        fields: Fields,
    },
}

/// What a decoder gives out, in the order of the message.
pub(crate) enum Part {
    Head(Head),
    Content(Zeroizing<Vec<u8>>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    /// Known length: the size of the content comes next.
    ContentSize,
    /// Known length: so many bytes of content are missing.
    Content(u64),
    /// Indeterminate length: the size of the next piece comes next. Whether there was one already.
    PieceSize {
        any: bool,
    },
    /// Indeterminate length: so many bytes of the piece are missing.
    Piece(u64),
    /// Trailers, of known or indeterminate length.
    Trailers {
        known: bool,
    },
    Padding,
    Failed,
}

/// Reads one message.
pub(crate) struct Decoder {
    kind: Kind,
    state: State,
    buffer: SecretBuffer,
    content_bytes_left: usize,
    content_bytes_max: usize,
}

impl Decoder {
    pub(crate) fn new(kind: Kind, content_bytes_max: usize) -> Self {
        Self {
            kind,
            state: State::Head,
            buffer: SecretBuffer::default(),
            content_bytes_left: content_bytes_max,
            content_bytes_max,
        }
    }

    /// Takes the next bytes of the message and appends the parts that they complete.
    pub(crate) fn push(&mut self, bytes: &[u8], parts: &mut Vec<Part>) -> Result<(), ExchangeError> {
        self.buffer.extend(bytes);
        let result = self.advance(false, parts);
        if result.is_err() {
            self.state = State::Failed;
        }
        result
    }

    /// The message has ended. An error unless it ended where a message may.
    pub(crate) fn finish(mut self, parts: &mut Vec<Part>) -> Result<(), ExchangeError> {
        self.advance(true, parts)?;
        let may_end = match self.state {
            State::ContentSize
            | State::PieceSize { any: false }
            | State::Trailers { .. }
            | State::Padding => true,
            State::Content(left) => left == 0,
            State::Head | State::PieceSize { any: true } | State::Piece(_) | State::Failed => false,
        };
        if may_end && self.buffer.is_empty() {
            Ok(())
        } else {
            Err(ExchangeError::MalformedInner("message stops in the middle"))
        }
    }

    fn advance(&mut self, at_end: bool, parts: &mut Vec<Part>) -> Result<(), ExchangeError> {
        while self.step(at_end, parts)? {}
        Ok(())
    }

    /// One step of the state machine; `false` when more bytes are needed.
    fn step(&mut self, at_end: bool, parts: &mut Vec<Part>) -> Result<bool, ExchangeError> {
        match self.state {
            State::Head => {
                let Some((head, used, known)) = parse_head(self.kind, self.buffer.as_slice(), at_end)? else {
                    return Ok(false);
                };
                self.buffer.discard(used);
                parts.push(Part::Head(head));
                self.state = if known {
                    State::ContentSize
                } else {
                    State::PieceSize { any: false }
                };
            }
            State::ContentSize => {
                let Some(size) = self.take_size()? else {
                    return Ok(false);
                };
                self.state = State::Content(size);
            }
            State::Content(0) => self.state = State::Trailers { known: true },
            State::PieceSize { .. } => {
                let Some(size) = self.take_size()? else {
                    return Ok(false);
                };
                self.state = if size == 0 {
                    State::Trailers { known: false }
                } else {
                    State::Piece(size)
                };
            }
            State::Piece(0) => self.state = State::PieceSize { any: true },
            State::Content(left) | State::Piece(left) => {
                let content = self.buffer.take(usize::try_from(left).unwrap_or(usize::MAX));
                if content.is_empty() {
                    return Ok(false);
                }
                let left = left - content.len() as u64;
                let known = matches!(self.state, State::Content(_));
                self.state = if known {
                    State::Content(left)
                } else {
                    State::Piece(left)
                };
                parts.push(Part::Content(content));
            }
            State::Trailers { known } => {
                let Some(used) = trailers_bytes(self.buffer.as_slice(), known)? else {
                    return Ok(false);
                };
                self.buffer.discard(used);
                self.state = State::Padding;
            }
            State::Padding => {
                if self.buffer.as_slice().iter().any(|b| *b != 0) {
                    return Err(ExchangeError::MalformedInner("padding is not zero"));
                }
                self.buffer.discard(self.buffer.len());
                return Ok(false);
            }
            State::Failed => return Err(ExchangeError::MalformedInner("used after an error")),
        }
        Ok(true)
    }

    /// A size of content, checked against what may still come.
    fn take_size(&mut self) -> Result<Option<u64>, ExchangeError> {
        let Some((size, used)) = read_varint(self.buffer.as_slice()) else {
            return Ok(None);
        };
        let too_large = ExchangeError::TooLarge {
            what: "content",
            limit: self.content_bytes_max,
        };
        let bytes = usize::try_from(size).map_err(|_| too_large)?;
        self.content_bytes_left = self.content_bytes_left.checked_sub(bytes).ok_or(too_large)?;
        self.buffer.discard(used);
        Ok(Some(size))
    }
}

/// Whether more bytes can help.
enum HeadFault {
    NeedMore,
    Fault(ExchangeError),
}

impl From<WireError> for HeadFault {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Truncated(_) => Self::NeedMore,
            _ => Self::Fault(ExchangeError::MalformedInner("head")),
        }
    }
}

impl From<ExchangeError> for HeadFault {
    fn from(error: ExchangeError) -> Self {
        Self::Fault(error)
    }
}

/// Head, its size and whether lengths are known; `None` when more bytes are needed.
fn parse_head(kind: Kind, bytes: &[u8], at_end: bool) -> Result<Option<(Head, usize, bool)>, ExchangeError> {
    let mut reader = Reader::new(bytes, "head");
    match read_head(kind, &mut reader, at_end) {
        Ok((head, known)) => Ok(Some((head, bytes.len() - reader.rest().len(), known))),
        Err(HeadFault::NeedMore) if bytes.len() > HEAD_BYTES_MAX => Err(ExchangeError::TooLarge {
            what: "head",
            limit: HEAD_BYTES_MAX,
        }),
        Err(HeadFault::NeedMore) => Ok(None),
        Err(HeadFault::Fault(error)) => Err(error),
    }
}

fn read_head(kind: Kind, reader: &mut Reader<'_>, at_end: bool) -> Result<(Head, bool), HeadFault> {
    let known = match (kind, reader.varint()?) {
        (Kind::Request, 0) | (Kind::Response, 1) => true,
        (Kind::Request, 2) | (Kind::Response, 3) => false,
        _ => return Err(ExchangeError::MalformedInner("framing indicator").into()),
    };
    let head = match kind {
        Kind::Request => {
            let method = text(prefixed(reader, AUTHORITY_BYTES_MAX)?)?;
            let _scheme = prefixed(reader, AUTHORITY_BYTES_MAX)?;
            let _authority = prefixed(reader, AUTHORITY_BYTES_MAX)?;
            let path = text(prefixed(reader, HEAD_BYTES_MAX)?)?;
            check_method(&method)?;
            check_path(&path)?;
            Head::Request {
                method,
                path,
                fields: read_fields(reader, known, at_end)?,
            }
        }
        Kind::Response => {
            let mut informational = 0;
            loop {
                let status = u16::try_from(reader.varint()?).unwrap_or(u16::MAX);
                let fields = read_fields(reader, known, at_end)?;
                match status {
                    100..=199 if informational < INFORMATIONAL_MAX => informational += 1,
                    200..=599 => break Head::Response { status, fields },
                    _ => return Err(ExchangeError::MalformedInner("status").into()),
                }
            }
        }
    };
    Ok((head, known))
}

/// A header section (section 3.6). At the end of a truncated message it is empty.
fn read_fields(reader: &mut Reader<'_>, known: bool, at_end: bool) -> Result<Fields, HeadFault> {
    let mut fields = Fields::new();
    if at_end && reader.rest().is_empty() {
        return Ok(fields);
    }
    if known {
        let section = prefixed(reader, HEAD_BYTES_MAX)?;
        let mut lines = Reader::new(section, "header section");
        while !lines.rest().is_empty() {
            read_line(&mut lines, &mut fields).map_err(|fault| match fault {
                // The section is here as a whole: a line that runs over its end will not get better.
                HeadFault::NeedMore => HeadFault::Fault(ExchangeError::MalformedInner("header section")),
                fault => fault,
            })?;
        }
    } else {
        while read_line(reader, &mut fields)? {}
    }
    check_fields(&fields)?;
    Ok(fields)
}

/// One header line; `false` for the terminator of an indeterminate section.
fn read_line(reader: &mut Reader<'_>, fields: &mut Fields) -> Result<bool, HeadFault> {
    let name = prefixed(reader, HEAD_BYTES_MAX)?;
    if name.is_empty() {
        return Ok(false);
    }
    let value = prefixed(reader, HEAD_BYTES_MAX)?;
    if fields.len() >= FIELDS_MAX {
        return Err(ExchangeError::TooLarge {
            what: "number of headers",
            limit: FIELDS_MAX,
        }
        .into());
    }
    fields.push((text(name)?, text(value)?));
    Ok(true)
}

/// Bytes behind their size.
fn prefixed<'a>(reader: &mut Reader<'a>, limit: usize) -> Result<&'a [u8], HeadFault> {
    let size = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
    if size > limit {
        return Err(ExchangeError::TooLarge { what: "head", limit }.into());
    }
    Ok(reader.bytes(size)?)
}

/// Text of a head. The error does not carry the bytes.
fn text(bytes: &[u8]) -> Result<String, ExchangeError> {
    core::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|_| ExchangeError::MalformedInner("text of the head"))
}

/// Size of the trailers, which are passed over; `None` when more bytes are needed.
fn trailers_bytes(bytes: &[u8], known: bool) -> Result<Option<usize>, ExchangeError> {
    let mut reader = Reader::new(bytes, "trailers");
    let mut read = || {
        let mut fields = Fields::new();
        if known {
            prefixed(&mut reader, HEAD_BYTES_MAX)?;
        } else {
            while read_line(&mut reader, &mut fields)? {}
        }
        Ok(())
    };
    match read() {
        Ok(()) => Ok(Some(bytes.len() - reader.rest().len())),
        Err(HeadFault::NeedMore) if bytes.len() > HEAD_BYTES_MAX => Err(ExchangeError::TooLarge {
            what: "trailers",
            limit: HEAD_BYTES_MAX,
        }),
        Err(HeadFault::NeedMore) => Ok(None),
        Err(HeadFault::Fault(error)) => Err(error),
    }
}
