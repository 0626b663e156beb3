//! Certificates in PEM (RFC 7468), as Intel puts them into quotes and NVIDIA beside reports.

use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::asn1::Asn1Fault;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
const CHAIN_MAX: usize = 8;

/// The DER of each certificate in order. Intel ends some chains with a NUL, and NVIDIA's driver hands out
/// a buffer that ends in zeros; nothing else may stand around the certificates but line breaks.
pub(crate) fn certificates(text: &[u8]) -> Result<Vec<Vec<u8>>, Asn1Fault> {
    let end = text
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    let text = text.get(..end).ok_or(Asn1Fault)?;
    let mut rest = core::str::from_utf8(text)
        .map_err(|_| Asn1Fault)?
        .trim_matches(['\r', '\n']);
    let mut chain = Vec::new();
    while !rest.is_empty() {
        let body = rest.strip_prefix(BEGIN).ok_or(Asn1Fault)?;
        let (body, after) = body.split_once(END).ok_or(Asn1Fault)?;
        if chain.len() == CHAIN_MAX {
            return Err(Asn1Fault);
        }
        let digits: Vec<u8> = body
            .bytes()
            .filter(|byte| !matches!(byte, b'\r' | b'\n'))
            .collect();
        chain.push(STANDARD.decode(digits).map_err(|_| Asn1Fault)?);
        rest = after.trim_start_matches(['\r', '\n']);
    }
    Ok(chain)
}
