//! The model owner's signing key.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::{Zeroize as _, Zeroizing};

use crate::{Result, SealedModelError, limits};

/// Uncompressed point on P-384.
const P384_POINT_BYTES: usize = 97;
const ED25519_KEY_BYTES: usize = 32;
/// DER of SubjectPublicKeyInfo up to the key: RFC 5480 (id-ecPublicKey, secp384r1) and RFC 8410.
const P384_SPKI: [u8; 23] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81,
    0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
];
const ED25519_SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// Which signature the owner uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerSignatureAlgorithm {
    /// ECDSA on P-384 with SHA-384: what tools for OpenSSF Model Signing verify.
    EcdsaP384,
    /// Ed25519 (RFC 8032).
    Ed25519,
}

/// Signs manifests; no Debug, Clone or Serialize. The module that holds the key wipes it.
pub struct OwnerSigningKey(Signer);

enum Signer {
    EcdsaP384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl OwnerSigningKey {
    /// Makes a new key.
    pub fn generate(algorithm: OwnerSignatureAlgorithm) -> Result<Self> {
        let signer = match algorithm {
            OwnerSignatureAlgorithm::EcdsaP384 => {
                EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).map(Signer::EcdsaP384)
            }
            OwnerSignatureAlgorithm::Ed25519 => Ed25519KeyPair::generate().map(Signer::Ed25519),
        };
        signer.map(Self).map_err(|_| SealedModelError::Random)
    }

    /// Reads a PKCS#8 PEM private key, as `adyton-seal keygen` or `openssl genpkey` write it.
    pub fn from_pem(pem: &str) -> Result<Self> {
        const REFUSED: SealedModelError = SealedModelError::MalformedKey("owner signing key");
        let der = Zeroizing::new(from_pem(pem, "PRIVATE KEY").ok_or(REFUSED)?);
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, &der) {
            return Ok(Self(Signer::EcdsaP384(pair)));
        }
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der)
            .map(|pair| Self(Signer::Ed25519(pair)))
            .map_err(|_| REFUSED)
    }

    /// The private key as PKCS#8 PEM, for a file that only its owner can read.
    pub fn expose_pem(&self) -> Result<Zeroizing<String>> {
        let der = match &self.0 {
            Signer::EcdsaP384(pair) => pair.to_pkcs8v1().map(|der| Zeroizing::new(der.as_ref().to_vec())),
            Signer::Ed25519(pair) => pair.to_pkcs8v1().map(|der| Zeroizing::new(der.as_ref().to_vec())),
        };
        let der = der.map_err(|_| SealedModelError::MalformedKey("owner signing key"))?;
        Ok(Zeroizing::new(to_pem(&der, "PRIVATE KEY")))
    }

    /// The public half.
    pub fn public_key(&self) -> OwnerPublicKey {
        let parsed = match &self.0 {
            Signer::EcdsaP384(pair) => OwnerPublicKey::from_bytes(pair.public_key().as_ref()),
            Signer::Ed25519(pair) => OwnerPublicKey::from_bytes(pair.public_key().as_ref()),
        };
        parsed.expect("the public half of a key pair has its algorithm's length")
    }

    /// Signs; ECDSA as ASN.1 DER, Ed25519 as 64 bytes.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        match &self.0 {
            Signer::EcdsaP384(pair) => pair
                .sign(&SystemRandom::new(), message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| SealedModelError::Random),
            Signer::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

/// Verifies manifests. Written in configuration as hex: 64 digits for Ed25519, 194 for P-384 (uncompressed point).
#[derive(Clone, PartialEq, Eq)]
pub struct OwnerPublicKey(PublicBytes);

#[derive(Clone, PartialEq, Eq)]
enum PublicBytes {
    EcdsaP384([u8; P384_POINT_BYTES]),
    Ed25519([u8; ED25519_KEY_BYTES]),
}

