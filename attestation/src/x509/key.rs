//! Public keys and signatures that the manufacturers use.

use alloc::boxed::Box;

use der::Tag;
use der::asn1::ObjectIdentifier;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::traits::PublicKeyParts as _;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::asn1::{Asn1Fault, Asn1Reader};

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const PRIME256V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// RSASSA-PSS, SHA-384, MGF1 with SHA-384, salt of 48 bytes (RFC 4055 section 3.1), in the two
/// encodings that AMD uses: without and with the default trailer field.
const PSS_SHA384: [&[u8]; 2] = [
    b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\xa0\x0f\x30\x0d\x06\x09\x60\x86\
      \x48\x01\x65\x03\x04\x02\x02\x05\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\
      \x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\xa2\x03\x02\x01\x30",
    b"\x30\x46\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x39\xa0\x0f\x30\x0d\x06\x09\x60\x86\
      \x48\x01\x65\x03\x04\x02\x02\x05\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\
      \x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\xa2\x03\x02\x01\x30\xa3\x03\
      \x02\x01\x01",
];
/// RSASSA-PSS, SHA-256, MGF1 with SHA-256, salt of 32 bytes, in the same two encodings.
const PSS_SHA256: [&[u8]; 2] = [
    b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\xa0\x0f\x30\x0d\x06\x09\x60\x86\
      \x48\x01\x65\x03\x04\x02\x01\x05\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\
      \x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\xa2\x03\x02\x01\x20",
    b"\x30\x46\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x39\xa0\x0f\x30\x0d\x06\x09\x60\x86\
      \x48\x01\x65\x03\x04\x02\x01\x05\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\
      \x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\xa2\x03\x02\x01\x20\xa3\x03\
      \x02\x01\x01",
];
/// sha256WithRSAEncryption, and with SHA-384 and SHA-512 (RFC 4055 section 5).
const PKCS1_SHA256: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00";
const PKCS1_SHA384: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00";
const PKCS1_SHA512: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\x00";
/// ecdsa-with-SHA256 and ecdsa-with-SHA384 (RFC 5758 section 3.2).
const ECDSA_SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
const ECDSA_SHA384: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03";

const RSA_BITS: [u32; 3] = [2048, 3072, 4096];
/// AMD's; its specification knows no other size.
const AMD_RSA_BITS: u32 = 4096;
const RSA_EXPONENT: u64 = 65_537;

/// How a certificate, a revocation list or a document is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignatureAlgorithm {
    /// AMD; RSA-4096 only.
    RsaPssSha384,
    /// Google's launch endorsements.
    RsaPssSha256,
    /// Google's vTPM certificates, vTPM quotes.
    RsaPkcs1Sha256,
    /// Microsoft's vTPM root.
    RsaPkcs1Sha384,
    /// Microsoft's vTPM authorities.
    RsaPkcs1Sha512,
    /// Intel.
    EcdsaP256Sha256,
    /// NVIDIA.
    EcdsaP384Sha384,
}

impl SignatureAlgorithm {
    /// From a whole AlgorithmIdentifier, parameters included.
    pub(crate) fn parse(identifier: &[u8]) -> Result<Self, Asn1Fault> {
        if PSS_SHA384.contains(&identifier) {
            return Ok(Self::RsaPssSha384);
        }
        if PSS_SHA256.contains(&identifier) {
            return Ok(Self::RsaPssSha256);
        }
        [
            (PKCS1_SHA256, Self::RsaPkcs1Sha256),
            (PKCS1_SHA384, Self::RsaPkcs1Sha384),
            (PKCS1_SHA512, Self::RsaPkcs1Sha512),
            (ECDSA_SHA256, Self::EcdsaP256Sha256),
            (ECDSA_SHA384, Self::EcdsaP384Sha384),
        ]
        .into_iter()
        .find(|(known, _)| *known == identifier)
        .map(|(_, algorithm)| algorithm)
        .ok_or(Asn1Fault)
    }
}

/// A public key of a kind that the manufacturers use.
#[derive(Clone, Debug)]
pub(crate) enum PublicKey {
    /// Exponent 65537: AMD's ARK, ASK, ASVK; vTPM keys and their authorities.
    Rsa(Box<rsa::PublicKey>),
    /// Intel's certificates and attestation keys.
    P256(Box<p256::ecdsa::VerifyingKey>),
    /// AMD's VCEK and VLEK; NVIDIA's certificates.
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
                Self::rsa_public_key(bits)?
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

    /// An RSA key with exponent 65537 from its modulus, big-endian.
    pub(crate) fn rsa(modulus: &[u8]) -> Result<Self, Asn1Fault> {
        let modulus = rsa::BoxedUint::from_be_slice_vartime(modulus);
        if !RSA_BITS.contains(&modulus.bit_width()) {
            return Err(Asn1Fault);
        }
        let key = rsa::PublicKey::new(modulus, rsa::BoxedUint::from(RSA_EXPONENT)).map_err(|_| Asn1Fault)?;
        Ok(Self::Rsa(Box::new(key)))
    }

