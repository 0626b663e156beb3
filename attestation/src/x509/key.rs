//! Public keys and signatures that the manufacturers use.

use alloc::boxed::Box;

use der::Tag;
use der::asn1::ObjectIdentifier;
use p256::ecdsa::signature::Verifier as _;
use p384::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::traits::PublicKeyParts as _;
use sha2::Sha384;

use super::asn1::{Asn1Fault, Asn1Reader};

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const PRIME256V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// RSASSA-PSS, SHA-384, MGF1 with SHA-384, salt of 48 bytes (RFC 4055 section 3.1), in the two
/// encodings that AMD uses: without and with the default trailer field.
const PSS_SHA384: [&[u8]; 2] = [
    &hex_literal::<67>(
        "304106092a864886f70d01010a3034a00f300d06096086480165030402020500a11c301a06092a864886f70d010108\
         300d06096086480165030402020500a203020130",
    ),
    &hex_literal::<72>(
        "304606092a864886f70d01010a3039a00f300d06096086480165030402020500a11c301a06092a864886f70d010108\
         300d06096086480165030402020500a203020130a303020101",
    ),
];
/// ecdsa-with-SHA256 (RFC 5758 section 3.2).
const ECDSA_SHA256: &[u8] = &hex_literal::<12>("300a06082a8648ce3d040302");

const SALT_BYTES: usize = 48;
const RSA_BITS: u32 = 4096;
const RSA_EXPONENT: u64 = 65_537;

/// How a certificate or a revocation list is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignatureAlgorithm {
    /// AMD.
    RsaPssSha384,
    /// Intel.
    EcdsaP256Sha256,
}

impl SignatureAlgorithm {
    /// From a whole AlgorithmIdentifier, parameters included.
    pub(crate) fn parse(identifier: &[u8]) -> Result<Self, Asn1Fault> {
        if PSS_SHA384.contains(&identifier) {
            Ok(Self::RsaPssSha384)
        } else if identifier == ECDSA_SHA256 {
            Ok(Self::EcdsaP256Sha256)
        } else {
            Err(Asn1Fault)
        }
    }
}

/// A public key of a kind that the manufacturers use.
#[derive(Clone, Debug)]
pub(crate) enum PublicKey {
    /// RSA-4096 with exponent 65537: AMD's ARK, ASK, ASVK.
    Rsa(Box<rsa::pss::VerifyingKey<Sha384>>),
    /// Intel's certificates and attestation keys.
    P256(Box<p256::ecdsa::VerifyingKey>),
    /// AMD's VCEK and VLEK.
    P384(Box<p384::ecdsa::VerifyingKey>),
}

impl PublicKey {
    /// From a SubjectPublicKeyInfo.
    pub(crate) fn parse(spki: &[u8]) -> Result<Self, Asn1Fault> {
        let mut reader = Asn1Reader::whole_sequence(spki)?;
        let mut algorithm = reader.sequence()?;
        let bits = reader.bit_string()?;
        reader.end()?;
        let key = match algorithm.object_identifier()? {
            RSA_ENCRYPTION => {
                if !algorithm.contents(Tag::Null)?.is_empty() {
                    return Err(Asn1Fault);
                }
                Self::rsa(bits)?
            }
            EC_PUBLIC_KEY => match algorithm.object_identifier()? {
                PRIME256V1 => Self::p256(bits)?,
                SECP384R1 => Self::P384(Box::new(
                    p384::ecdsa::VerifyingKey::from_sec1_bytes(bits).map_err(|_| Asn1Fault)?,
                )),
                _ => return Err(Asn1Fault),
            },
            _ => return Err(Asn1Fault),
        };
        algorithm.end()?;
        Ok(key)
    }

    /// A P-256 key from an uncompressed SEC 1 point.
    pub(crate) fn p256(point: &[u8]) -> Result<Self, Asn1Fault> {
        let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(|_| Asn1Fault)?;
        Ok(Self::P256(Box::new(key)))
    }

    fn rsa(bits: &[u8]) -> Result<Self, Asn1Fault> {
        let mut reader = Asn1Reader::whole_sequence(bits)?;
        let modulus = reader.integer()?;
        let exponent = reader.small_integer()?;
        reader.end()?;
        let modulus = rsa::BoxedUint::from_be_slice_vartime(modulus);
        if modulus.bit_width() != RSA_BITS || u64::from(exponent) != RSA_EXPONENT {
            return Err(Asn1Fault);
        }
        let key = rsa::PublicKey::new(modulus, rsa::BoxedUint::from(RSA_EXPONENT)).map_err(|_| Asn1Fault)?;
        debug_assert_eq!(key.size() * 8, RSA_BITS as usize);
        Ok(Self::Rsa(Box::new(rsa::pss::VerifyingKey::new_with_salt_len(
            key, SALT_BYTES,
        ))))
    }

    /// Whether `signature` is this key's over `message`, in the encoding of X.509.
    pub(crate) fn verifies(&self, algorithm: SignatureAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        match (self, algorithm) {
            (Self::Rsa(key), SignatureAlgorithm::RsaPssSha384) => rsa::pss::Signature::try_from(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            (Self::P256(key), SignatureAlgorithm::EcdsaP256Sha256) => {
                p256::ecdsa::DerSignature::from_bytes(signature)
                    .is_ok_and(|signature| key.verify(message, &signature).is_ok())
            }
            _ => false,
        }
    }

    /// Whether `r || s` is this P-256 key's signature over the SHA-256 `digest`.
    pub(crate) fn verifies_p256(&self, digest: &[u8; 32], signature: &[u8; 64]) -> bool {
        match self {
            Self::P256(key) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok()),
            _ => false,
        }
    }

    /// Whether `r || s` is this P-384 key's signature over the SHA-384 `digest`.
    pub(crate) fn verifies_p384(&self, digest: &[u8; 48], signature: &[u8; 96]) -> bool {
        match self {
            Self::P384(key) => p384::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok()),
            _ => false,
        }
    }
}

/// Bytes from hexadecimal digits at compile time.
const fn hex_literal<const N: usize>(text: &str) -> [u8; N] {
    const fn digit(byte: u8) -> u8 {
        match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => panic!("not a hexadecimal digit"),
        }
    }
    let text = text.as_bytes();
    assert!(text.len() == 2 * N, "length");
    let mut bytes = [0; N];
    let mut at = 0;
    while at < N {
        bytes[at] = digit(text[2 * at]) << 4 | digit(text[2 * at + 1]);
        at += 1;
    }
    bytes
}
