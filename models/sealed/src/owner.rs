//! The model owner's signing key.

use crate::Result;

/// Which signature the owner uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerSignatureAlgorithm {
    /// ECDSA on P-384 with SHA-384: what tools for OpenSSF Model Signing verify.
    EcdsaP384,
    /// Ed25519 (RFC 8032).
    Ed25519,
}

/// Signs manifests; no Debug, Clone or Serialize.
pub struct OwnerSigningKey {}

impl OwnerSigningKey {
    /// Makes a new key.
    pub fn generate(_algorithm: OwnerSignatureAlgorithm) -> Result<Self> {
        todo!()
    }

    /// Reads a PKCS#8 PEM private key.
    pub fn from_pem(_pem: &str) -> Result<Self> {
        todo!()
    }

    /// The public half.
    pub fn public_key(&self) -> OwnerPublicKey {
        todo!()
    }
}

/// Verifies manifests. Written in configuration as hex: 64 digits for Ed25519, 194 for P-384 (uncompressed point).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerPublicKey {}

impl OwnerPublicKey {
    /// Reads the hexadecimal form.
    pub fn from_hex(_text: &str) -> Result<Self> {
        todo!()
    }

    /// Writes the hexadecimal form.
    pub fn to_hex(&self) -> String {
        todo!()
    }
}
