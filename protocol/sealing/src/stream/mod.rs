//! Oblivious HTTP, client and server halves.
mod request;
mod response;
pub use request::{Encapsulated, HeaderReader, RequestOpener, RequestSealer};
pub use response::{ResponseOpener, ResponseSealer};
