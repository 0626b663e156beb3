//! HPKE and Oblivious HTTP over opaque bytes; knows nothing of what is sealed.
//!
//! 1. The enclave makes a [`KeyPair`]; its [`wire::KeyConfig`] goes into the identity statement.
//! 2. Whoever seals has appraised evidence and binds the configuration to it: [`AttestedKey`]. There is no other
//!    way to a key that a request can be sealed to (I4).
//! 3. [`stream`] carries a request and its response, in one piece (RFC 9458) or in chunks
//!    (draft-ietf-ohai-chunked-ohttp-08), each half consumed by its `finish` (I9, I10).
//! 4. [`seal_once`] and [`open_once`] carry single messages under a typed [`Label`].
//!
//! The crate is pure Rust and builds for wasm32-unknown-unknown.

#![forbid(unsafe_code)]

mod attested_key;
mod error;
mod header;
mod hpke_context;
mod key_pair;
mod label;
mod once;
pub mod stream;
mod suite;

#[cfg(test)]
mod tests;

pub use attestation::UnixTime;
pub use attested_key::{AttestedKey, PinnedKey, RecipientKey};
pub use error::SealingError;
pub use key_pair::KeyPair;
pub use label::{Label, Party};
pub use once::{open_once, seal_once};
pub use suite::{Profile, Suite, UnknownProfile};
