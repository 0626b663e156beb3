//! What is inside the sealed payload of a release.
//!
//! CBOR array: the model key (32 bytes), then the Ed25519 public keys whose API tokens are accepted (32 bytes each).

use minicbor::Decoder;
use wire::limits::TOKEN_ISSUERS_MAX;
use zeroize::Zeroizing;

use crate::error::{EnclaveError, Result};

/// The opened payload.
pub(super) struct ReleasePayload {
    pub(super) model_key: Zeroizing<[u8; 32]>,
    pub(super) token_issuers: Vec<[u8; 32]>,
}

impl ReleasePayload {
    /// Decodes; the sender is authenticated by the record, and still bounded.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let fault = EnclaveError::Release("its payload is malformed");
        decode(bytes).ok_or(fault)
    }
}

fn decode(bytes: &[u8]) -> Option<ReleasePayload> {
    let mut decoder = Decoder::new(bytes);
    if decoder.array().ok()? != Some(2) {
        return None;
    }
    let mut model_key = Zeroizing::new([0; 32]);
    let key = decoder.bytes().ok()?;
    if key.len() != model_key.len() {
        return None;
    }
    model_key.copy_from_slice(key);
    let count = usize::try_from(decoder.array().ok()??).ok()?;
    if count > TOKEN_ISSUERS_MAX {
        return None;
    }
    let token_issuers = (0..count)
        .map(|_| decoder.bytes().ok()?.try_into().ok())
        .collect::<Option<Vec<[u8; 32]>>>()?;
    (decoder.position() == bytes.len()).then_some(ReleasePayload {
        model_key,
        token_issuers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(issuers: usize) -> Vec<u8> {
        let mut encoder = minicbor::Encoder::new(Vec::new());
        let encode = |encoder: &mut minicbor::Encoder<Vec<u8>>| {
            encoder.array(2)?.bytes(&[7; 32])?.array(issuers as u64)?;
            for _ in 0..issuers {
                encoder.bytes(&[9; 32])?;
            }
            Ok::<_, minicbor::encode::Error<core::convert::Infallible>>(())
        };
        encode(&mut encoder).unwrap_or_else(|error| panic!("{error}"));
        encoder.into_writer()
    }

    #[test]
    fn a_payload_is_read_whole() {
        let payload = decode(&encoded(2)).unwrap_or_else(|| panic!("refused"));
        assert_eq!(*payload.model_key, [7; 32]);
        assert_eq!(payload.token_issuers, [[9; 32]; 2]);
    }

    #[test]
    fn cut_extended_and_oversized_payloads_are_refused() {
        let whole = encoded(2);
        for size in 0..whole.len() {
            assert!(decode(&whole[..size]).is_none(), "{size}");
        }
        assert!(decode(&[&whole[..], &[0]].concat()).is_none());
        assert!(decode(&encoded(TOKEN_ISSUERS_MAX)).is_some());
        assert!(decode(&encoded(TOKEN_ISSUERS_MAX + 1)).is_none());
    }
}
