//! The enclave's side of an exchange.
//!
//! 1. [`Gateway::prepare`] makes request keys; the enclave attests them; [`Gateway::install`] begins the epoch
//! 2. [`Gateway::begin`] makes a [`RequestReader`]; the replay cache sees the encapsulated key before anything is
//!    opened
//! 3. [`RequestReader::finish`] gives the request and a [`Responder`]
//! 4. the responder answers once: a refusal, a whole response, or a stream through an [`EventWriter`]

mod epoch;
mod event_writer;
mod gateway;
mod replay;
mod request_reader;
mod responder;

pub use event_writer::EventWriter;
pub use gateway::{Gateway, GatewayConfig, PendingEpoch};
pub use request_reader::RequestReader;
pub use responder::Responder;
