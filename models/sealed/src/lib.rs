//! The owner's sealed model: a directory of ciphertext, a signed manifest and a list of wraps.
//!
//! The path of a model through this crate, each step consuming or requiring the last:
//!
//! 1. [`seal`] encrypts a directory under a [`ModelKey`] and signs its [`Manifest`] with the owner's key; [`Arrival`]
//!    does so with bytes that come over a network, which never touch a disk in the clear.
//! 2. [`TenantKek::wrap`] wraps the model key (broker); the [`WrapList`] travels with the model.
//! 3. [`SealedModel::open_manifest`] checks the owner's signature; no key is needed for it.
//! 4. [`SealedModel::anchored`] refuses another model and a rolled-back version.
//! 5. [`AnchoredModel::open`] decrypts straight into memory, in parallel; nothing is written to disk.
//!
//! The format and its reasons are in this crate's README.

#![forbid(unsafe_code)]

mod anchor;
mod arrival;
mod bundle;
mod diagnosis;
mod directory;
mod error;
mod floe;
mod key;
mod limits;
mod manifest;
mod open;
mod owner;
mod progress;
mod seal;
mod secret_bytes;
mod source;
mod unfinished;
mod wrap;

pub use anchor::Anchor;
pub use arrival::{Arrival, ArrivingFile, ArrivingObject, ContentDigest, FinishedObject};
pub use error::{Result, SealedModelError};
pub use key::ModelKey;
pub use manifest::{Manifest, UnverifiedManifest};
pub use open::{AnchoredModel, OpenModel, OpenOptions, SealedModel, read_wraps};
pub use owner::{OwnerPublicKey, OwnerSignatureAlgorithm, OwnerSigningKey};
pub use progress::{Progress, Progressed, silent};
pub use seal::{SealRequest, seal};
pub use secret_bytes::SecretBytes;
pub use wrap::{TenantKek, Wrap, WrapContext, WrapList};

/// SHA-256, for whoever registers: the digest by which a policy is named.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}
