//! What the broker holds about a model, so that an older or another one is refused.

use crate::{Manifest, Result};

/// The registered state of a model: the floor below which a container counts as rolled back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The model's identifier.
    pub model_id: String,
    /// The registered version; rises with every sealing.
    pub version: u64,
    /// SHA-256 of the signed manifest payload of that version.
    pub manifest_digest: [u8; 32],
}

impl Anchor {
    /// Checks a manifest against this anchor: `other-model`, `rolled-back`, `not-registered` or `manifest-replaced`.
    pub fn check(&self, _manifest: &Manifest) -> Result<()> {
        todo!()
    }

    /// Whether `next` may take this anchor's place: the same again, or a higher version of the same model.
    pub fn advance(&self, _next: &Anchor) -> Result<()> {
        todo!()
    }
}
