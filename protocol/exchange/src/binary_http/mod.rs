//! Binary HTTP (RFC 9292): the inner message.
//!
//! Requests and whole responses are written with known lengths, streams with indeterminate length; both are read.
//! Framing indicators: 0 and 1 known-length request and response, 2 and 3 the indeterminate forms. Zero bytes
//! after a message are padding (section 3.8).

mod decode;
mod encode;

pub(crate) use decode::{Decoder, Head, Part};
pub(crate) use encode::{content_chunk_header, request, response, stream_head};

use crate::ExchangeError;

/// Which message a decoder expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
}

/// Control data and header section of one message, in bytes.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Header lines of one message.
const FIELDS_MAX: usize = 32;
const FIELD_NAME_BYTES_MAX: usize = 64;
const FIELD_VALUE_BYTES_MAX: usize = 8 * 1024;
const METHOD_BYTES_MAX: usize = 16;
const PATH_BYTES_MAX: usize = 2 * 1024;
/// Scheme and authority, which we do not use.
const AUTHORITY_BYTES_MAX: usize = 256;
/// Informational responses before the final one (section 3.5.1).
const INFORMATIONAL_MAX: usize = 4;

/// Header lines: names in lower case, values in visible ASCII and spaces.
pub(crate) type Fields = Vec<(String, String)>;

/// Lower-case token (RFC 9110 section 5.6.2).
fn check_name(name: &str) -> Result<(), ExchangeError> {
    let token = |b: u8| {
        b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.' | b'!' | b'#' | b'~')
    };
    if name.is_empty() || name.len() > FIELD_NAME_BYTES_MAX || !name.bytes().all(token) {
        return Err(ExchangeError::MalformedInner("header name"));
    }
    Ok(())
}

/// Visible ASCII, space and tab: no value can begin another line.
fn check_value(value: &str) -> Result<(), ExchangeError> {
    let visible = |b: u8| (0x20..0x7f).contains(&b) || b == b'\t';
    if value.len() > FIELD_VALUE_BYTES_MAX || !value.bytes().all(visible) {
        return Err(ExchangeError::MalformedInner("header value"));
    }
    Ok(())
}

fn check_fields(fields: &[(String, String)]) -> Result<(), ExchangeError> {
    if fields.len() > FIELDS_MAX {
        return Err(ExchangeError::TooLarge {
            what: "number of headers",
            limit: FIELDS_MAX,
        });
    }
    fields
        .iter()
        .try_for_each(|(name, value)| check_name(name).and_then(|()| check_value(value)))
}

fn check_method(method: &str) -> Result<(), ExchangeError> {
    let upper = method.bytes().all(|b| b.is_ascii_uppercase());
    if method.is_empty() || method.len() > METHOD_BYTES_MAX || !upper {
        return Err(ExchangeError::MalformedInner("method"));
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), ExchangeError> {
    if path.len() > PATH_BYTES_MAX {
        return Err(ExchangeError::TooLarge {
            what: "path",
            limit: PATH_BYTES_MAX,
        });
    }
    if !path.starts_with('/') || !path.bytes().all(|b| (0x21..0x7f).contains(&b)) {
        return Err(ExchangeError::MalformedInner("path"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
