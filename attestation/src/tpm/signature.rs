//! TPMT_SIGNATURE (TPM 2.0 Part 2 section 11.3.4): algorithm, hash, TPM2B with the signature.

use super::cursor::Cursor;
use super::public::RSASSA;
use super::selection::HashAlgorithm;

/// Bytes of the largest RSA signature.
pub(crate) const SIGNATURE_BYTES_MAX: usize = 512;

/// The RSA signature inside a TPMT_SIGNATURE of RSASSA with SHA-256, as evidence carries it; `None`
/// for another scheme, or if anything follows.
pub fn rsassa_signature(tpmt_signature: &[u8]) -> Option<&[u8]> {
    let mut cursor = Cursor::new(tpmt_signature);
    if cursor.u16()? != RSASSA || HashAlgorithm::of(cursor.u16()?) != HashAlgorithm::Sha256 {
        return None;
    }
    let signature = cursor.sized(SIGNATURE_BYTES_MAX)?;
    cursor.end()?;
    Some(signature)
}

#[cfg(test)]
mod tests {
    use super::rsassa_signature;

    #[test]
    fn only_rsassa_with_sha256_and_nothing_after() {
        let good = [&[0x00, 0x14, 0x00, 0x0b, 0x01, 0x00][..], &[7; 256]].concat();
        assert_eq!(rsassa_signature(&good), Some(&[7; 256][..]));
        for (at, value) in [(1, 0x16), (3, 0x04), (3, 0x0c), (4, 0x02), (5, 0x01)] {
            let mut changed = good.clone();
            changed[at] = value;
            assert_eq!(rsassa_signature(&changed), None, "byte {at}");
        }
        assert_eq!(rsassa_signature(&[&good[..], &[0]].concat()), None);
        for end in 0..good.len() {
            assert_eq!(rsassa_signature(&good[..end]), None);
        }
    }
}
