//! What is measured: the process that holds prompts and weights, and nothing that could let them out.
//!
//! 1. [`hardening`]: the process gives up what it must not have.
//! 2. [`config`]: the measured configuration is parsed, once.
//! 3. [`confine`]: system calls and files shrink to a list.
//! 4. `lifecycle`: Booted → Attested → Provisioned → Ready, each consuming the last.
//! 5. The host's streams arrive at `front`; a sealed request is `gateway`'s from there.
//!
//! Whoever calls [`run`] chooses the attester: the release binary has the platform's only, the simulated one comes
//! with a binary of its own.

#![forbid(unsafe_code)]

mod api;
mod audit_trail;
mod clock;
pub mod config;
pub mod confine;
mod connection;
mod embedding;
mod engine;
mod error;
mod event_stream;
mod evidence;
mod front;
mod gateway;
pub mod hardening;
mod identity;
pub mod init;
mod lifecycle;
pub mod log;
mod memory;
pub mod process;
mod provisioning;
mod serving;
mod status;
mod transport;
mod wiping;

pub use error::{EnclaveError, Result};
pub use process::run;
