//! The model key, and what is derived from it.

use aws_lc_rs::digest::{Context, SHA384, SHA384_OUTPUT_LEN};
use aws_lc_rs::hkdf::{HKDF_SHA384, KeyType, Prk};
use zeroize::Zeroizing;

use crate::{Result, SealedModelError, floe};

/// Length of a model key in bytes.
pub(crate) const MODEL_KEY_BYTES: usize = 32;
/// Random name of one sealing, so that keys and contexts of two sealings never meet.
pub(crate) type ContainerId = [u8; 16];

/// The key that opens one sealed model: 32 bytes, wiped on drop; no Debug, Clone or Serialize.
pub struct ModelKey(Zeroizing<[u8; MODEL_KEY_BYTES]>);

impl ModelKey {
    /// Makes a new key from the system's random generator.
    pub fn generate() -> Result<Self> {
        let mut key = Self(Zeroizing::new([0; MODEL_KEY_BYTES]));
        aws_lc_rs::rand::fill(key.0.as_mut_slice()).map_err(|_| SealedModelError::Random)?;
        Ok(key)
    }

    /// Takes the bytes of a key that was unwrapped or released.
    pub fn from_bytes(bytes: Zeroizing<[u8; MODEL_KEY_BYTES]>) -> Self {
        Self(bytes)
    }

    /// The key's bytes, for wrapping and for release.
    pub fn expose_bytes(&self) -> &[u8; MODEL_KEY_BYTES] {
        &self.0
    }

    /// The FLOE key of one container: a model key may outlive a sealing, a FLOE key does not.
    pub(crate) fn floe_key(&self, container: &ContainerId) -> Zeroizing<[u8; floe::KEY_BYTES]> {
        let prk = Prk::new_less_safe(HKDF_SHA384, self.0.as_slice());
        let info = [b"adyton sealed model v1 floe key".as_slice(), container];
        let mut key = Zeroizing::new([0; floe::KEY_BYTES]);
        prk.expand(&info, FloeKey)
            .and_then(|okm| okm.fill(key.as_mut_slice()))
            .expect("the output is short");
        key
    }
}

struct FloeKey;

impl KeyType for FloeKey {
    fn len(&self) -> usize {
        floe::KEY_BYTES
    }
}

/// What an object is sealed for: the associated data of its FLOE header.
pub(crate) struct ObjectContext<'a> {
    pub(crate) model_id: &'a str,
    pub(crate) version: u64,
    pub(crate) container: &'a ContainerId,
    pub(crate) object: &'a str,
    pub(crate) plain_bytes: u64,
}

impl ObjectContext<'_> {
    /// SHA-384 over all fields, each of fixed length or behind its length.
    pub(crate) fn aad(&self) -> [u8; SHA384_OUTPUT_LEN] {
        let mut context = Context::new(&SHA384);
        context.update(b"adyton sealed object v1");
        context.update(self.container);
        context.update(&self.version.to_be_bytes());
        context.update(&self.plain_bytes.to_be_bytes());
        for text in [self.model_id, self.object] {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        }
        context
            .finish()
            .as_ref()
            .try_into()
            .expect("SHA-384 has 48 bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_contexts_are_separate() {
        let key = ModelKey::from_bytes(Zeroizing::new([1; 32]));
        let floe_key = key.floe_key(&[2; 16]);
        assert_ne!(*floe_key, *key.floe_key(&[3; 16]));
        assert_ne!(
            *floe_key,
            *ModelKey::from_bytes(Zeroizing::new([4; 32])).floe_key(&[2; 16])
        );
        assert_ne!(floe_key.as_slice(), key.expose_bytes());

        let context = |model_id, version, container, object, plain_bytes| {
            ObjectContext {
                model_id,
                version,
                container,
                object,
                plain_bytes,
            }
            .aad()
        };
        let all = [
            context("ab", 1, &[1; 16], "c", 1),
            context("a", 1, &[1; 16], "bc", 1),
            context("ab", 2, &[1; 16], "c", 1),
            context("ab", 1, &[2; 16], "c", 1),
            context("ab", 1, &[1; 16], "c", 2),
        ];
        for (position, aad) in all.iter().enumerate() {
            assert!(!all[..position].contains(aad));
        }
    }
}
