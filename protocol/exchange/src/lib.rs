//! The plaintext of a conversation: what only client and enclave can name.
//!
//! Client: [`client::Exchange`] seals a [`Request`] to an attested key and reads the answer. Enclave:
//! [`server::Gateway`] holds the request keys, their epochs and the replay cache; a [`server::RequestReader`]
//! opens one request, a [`server::Responder`] answers it once. In between lie padding, API tokens and receipts.
//!
//! Everything is sans I/O and takes `now` as an argument.

#![forbid(unsafe_code)]

mod binary_http;
pub mod client;
mod commitment;
mod date;
mod error;
mod events;
pub mod padding;
mod plaintext;
pub mod receipt;
mod secret_buffer;
pub mod server;
pub mod token;

pub use error::ExchangeError;
pub use padding::{Padding, UnknownPadding};
pub use plaintext::{ApiToken, Completion, Prompt, Request, ResponseHead};
pub use sealing::UnixTime;