    /// RSAPublicKey (RFC 8017 appendix A.1.1).
    fn rsa_public_key(bits: &[u8]) -> Result<Self, Asn1Fault> {
        let mut reader = Asn1Reader::whole_sequence(bits)?;
        let modulus = reader.integer()?;
        let exponent = reader.small_integer()?;
        reader.end()?;
        // An INTEGER of more than 4097 bits, sign included, is refused before any arithmetic.
        if u64::from(exponent) != RSA_EXPONENT || modulus.len() > 513 {
            return Err(Asn1Fault);
        }
        Self::rsa(modulus)
    }

    /// Whether `signature` is this key's over `message`, in the encoding of X.509.
    pub(crate) fn verifies(&self, algorithm: SignatureAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        use SignatureAlgorithm as Algorithm;
        use rsa::pkcs1v15::Pkcs1v15Sign;
        match (self, algorithm) {
            (Self::Rsa(key), Algorithm::RsaPssSha384) => {
                key.n().bit_width() == AMD_RSA_BITS
                    && key
                        .verify(
                            rsa::pss::Pss::<Sha384>::new(),
                            &Sha384::digest(message),
                            signature,
                        )
                        .is_ok()
            }
            (Self::Rsa(key), Algorithm::RsaPssSha256) => key
                .verify(
                    rsa::pss::Pss::<Sha256>::new(),
                    &Sha256::digest(message),
                    signature,
                )
                .is_ok(),
            (Self::Rsa(key), Algorithm::RsaPkcs1Sha256) => key
                .verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message), signature)
                .is_ok(),
            (Self::Rsa(key), Algorithm::RsaPkcs1Sha384) => key
                .verify(Pkcs1v15Sign::new::<Sha384>(), &Sha384::digest(message), signature)
                .is_ok(),
            (Self::Rsa(key), Algorithm::RsaPkcs1Sha512) => key
                .verify(Pkcs1v15Sign::new::<Sha512>(), &Sha512::digest(message), signature)
                .is_ok(),
            (Self::P256(key), Algorithm::EcdsaP256Sha256) => p256::ecdsa::DerSignature::from_bytes(signature)
                .is_ok_and(|signature| key.verify_prehash(&Sha256::digest(message), &signature).is_ok()),
            (Self::P384(key), Algorithm::EcdsaP384Sha384) => p384::ecdsa::DerSignature::from_bytes(signature)
                .is_ok_and(|signature| key.verify_prehash(&Sha384::digest(message), &signature).is_ok()),
            _ => false,
        }
    }

    /// Whether this is the RSA key of `modulus`, big-endian without leading zeros.
    pub(crate) fn is_rsa_with(&self, modulus: &[u8]) -> bool {
        match self {
            Self::Rsa(key) => key.n_bytes()[..] == *modulus,
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

#[cfg(test)]
mod tests {
    use super::{PSS_SHA256, PSS_SHA384, PublicKey, SignatureAlgorithm};
    use crate::tpm::testkit::{attestation_key, oid, tlv};

    #[test]
    fn an_rsa_key_has_its_exponent_and_its_size() {
        let spki = |modulus: &[u8], exponent: &[u8]| {
            let key = tlv(
                0x30,
                &[tlv(0x02, &[modulus.to_vec()]), tlv(0x02, &[exponent.to_vec()])],
            );
            let algorithm = tlv(0x30, &[oid("1.2.840.113549.1.1.1"), tlv(0x05, &[])]);
            PublicKey::parse(&tlv(0x30, &[algorithm, tlv(0x03, &[alloc::vec![0], key])])).is_ok()
        };
        let modulus = [&[0][..], &attestation_key().modulus()].concat();
        assert!(spki(&modulus, &[1, 0, 1]));
        for exponent in [&[3][..], &[1, 0, 3], &[0]] {
            assert!(!spki(&modulus, exponent), "{exponent:?}");
        }
        let long = [&modulus[..], &[1; 300]].concat();
        assert!(!spki(&long, &[1, 0, 1]));
    }

    #[test]
    fn pss_is_known_by_its_hash_with_and_without_the_default_trailer() {
        for (encodings, algorithm) in [
            (PSS_SHA256, SignatureAlgorithm::RsaPssSha256),
            (PSS_SHA384, SignatureAlgorithm::RsaPssSha384),
        ] {
            for encoding in encodings {
                assert_eq!(SignatureAlgorithm::parse(encoding), Ok(algorithm));
                assert!(SignatureAlgorithm::parse(&encoding[..encoding.len() - 1]).is_err());
                let mut other_salt = encoding.to_vec();
                other_salt[66] = 20;
                assert!(SignatureAlgorithm::parse(&other_salt).is_err());
            }
        }
    }
}
