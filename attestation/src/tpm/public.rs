//! The public area of an attestation key: TPMT_PUBLIC (TPM 2.0 Part 2 section 12.2.4), big-endian.
//!
//! | bytes | field |
//! |---|---|
//! | 2 | type: TPM_ALG_RSA |
//! | 2 | nameAlg |
//! | 4 | objectAttributes |
//! | 2 + n | authPolicy, at most 64 |
//! | 2 | symmetric: TPM_ALG_NULL, for a key that does not decrypt |
//! | 2 + 2 | scheme: TPM_ALG_RSASSA, TPM_ALG_SHA256 |
//! | 2 | keyBits |
//! | 4 | exponent, 0 for 65537 |
//! | 2 + n | modulus, of keyBits |

use super::cursor::Cursor;
use super::selection::HashAlgorithm;
use crate::x509::PublicKey;

const RSA: u16 = 0x0001;
const NULL: u16 = 0x0010;
/// TPM_ALG_RSASSA.
pub(super) const RSASSA: u16 = 0x0014;
const POLICY_BYTES_MAX: usize = 64;
const MODULUS_BYTES_MAX: usize = 512;

/// TPMA_OBJECT (Part 2 section 8.3): what an attestation key has. With `restricted` and `sign` the
/// TPM signs only what it made itself; the others say that the private part never left it.
const REQUIRED: u32 = FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN | RESTRICTED | SIGN;
const FIXED_TPM: u32 = 1 << 1;
const FIXED_PARENT: u32 = 1 << 4;
const SENSITIVE_DATA_ORIGIN: u32 = 1 << 5;
const ENCRYPTED_DUPLICATION: u32 = 1 << 11;
const RESTRICTED: u32 = 1 << 16;
const DECRYPT: u32 = 1 << 17;
const SIGN: u32 = 1 << 18;
const X509_SIGN: u32 = 1 << 19;
/// Bits 0, 3, 12 to 15 and 20 to 31.
const RESERVED: u32 = 0xfff0_f009;
const REFUSED: u32 = ENCRYPTED_DUPLICATION | DECRYPT | X509_SIGN | RESERVED;

/// A restricted RSA signing key.
#[derive(Debug)]
pub(crate) struct AttestationKey<'a> {
    attributes: u32,
    name_algorithm: HashAlgorithm,
    /// Big-endian, without leading zeros.
    pub(crate) modulus: &'a [u8],
    pub(crate) key: PublicKey,
}

impl<'a> AttestationKey<'a> {
    /// Takes an RSA public area apart whose scheme is RSASSA with SHA-256; nothing may follow it.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        if cursor.u16()? != RSA {
            return None;
        }
        let name_algorithm = HashAlgorithm::of(cursor.u16()?);
        name_algorithm.digest_bytes()?;
        let attributes = cursor.u32()?;
        cursor.sized(POLICY_BYTES_MAX)?;
        if cursor.u16()? != NULL || cursor.u16()? != RSASSA {
            return None;
        }
        if HashAlgorithm::of(cursor.u16()?) != HashAlgorithm::Sha256 {
            return None;
        }
        let bits = cursor.u16()?;
        if !matches!(cursor.u32()?, 0 | 65_537) {
            return None;
        }
        let modulus = cursor.sized(MODULUS_BYTES_MAX)?;
        cursor.end()?;
        // [`PublicKey::rsa`] takes a modulus of 2048, 3072 or 4096 bits; this one says which.
        let length = modulus.len().checked_mul(8)?;
        if length != usize::from(bits) || modulus.first().is_none_or(|first| *first < 0x80) {
            return None;
        }
        Some(Self {
            attributes,
            name_algorithm,
            modulus,
            key: PublicKey::rsa(modulus).ok()?,
        })
    }

    /// Whether the TPM made the key, keeps it, and signs with it only what it made itself.
    pub(crate) fn is_restricted_signer(&self) -> bool {
        self.attributes & REQUIRED == REQUIRED && self.attributes & REFUSED == 0
    }

    /// For people.
    pub(crate) fn describe(&self) -> alloc::string::String {
        alloc::format!(
            "attributes {:#010x}, name {}",
            self.attributes,
            self.name_algorithm
        )
    }
}
