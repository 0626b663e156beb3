//! The encoding of a vTPM's evidence, deterministic CBOR with integer keys, all required:
//!
//! | key | field | type |
//! |---|---|---|
//! | 1 | format version | 1 |
//! | 2 | what binds the attestation key: Azure's HCL report, or the key's TPMT_PUBLIC | bytes, at most 8 KiB |
//! | 3 | TD quote (Azure on TDX) | bytes, at most 16 KiB, or null |
//! | 4 | TPMS_ATTEST | bytes, at most 1 KiB |
//! | 5 | RSASSA signature | bytes, at most 512 |
//! | 6 | SHA-256 values in the order of the selection | bytes, at most 768 |

use attestation::ReportData;
use minicbor::Encoder;
use sha2::{Digest as _, Sha256};

use crate::tpm::Quoted;

/// Bound of an HCL report.
pub(crate) const BINDING_BYTES_MAX: usize = 8 * 1024;
/// Bound of a TD quote.
pub(crate) const TD_QUOTE_BYTES_MAX: usize = 16 * 1024;

const VERSION: u8 = 1;
const DOMAIN: &[u8] = b"adyton vtpm v1";

/// What a vTPM's quote commits to: `SHA-256("adyton vtpm v1" || report_data)`.
pub(crate) fn qualifying_data(report_data: &ReportData) -> [u8; 32] {
    Sha256::new()
        .chain_update(DOMAIN)
        .chain_update(report_data)
        .finalize()
        .into()
}

/// Evidence of a vTPM.
pub(crate) struct VtpmEvidence {
    /// HCL report or TPMT_PUBLIC.
    pub(crate) binding: Vec<u8>,
    /// The TD quote.
    pub(crate) td_quote: Option<Vec<u8>>,
    /// The quote and its registers.
    pub(crate) quoted: Quoted,
}

impl VtpmEvidence {
    /// Encodes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Encoder::new(Vec::new());
        let written = (|| {
            writer.map(6)?.u8(1)?.u8(VERSION)?;
            writer.u8(2)?.bytes(&self.binding)?.u8(3)?;
            match &self.td_quote {
                Some(quote) => writer.bytes(quote)?,
                None => writer.null()?,
            };
            writer.u8(4)?.bytes(&self.quoted.message)?;
            writer.u8(5)?.bytes(&self.quoted.signature)?;
            writer.u8(6)?.bytes(&self.quoted.values)?.ok()
        })();
        match written {
            Ok(()) => writer.into_writer(),
            Err(_) => unreachable!("a Vec takes every write"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{VtpmEvidence, qualifying_data};
    use crate::tpm::Quoted;

    #[test]
    fn the_encoding_is_the_documented_one() {
        let mut evidence = VtpmEvidence {
            binding: vec![1, 2],
            td_quote: None,
            quoted: Quoted {
                message: vec![3],
                signature: vec![4],
                values: vec![5; 32],
            },
        };
        let mut expected = vec![
            0xa6, 1, 1, 2, 0x42, 1, 2, 3, 0xf6, 4, 0x41, 3, 5, 0x41, 4, 6, 0x58, 32,
        ];
        expected.extend([5; 32]);
        assert_eq!(evidence.encode(), expected);
        evidence.td_quote = Some(vec![9]);
        expected.splice(8..9, [0x41, 9]);
        assert_eq!(evidence.encode(), expected);
    }

    #[test]
    fn the_qualifying_data_are_the_documented_function() {
        // python3: sha256(b"adyton vtpm v1" + bytes([7])*64)
        let expected = "c6b4556548bfae9f813cbf35684c5f52ed53e00933e606ee8e345a55ac7a1e99";
        let found: String = qualifying_data(&[7; 64])
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(found, expected);
    }
}
