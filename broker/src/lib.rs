//! The key broker (imports: wire, attestation, endorser, sealing, sealed_model, audit).
#![forbid(unsafe_code)]

pub mod audit_log;
pub mod change;
pub mod config;
pub mod directory;
pub mod error;
pub mod gate;
mod history;
pub mod key_store;
pub mod log;
pub mod metrics;
pub mod model_policy;
pub mod record;
pub mod refusal;
pub mod registration;
pub mod store;
pub mod tls;
