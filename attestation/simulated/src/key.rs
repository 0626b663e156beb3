//! Private keys of the simulated manufacturers. Wiped on drop, never printed, never copied.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PSS_SHA384};
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use zeroize::Zeroizing;

use crate::SimulatedError;
use crate::der;

/// What the issuer of a certificate does.
pub(crate) trait Signer {
    /// AlgorithmIdentifier of the signatures.
    fn algorithm(&self) -> Vec<u8>;

    /// Signature over `message`, as X.509 carries it.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SimulatedError>;

    /// SubjectPublicKeyInfo.
    fn spki(&self) -> Vec<u8>;
}

/// RSA-4096, for ARK and ASK.
pub(crate) struct RsaKey(RsaKeyPair);

impl RsaKey {
    pub(crate) fn generate() -> Result<Self, SimulatedError> {
        RsaKeyPair::generate(KeySize::Rsa4096)
            .map(Self)
            .map_err(|_| SimulatedError::Crypto("RSA key generation"))
    }

    pub(crate) fn from_bytes(pkcs8: &[u8]) -> Option<Self> {
        RsaKeyPair::from_pkcs8(pkcs8).ok().map(Self)
    }

    pub(crate) fn expose_bytes(&self) -> Result<Zeroizing<Vec<u8>>, SimulatedError> {
        let pkcs8: Pkcs8V1Der<'_> = self
            .0
            .as_der()
            .map_err(|_| SimulatedError::Crypto("RSA key encoding"))?;
        Ok(Zeroizing::new(pkcs8.as_ref().to_vec()))
    }
}

impl Signer for RsaKey {
    fn algorithm(&self) -> Vec<u8> {
        // RSASSA-PSS with SHA-384, MGF1 of SHA-384, salt of 48 bytes, default trailer left out.
        let sha384 = der::sequence(&[der::object_identifier("2.16.840.1.101.3.4.2.2"), der::null()]);
        let mgf1 = der::sequence(&[der::object_identifier("1.2.840.113549.1.1.8"), sha384.clone()]);
        der::sequence(&[
            der::object_identifier("1.2.840.113549.1.1.10"),
            der::sequence(&[
                der::explicit(0, &sha384),
                der::explicit(1, &mgf1),
                der::explicit(2, &der::integer(&[48])),
            ]),
        ])
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SimulatedError> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(&RSA_PSS_SHA384, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| SimulatedError::Crypto("RSA signature"))?;
        Ok(signature)
    }

    fn spki(&self) -> Vec<u8> {
        let algorithm = der::sequence(&[der::object_identifier("1.2.840.113549.1.1.1"), der::null()]);
        der::sequence(&[algorithm, der::bit_string(self.0.public_key().as_ref(), 0)])
    }
}

/// P-256, for Intel's certificates and attestation keys.
pub(crate) struct P256Key(p256::ecdsa::SigningKey);

impl P256Key {
    pub(crate) fn generate() -> Result<Self, SimulatedError> {
        loop {
            let scalar = random::<32>()?;
            if let Some(key) = Self::from_bytes(&scalar[..]) {
                return Ok(key);
            }
        }
    }

    pub(crate) fn from_bytes(scalar: &[u8]) -> Option<Self> {
        p256::ecdsa::SigningKey::from_slice(scalar).ok().map(Self)
    }

    pub(crate) fn expose_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.to_bytes().to_vec())
    }

    /// The uncompressed point without its leading byte.
    pub(crate) fn point(&self) -> Vec<u8> {
        self.0.verifying_key().to_sec1_point(false).as_bytes()[1..].to_vec()
    }

    /// `r || s` over a SHA-256 digest.
    pub(crate) fn sign_digest(&self, digest: &[u8]) -> Result<Vec<u8>, SimulatedError> {
        let signature: p256::ecdsa::Signature = self
            .0
            .sign_prehash(digest)
            .map_err(|_| SimulatedError::Crypto("ECDSA signature"))?;
        Ok(signature.to_bytes().to_vec())
    }
}

impl Signer for P256Key {
    fn algorithm(&self) -> Vec<u8> {
        der::sequence(&[der::object_identifier("1.2.840.10045.4.3.2")])
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SimulatedError> {
        use sha2::Digest as _;
        let signature = self.sign_digest(&sha2::Sha256::digest(message))?;
        let (r, s) = signature.split_at(32);
        Ok(der::sequence(&[der::integer(r), der::integer(s)]))
    }

    fn spki(&self) -> Vec<u8> {
        ec_spki("1.2.840.10045.3.1.7", &self.point())
    }
}

/// P-384, for the VCEK.
pub(crate) struct P384Key(p384::ecdsa::SigningKey);

impl P384Key {
    pub(crate) fn generate() -> Result<Self, SimulatedError> {
        loop {
            let scalar = random::<48>()?;
            if let Some(key) = Self::from_bytes(&scalar[..]) {
                return Ok(key);
            }
        }
    }

    pub(crate) fn from_bytes(scalar: &[u8]) -> Option<Self> {
        p384::ecdsa::SigningKey::from_slice(scalar).ok().map(Self)
    }

    pub(crate) fn expose_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.to_bytes().to_vec())
    }

    pub(crate) fn spki(&self) -> Vec<u8> {
        ec_spki(
            "1.3.132.0.34",
            &self.0.verifying_key().to_sec1_point(false).as_bytes()[1..],
        )
    }

    /// `r || s` over a SHA-384 digest.
    pub(crate) fn sign_digest(&self, digest: &[u8]) -> Result<Vec<u8>, SimulatedError> {
        let signature: p384::ecdsa::Signature = self
            .0
            .sign_prehash(digest)
            .map_err(|_| SimulatedError::Crypto("ECDSA signature"))?;
        Ok(signature.to_bytes().to_vec())
    }
}

fn ec_spki(curve: &str, point: &[u8]) -> Vec<u8> {
    let algorithm = der::sequence(&[
        der::object_identifier("1.2.840.10045.2.1"),
        der::object_identifier(curve),
    ]);
    der::sequence(&[algorithm, der::bit_string(&[&[0x04], point].concat(), 0)])
}

/// Random bytes that are wiped.
pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, SimulatedError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(&mut bytes[..]).map_err(|_| SimulatedError::Crypto("no randomness"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use static_assertions::assert_not_impl_any;

    use super::{P256Key, P384Key, RsaKey};

    assert_not_impl_any!(RsaKey: Clone, core::fmt::Debug, core::fmt::Display);
    assert_not_impl_any!(P256Key: Clone, core::fmt::Debug, core::fmt::Display);
    assert_not_impl_any!(P384Key: Clone, core::fmt::Debug, core::fmt::Display);
}
