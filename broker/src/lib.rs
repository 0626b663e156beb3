//! The key broker (imports: wire, attestation, endorser, sealing, sealed_model, audit): the Relying Party that holds model
//! keys.
//!
//! The data flow of a release:
//!
//! 1. [`service`] accepts a TLS 1.3 connection on the release listener.
//! 2. The gate ([`gate`]) challenges, appraises the evidence under the model's [`model_policy`], and unwraps the model key
//!    ([`key_store`]).
//! 3. [`audit_log`] makes the record ([`record`]) durable in the [`store`].
//! 4. The gate seals the key to the attested wrap key; the answer leaves.
//!
//! Owners change what is registered through the admin listener ([`registration`], [`change`]); every change is a record.
//! The decisions are pure: bytes and `now` in, bytes out. Sockets are in `release`, `admin` and `ops`.

#![forbid(unsafe_code)]

mod admin;
pub mod audit_log;
pub mod change;
pub mod config;
pub mod directory;
pub mod error;
pub mod export;
pub mod gate;
mod history;
pub mod key_store;
pub mod log;
mod log_key;
pub mod metrics;
pub mod model_policy;
mod ops;
pub mod owner;
mod problem;
pub mod record;
pub mod refusal;
mod refused;
pub mod registration;
mod release;
pub mod service;
pub mod store;
pub mod tls;