impl OwnerPublicKey {
    /// Takes the bytes of the hexadecimal form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if let Ok(key) = bytes.try_into() {
            return Ok(Self(PublicBytes::Ed25519(key)));
        }
        match <[u8; P384_POINT_BYTES]>::try_from(bytes) {
            Ok(point @ [0x04, ..]) => Ok(Self(PublicBytes::EcdsaP384(point))),
            _ => Err(SealedModelError::MalformedKey("owner public key")),
        }
    }

    /// Reads the hexadecimal form.
    pub fn from_hex(text: &str) -> Result<Self> {
        let bytes = hex::decode(text).map_err(|_| SealedModelError::MalformedKey("owner public key"))?;
        Self::from_bytes(&bytes)
    }

    /// Writes the hexadecimal form.
    pub fn to_hex(&self) -> String {
        hex::encode(self.as_bytes())
    }

    /// The bytes of the hexadecimal form.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            PublicBytes::EcdsaP384(point) => point,
            PublicBytes::Ed25519(key) => key,
        }
    }

    /// SubjectPublicKeyInfo as PEM, as other tools read it.
    pub fn to_pem(&self) -> String {
        let prefix = match &self.0 {
            PublicBytes::EcdsaP384(_) => P384_SPKI.as_slice(),
            PublicBytes::Ed25519(_) => ED25519_SPKI.as_slice(),
        };
        to_pem(&[prefix, self.as_bytes()].concat(), "PUBLIC KEY")
    }

    /// Reads SubjectPublicKeyInfo as PEM.
    pub fn from_pem(pem: &str) -> Result<Self> {
        const REFUSED: SealedModelError = SealedModelError::MalformedKey("owner public key");
        let der = from_pem(pem, "PUBLIC KEY").ok_or(REFUSED)?;
        let key = der
            .strip_prefix(&P384_SPKI)
            .or_else(|| der.strip_prefix(&ED25519_SPKI))
            .ok_or(REFUSED)?;
        let parsed = Self::from_bytes(key)?;
        if parsed.to_pem() == to_pem(&der, "PUBLIC KEY") {
            Ok(parsed)
        } else {
            Err(REFUSED)
        }
    }

    /// Checks a signature of [`OwnerSigningKey::sign`].
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<()> {
        match &self.0 {
            PublicBytes::EcdsaP384(point) => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, point).verify(message, signature)
            }
            PublicBytes::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
        }
        .map_err(|_| SealedModelError::OwnerSignature)
    }
}

impl core::fmt::Debug for OwnerPublicKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "OwnerPublicKey({})", self.to_hex())
    }
}

/// RFC 7468, 64 characters a line.
fn to_pem(der: &[u8], label: &str) -> String {
    let body = Zeroizing::new(BASE64.encode(der));
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(64) {
        pem.push_str(core::str::from_utf8(line).expect("base64 is ASCII"));
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

fn from_pem(pem: &str, label: &str) -> Option<Vec<u8>> {
    if pem.len() > limits::KEY_PEM_BYTES_MAX {
        return None;
    }
    let (_, rest) = pem.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let mut body: String = body.split_ascii_whitespace().collect();
    let der = BASE64.decode(&body).ok();
    body.zeroize();
    der
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [OwnerSignatureAlgorithm; 2] = [
        OwnerSignatureAlgorithm::EcdsaP384,
        OwnerSignatureAlgorithm::Ed25519,
    ];

    #[test]
    fn keys_round_trip_and_sign() {
        for algorithm in BOTH {
            let key = OwnerSigningKey::generate(algorithm).unwrap();
            let again = OwnerSigningKey::from_pem(&key.expose_pem().unwrap()).unwrap();
            let public = key.public_key();
            assert_eq!(again.public_key(), public);
            assert_eq!(OwnerPublicKey::from_hex(&public.to_hex()).unwrap(), public);
            assert_eq!(OwnerPublicKey::from_pem(&public.to_pem()).unwrap(), public);

            let signature = again.sign(b"message").unwrap();
            public.verify(b"message", &signature).unwrap();
            assert_eq!(
                public.verify(b"massage", &signature).unwrap_err().code(),
                "owner-signature"
            );
            let other = OwnerSigningKey::generate(algorithm).unwrap().public_key();
            assert_eq!(
                other.verify(b"message", &signature).unwrap_err().code(),
                "owner-signature"
            );
            for end in 0..signature.len() {
                assert!(public.verify(b"message", &signature[..end]).is_err());
            }
        }
    }

    /// Made with `openssl genpkey`; published here, so of no use to anyone.
    #[test]
    fn keys_of_openssl_are_read() {
        for (private, public) in [
            (
                include_str!("../tests/data/owner-p384.pem"),
                include_str!("../tests/data/owner-p384.pub"),
            ),
            (
                include_str!("../tests/data/owner-ed25519.pem"),
                include_str!("../tests/data/owner-ed25519.pub"),
            ),
        ] {
            let key = OwnerSigningKey::from_pem(private).unwrap();
            assert_eq!(key.public_key().to_pem(), public);
            assert_eq!(key.public_key(), OwnerPublicKey::from_pem(public).unwrap());
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "00", "zz", &"04".repeat(96), &"02".repeat(97)] {
            assert_eq!(
                OwnerPublicKey::from_hex(text).unwrap_err().code(),
                "malformed-key",
                "{text}"
            );
        }
        for pem in [
            "",
            "-----BEGIN PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\n%\n-----END PRIVATE KEY-----",
        ] {
            assert_eq!(
                OwnerSigningKey::from_pem(pem).err().unwrap().code(),
                "malformed-key"
            );
            assert_eq!(OwnerPublicKey::from_pem(pem).unwrap_err().code(), "malformed-key");
        }
    }
}
