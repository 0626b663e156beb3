//! The Relying Party that holds prompts: what the `adyton` command is made of.
//!
//! Data flow of a prompt, the same for `chat` and `proxy`:
//! 1. [`discovery`] fetches an evidence bundle for a fresh nonce from the host, which nobody trusts.
//! 2. [`session`] appraises it under the policy and binds the attested key; no other way leads to a key.
//! 3. `exchange` seals the request to that key; [`transport`] carries the ciphertext.
//! 4. The answer is opened chunk by chunk; a stream without its authenticated end is an error.
//! 5. The receipt is checked against the attested receipt key before an answer counts as whole.
//!
//! `up` ([`up`]) runs a whole simulated deployment on one machine for development.

#![forbid(unsafe_code)]

pub mod answer;
pub mod broker;
pub mod cli;
pub mod commands;
pub mod conformance;
pub mod corpus;
pub mod discovery;
pub mod endorsement_cache;
pub mod endorsement_files;
pub mod error;
pub mod layers;
pub mod output;
pub mod policy;
pub mod private_file;
pub mod proxy;
pub mod session;
pub mod sse;
pub mod transparency;
pub mod transport;
pub mod up;
pub mod verdict;

pub use error::ClientError;
