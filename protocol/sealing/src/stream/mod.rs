//! Oblivious HTTP: one request and its response, over opaque bytes and without I/O.
//!
//! 1. client: [`RequestSealer`] writes header, encapsulated key and chunks; `finish` makes a [`ResponseOpener`]
//! 2. server: [`HeaderReader`] waits for header and encapsulated key and makes an [`Encapsulated`]
//! 3. server: the replay cache sees [`Encapsulated::enc_sha256`] before anything is opened
//! 4. server: [`Encapsulated::open_with`] makes a [`RequestOpener`]; its `finish` makes a [`ResponseSealer`]
//! 5. client: [`ResponseOpener`] opens the chunks; its `finish` is an error unless the authenticated end was there
//!
//! Framing: RFC 9458 sections 4.3 and 4.4 in one piece, draft-ietf-ohai-chunked-ohttp-08 sections 3 and 6 in chunks.
//! A chunk is its ciphertext behind its size as a variable-length integer; size 0 says that the rest of the
//! stream is the final chunk, which is sealed with associated data `final`.

mod chunk;
mod request;
mod response;
mod schedule;

pub use request::{Encapsulated, HeaderProgress, HeaderReader, RequestOpener, RequestSealer};
pub use response::{ResponseOpener, ResponseSealer};

use zeroize::Zeroizing;

/// Plaintext of one chunk, wiped when dropped.
pub type Plaintext = Zeroizing<Vec<u8>>;
