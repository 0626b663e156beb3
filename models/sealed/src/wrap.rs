//! Wrapping the model key under a tenant's key-encryption key.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{ModelKey, Result};

/// What a wrap is bound to (the additional authenticated data).
#[derive(Debug, Clone, Copy)]
pub struct WrapContext<'a> {
    /// The model's identifier.
    pub model_id: &'a str,
    /// SHA-256 of the signed manifest payload.
    pub manifest_digest: &'a [u8; 32],
}

/// One model key under one version of one key-encryption key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wrap {
    /// Names the key-encryption key.
    pub kek_id: String,
    /// Which version of it.
    pub version: u32,
    /// `AES-256-GCM`.
    pub algorithm: String,
    /// Base64 of nonce ‖ ciphertext ‖ tag.
    pub wrapped: String,
}

/// The wraps of a sealed model (`wraps.json`): rotation adds and removes here and never re-encrypts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WrapList {
    wraps: Vec<Wrap>,
}

impl WrapList {
    /// The wraps, newest last.
    pub fn wraps(&self) -> &[Wrap] {
        &self.wraps
    }

    /// Adds a wrap, in place of one under the same key and version.
    pub fn put(&mut self, _wrap: Wrap) {
        todo!()
    }

    /// Writes `wraps.json` of a sealed model: to a sibling, synced, then renamed.
    pub fn save(&self, _sealed_model: &std::path::Path) -> Result<()> {
        todo!()
    }
}

/// A tenant's key-encryption key: 32 bytes, wiped on drop; no Debug, Clone or Serialize.
pub struct TenantKek {
    kek_id: String,
    version: u32,
    key: Zeroizing<[u8; 32]>,
}

impl TenantKek {
    /// Makes a new key.
    pub fn generate(_kek_id: &str, _version: u32) -> Result<Self> {
        todo!()
    }

    /// Takes the bytes of a key that the store holds.
    pub fn from_bytes(kek_id: &str, version: u32, key: Zeroizing<[u8; 32]>) -> Self {
        Self { kek_id: kek_id.to_owned(), version, key }
    }

    /// Names this key.
    pub fn kek_id(&self) -> &str {
        &self.kek_id
    }

    /// The version of this key.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The key's bytes, for the broker's key file.
    pub fn expose_bytes(&self) -> &[u8; 32] {
        &self.key
    }

    /// Wraps a model key.
    pub fn wrap(&self, _key: &ModelKey, _context: &WrapContext<'_>) -> Result<Wrap> {
        todo!()
    }

    /// Unwraps a model key; `wrong-kek` if the wrap names another, `wrap-damaged` if it does not open.
    pub fn unwrap(&self, _wrap: &Wrap, _context: &WrapContext<'_>) -> Result<ModelKey> {
        todo!()
    }
}
