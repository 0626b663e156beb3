//! Sealing a directory.

use std::path::Path;

use crate::{Manifest, ModelKey, OwnerSigningKey, Progress, Result};

/// What to seal as.
pub struct SealRequest<'a> {
    /// The model's identifier, as clients will ask for it.
    pub model_id: &'a str,
    /// Higher than every version sealed before.
    pub version: u64,
    /// The key to seal under.
    pub key: &'a ModelKey,
    /// Signs the manifest.
    pub owner: &'a OwnerSigningKey,
    /// Threads that encrypt.
    pub threads: usize,
}

/// Seals every file under `source` into the new directory `out`, which appears whole or not at all.
pub fn seal(_source: &Path, _out: &Path, _request: &SealRequest<'_>, _progress: Progress<'_>) -> Result<Manifest> {
    todo!()
}
