//! The appraisal policy (skeleton).
use crate::PolicyError;

/// What a relying party accepts.
#[derive(Clone, Debug)]
pub struct AppraisalPolicy {}

impl AppraisalPolicy {
    /// Reads a policy from TOML; unknown keys are refused.
    pub fn from_toml(_text: &str) -> Result<Self, PolicyError> {
        Ok(Self {})
    }

    /// SHA-256 of a policy's text, as statements and release records cite it.
    pub fn text_digest(text: &str) -> [u8; 32] {
        use sha2::Digest;
        sha2::Sha256::digest(text.as_bytes()).into()
    }
}

impl<'de> serde::Deserialize<'de> for AppraisalPolicy {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let _ = toml::Value::deserialize(deserializer)?;
        Ok(Self {})
    }
}
