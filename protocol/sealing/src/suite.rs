//! Cipher suites and the profiles that choose among them.

use wire::SymmetricSuite;
use wire::ids::{AeadId, KdfId, KemId};

/// An HPKE suite (RFC 9180 section 7): KEM, KDF and AEAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Suite {
    kem: KemId,
    kdf: KdfId,
    aead: AeadId,
}

impl Suite {
    /// The default: ML-KEM-768 with X25519, HKDF-SHA256, AES-256-GCM.
    pub const XWING_SHA256_AES256: Self = Self::new(KemId::XWING, KdfId::HKDF_SHA256, AeadId::AES_256_GCM);
    /// FIPS profile, post-quantum hybrid: ML-KEM-1024 with P-384, HKDF-SHA384, AES-256-GCM.
    pub const MLKEM1024_P384_SHA384_AES256: Self =
        Self::new(KemId::MLKEM1024_P384, KdfId::HKDF_SHA384, AeadId::AES_256_GCM);
    /// FIPS profile, classical: P-384, HKDF-SHA384, AES-256-GCM.
    pub const P384_SHA384_AES256: Self = Self::new(KemId::P384, KdfId::HKDF_SHA384, AeadId::AES_256_GCM);
    /// Interoperation tests and published vectors; no [`Profile`] permits it.
    pub const X25519_SHA256_AES128: Self = Self::new(KemId::X25519, KdfId::HKDF_SHA256, AeadId::AES_128_GCM);
    /// Interoperation tests; no [`Profile`] permits it.
    pub const XWING_SHA256_AES128: Self = Self::new(KemId::XWING, KdfId::HKDF_SHA256, AeadId::AES_128_GCM);

    /// All suites that are implemented.
    pub const ALL: [Self; 5] = [
        Self::XWING_SHA256_AES256,
        Self::MLKEM1024_P384_SHA384_AES256,
        Self::P384_SHA384_AES256,
        Self::X25519_SHA256_AES128,
        Self::XWING_SHA256_AES128,
    ];

    const fn new(kem: KemId, kdf: KdfId, aead: AeadId) -> Self {
        Self { kem, kdf, aead }
    }

    /// The suite of three ids, if it is implemented.
    pub fn from_ids(kem: KemId, symmetric: SymmetricSuite) -> Option<Self> {
        let suite = Self::new(kem, symmetric.kdf, symmetric.aead);
        Self::ALL.contains(&suite).then_some(suite)
    }

    /// The KEM.
    pub fn kem(self) -> KemId {
        self.kem
    }

    /// KDF and AEAD.
    pub fn symmetric(self) -> SymmetricSuite {
        SymmetricSuite {
            kdf: self.kdf,
            aead: self.aead,
        }
    }

    /// `Nenc`: bytes of the encapsulated key.
    pub fn enc_bytes(self) -> usize {
        self.kem
            .enc_bytes()
            .expect("every implemented KEM has a known size")
    }

    /// `Nk`: bytes of the AEAD key.
    pub(crate) fn aead_key_bytes(self) -> usize {
        if self.aead == AeadId::AES_128_GCM { 16 } else { 32 }
    }

    /// Size of the exported secret and of the response nonce: max(Nn, Nk) (RFC 9458 section 4.4).
    pub fn response_nonce_bytes(self) -> usize {
        self.aead_key_bytes().max(AEAD_NONCE_BYTES)
    }
}

/// `Nn` of every AEAD here.
pub(crate) const AEAD_NONCE_BYTES: usize = 12;
/// `Nt` of every AEAD here.
pub(crate) const AEAD_TAG_BYTES: usize = 16;

impl core::fmt::Display for Suite {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} / {} / {}", self.kem, self.kdf, self.aead)
    }
}

/// Which suites may be used. A suite without a post-quantum half is only in the FIPS profile, as its last choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Profile {
    /// X-Wing first, then ML-KEM-1024 with P-384.
    #[default]
    Default,
    /// ML-KEM-1024 with P-384 first, then P-384: algorithms that a FIPS 140-3 module can have.
    Fips,
}

impl Profile {
    /// The suites permitted, best first.
    pub fn suites(self) -> &'static [Suite] {
        match self {
            Self::Default => &[Suite::XWING_SHA256_AES256, Suite::MLKEM1024_P384_SHA384_AES256],
            Self::Fips => &[Suite::MLKEM1024_P384_SHA384_AES256, Suite::P384_SHA384_AES256],
        }
    }

    /// Whether the profile permits `suite`.
    pub fn permits(self, suite: Suite) -> bool {
        self.suites().contains(&suite)
    }

    /// The profile's name in configuration files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Fips => "fips",
        }
    }
}

impl core::str::FromStr for Profile {
    type Err = UnknownProfile;
    fn from_str(s: &str) -> Result<Self, UnknownProfile> {
        [Self::Default, Self::Fips]
            .into_iter()
            .find(|p| p.as_str() == s)
            .ok_or(UnknownProfile)
    }
}

/// Not the name of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the profile is `default` or `fips`")]
pub struct UnknownProfile;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_profile_permits_a_suite_that_exists_for_tests() {
        for profile in [Profile::Default, Profile::Fips] {
            for suite in [Suite::X25519_SHA256_AES128, Suite::XWING_SHA256_AES128] {
                assert!(!profile.permits(suite), "{suite}");
            }
            assert!(
                profile
                    .suites()
                    .iter()
                    .all(|s| s.symmetric().aead == AeadId::AES_256_GCM)
            );
            assert_eq!(profile.as_str().parse(), Ok(profile));
        }
        assert!(!Profile::Default.permits(Suite::P384_SHA384_AES256));
        assert!("Default".parse::<Profile>().is_err());
    }
}
