//! Recipient key pairs. The private half never leaves the value.
use wire::KeyConfig;
use crate::{SealingError, Suite};

/// A recipient's key pair.
pub struct KeyPair {
    suite: Suite,
    config: KeyConfig,
}

impl KeyPair {
    /// Makes a fresh key pair.
    pub fn generate(suite: Suite, key_id: u8) -> Result<Self, SealingError> {
        let _ = (suite, key_id);
        todo!()
    }
    /// The public half.
    pub fn key_config(&self) -> &KeyConfig {
        &self.config
    }
    /// The suite.
    pub fn suite(&self) -> Suite {
        self.suite
    }
}
