//! Opening: manifest, anchor, then the bytes, in parallel and into memory only.

use std::collections::BTreeMap;
use std::path::Path;

use crate::{Anchor, Manifest, ModelKey, OwnerPublicKey, Progress, Result, SecretBytes, WrapList};

/// A sealed model on disk whose manifest carries the owner's signature.
pub struct SealedModel {
    manifest: Manifest,
}

impl SealedModel {
    /// Reads and verifies the manifest; needs no key.
    pub fn open_manifest(_directory: &Path, _owner: &OwnerPublicKey) -> Result<Self> {
        todo!()
    }

    /// The verified manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The list of wraps beside the manifest; public, and authenticated only by unwrapping.
    pub fn wraps(&self) -> Result<WrapList> {
        todo!()
    }

    /// Goes on only if this is the model and at least the version that the anchor names.
    pub fn anchored(self, _anchor: &Anchor) -> Result<AnchoredModel> {
        todo!()
    }
}

/// A sealed model that is the registered one.
pub struct AnchoredModel {
    sealed: SealedModel,
}

impl AnchoredModel {
    /// The verified manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.sealed.manifest
    }

    /// Decrypts every file straight into memory.
    pub fn open(&self, _key: &ModelKey, _options: &OpenOptions, _progress: Progress<'_>) -> Result<OpenModel> {
        todo!()
    }
}

/// How to open.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Threads that read and decrypt; default: the cores available.
    pub threads: usize,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { threads: std::thread::available_parallelism().map_or(1, |n| n.get()) }
    }
}

/// The opened files, by the name they had in the owner's directory; wiped on drop.
pub struct OpenModel {
    files: BTreeMap<String, SecretBytes>,
}

impl OpenModel {
    /// One file by name.
    pub fn file(&self, name: &str) -> Option<&SecretBytes> {
        self.files.get(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Gives the files away, each still wiped on its own drop.
    pub fn into_files(self) -> BTreeMap<String, SecretBytes> {
        self.files
    }
}
