//! Writing binary HTTP.

use wire::codec::{varint_bytes, write_varint};
use zeroize::Zeroizing;

use super::{check_fields, check_method, check_path};
use crate::ExchangeError;

/// A whole request with known lengths (section 3.1), in a buffer of exactly its size.
pub(crate) fn request(
    method: &str,
    path: &str,
    fields: &[(String, String)],
    body: &[u8],
) -> Result<Zeroizing<Vec<u8>>, ExchangeError> {
    check_method(method)?;
    check_path(path)?;
    check_fields(fields)?;
    let control = [method.as_bytes(), b"https", b"", path.as_bytes()];
    let section = section_bytes(fields);
    let size = 1
        + control
            .iter()
            .map(|part| prefixed_bytes(part.len()))
            .sum::<usize>()
        + prefixed_bytes(section)
        + prefixed_bytes(body.len());
    let mut out = Zeroizing::new(Vec::with_capacity(size));
    out.push(0);
    for part in control {
        write_prefixed(part, &mut out);
    }
    write_section(fields, section, &mut out);
    write_prefixed(body, &mut out);
    debug_assert_eq!(out.len(), size);
    Ok(out)
}

/// A whole response with known lengths (section 3.1), in a buffer of exactly its size.
pub(crate) fn response(
    status: u16,
    fields: &[(String, String)],
    body: &[u8],
) -> Result<Zeroizing<Vec<u8>>, ExchangeError> {
    check_fields(fields)?;
    let section = section_bytes(fields);
    let size = 1 + varint_bytes(u64::from(status)) + prefixed_bytes(section) + prefixed_bytes(body.len());
    let mut out = Zeroizing::new(Vec::with_capacity(size));
    out.push(1);
    write_varint(u64::from(status), &mut out);
    write_section(fields, section, &mut out);
    write_prefixed(body, &mut out);
    debug_assert_eq!(out.len(), size);
    Ok(out)
}

/// The beginning of a response of indeterminate length (section 3.2), up to the end of the header section.
pub(crate) fn stream_head(status: u16, fields: &[(String, String)]) -> Result<Vec<u8>, ExchangeError> {
    check_fields(fields)?;
    let mut out = vec![3];
    write_varint(u64::from(status), &mut out);
    for (name, value) in fields {
        write_prefixed(name.as_bytes(), &mut out);
        write_prefixed(value.as_bytes(), &mut out);
    }
    out.push(0);
    Ok(out)
}

/// What precedes `content_bytes` of content in a response of indeterminate length; for 0 it is the content
/// terminator.
pub(crate) fn content_chunk_header(content_bytes: usize, out: &mut Vec<u8>) {
    write_varint(content_bytes as u64, out);
}

fn prefixed_bytes(size: usize) -> usize {
    varint_bytes(size as u64) + size
}

fn section_bytes(fields: &[(String, String)]) -> usize {
    fields
        .iter()
        .map(|(name, value)| prefixed_bytes(name.len()) + prefixed_bytes(value.len()))
        .sum()
}

fn write_section(fields: &[(String, String)], size: usize, out: &mut Vec<u8>) {
    write_varint(size as u64, out);
    for (name, value) in fields {
        write_prefixed(name.as_bytes(), out);
        write_prefixed(value.as_bytes(), out);
    }
}

fn write_prefixed(bytes: &[u8], out: &mut Vec<u8>) {
    write_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}
