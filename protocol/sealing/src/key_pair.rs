//! Recipient key pairs. The private half never leaves the value.

use wire::KeyConfig;

use crate::hpke_context::{self, PrivateKey, RecipientContext};
use crate::{SealingError, Suite};

/// A recipient's key pair, made in place. The private half is wiped when the value is dropped; there is no way to
/// read, copy or store it.
pub struct KeyPair {
    suite: Suite,
    config: KeyConfig,
    private: Box<dyn PrivateKey>,
}

impl KeyPair {
    /// Makes a fresh key pair. Panics if the operating system has no randomness: there is nothing to go on with.
    pub fn generate(suite: Suite, key_id: u8) -> Result<Self, SealingError> {
        Self::from_halves(suite, key_id, hpke_context::generate(suite)?)
    }

    /// A key pair from a published private key.
    #[cfg(test)]
    pub(crate) fn import(suite: Suite, key_id: u8, private: &[u8]) -> Result<Self, SealingError> {
        Self::from_halves(suite, key_id, hpke_context::import(suite, private)?)
    }

    fn from_halves(
        suite: Suite,
        key_id: u8,
        (private, public): (Box<dyn PrivateKey>, Vec<u8>),
    ) -> Result<Self, SealingError> {
        let config = KeyConfig::new(key_id, suite.kem(), public, vec![suite.symmetric()])
            .map_err(|_| SealingError::PublicKey)?;
        Ok(Self {
            suite,
            config,
            private,
        })
    }

    /// The public half, with the one suite that the pair was made for.
    pub fn key_config(&self) -> &KeyConfig {
        &self.config
    }

    /// The suite.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Decapsulates.
    pub(crate) fn recipient(
        &self,
        enc: &[u8],
        info: &[u8],
    ) -> Result<Box<dyn RecipientContext>, SealingError> {
        self.private.recipient(enc, info)
    }
}
