//! What the broker holds about a model, so that an older or another one is refused.

use crate::{Manifest, Result, SealedModelError};

/// The registered state of a model. The manifest digest decides; the version only tells a rollback from a replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    model_id: String,
    version: Option<u64>,
    manifest_digest: [u8; 32],
}

impl Anchor {
    /// As registered with the broker: the floor below which a container counts as rolled back.
    pub fn registered(model_id: &str, version: u64, manifest_digest: [u8; 32]) -> Self {
        Self {
            model_id: model_id.to_owned(),
            version: Some(version),
            manifest_digest,
        }
    }

    /// As a release record says it, which names the digest alone.
    pub fn released(model_id: &str, manifest_digest: [u8; 32]) -> Self {
        Self {
            model_id: model_id.to_owned(),
            version: None,
            manifest_digest,
        }
    }

    /// The model's identifier.
    pub fn model_id(&self) -> &str {
        &self.model_id
    }

    /// SHA-256 of the signed manifest payload.
    pub fn manifest_digest(&self) -> &[u8; 32] {
        &self.manifest_digest
    }

    /// Checks a manifest against this anchor: `other-model`, `rolled-back`, `not-registered` or `manifest-replaced`.
    pub fn check(&self, manifest: &Manifest) -> Result<()> {
        self.compare(manifest.model_id(), manifest.version(), manifest.digest())
    }

    /// Whether `next` may be registered in this anchor's place: the same manifest again, or a higher version.
    pub fn advance(&self, next: &Anchor) -> Result<()> {
        let version = next.version.ok_or(SealedModelError::Unusable("version"))?;
        match self.compare(&next.model_id, version, &next.manifest_digest) {
            Err(SealedModelError::NotRegistered { .. }) => Ok(()),
            other => other,
        }
    }

    fn compare(&self, model_id: &str, version: u64, digest: &[u8; 32]) -> Result<()> {
        if model_id != self.model_id {
            return Err(SealedModelError::OtherModel {
                expected: self.model_id.clone(),
                found: model_id.to_owned(),
            });
        }
        if *digest == self.manifest_digest && self.version.is_none_or(|anchored| anchored == version) {
            return Ok(());
        }
        match self.version {
            Some(anchored) if version < anchored => Err(SealedModelError::RolledBack {
                anchored,
                found: version,
            }),
            Some(anchored) if version > anchored => Err(SealedModelError::NotRegistered {
                anchored,
                found: version,
            }),
            _ => Err(SealedModelError::ManifestReplaced),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(anchor: &Anchor, model_id: &str, version: u64, digest: u8) -> &'static str {
        anchor
            .compare(model_id, version, &[digest; 32])
            .map_or_else(|error| error.code(), |()| "ok")
    }

    #[test]
    fn each_difference_has_its_own_error() {
        let anchor = Anchor::registered("a", 5, [1; 32]);
        assert_eq!(code(&anchor, "a", 5, 1), "ok");
        assert_eq!(code(&anchor, "b", 5, 1), "other-model");
        assert_eq!(code(&anchor, "a", 4, 2), "rolled-back");
        assert_eq!(code(&anchor, "a", 4, 1), "rolled-back");
        assert_eq!(code(&anchor, "a", 6, 2), "not-registered");
        assert_eq!(code(&anchor, "a", 5, 2), "manifest-replaced");

        let released = Anchor::released("a", [1; 32]);
        assert_eq!(code(&released, "a", 5, 1), "ok");
        assert_eq!(code(&released, "b", 5, 1), "other-model");
        assert_eq!(code(&released, "a", 5, 2), "manifest-replaced");
    }

    #[test]
    fn only_the_same_or_a_higher_version_takes_the_place() {
        let anchor = Anchor::registered("a", 5, [1; 32]);
        let code = |next: Anchor| anchor.advance(&next).map_or_else(|error| error.code(), |()| "ok");
        assert_eq!(code(anchor.clone()), "ok");
        assert_eq!(code(Anchor::registered("a", 6, [2; 32])), "ok");
        assert_eq!(code(Anchor::registered("a", 5, [2; 32])), "manifest-replaced");
        assert_eq!(code(Anchor::registered("a", 4, [2; 32])), "rolled-back");
        assert_eq!(code(Anchor::registered("b", 6, [2; 32])), "other-model");
        assert_eq!(code(Anchor::released("a", [1; 32])), "unusable");
    }
}
