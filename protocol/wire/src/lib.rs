//! Bytes that anyone may see, the host included.
//!
//! Everything here crosses a boundary that nobody trusts: frames between host and enclave, messages of the key
//! release, key configurations, problem documents. A value of this crate is public by definition; a type that
//! can hold a prompt, a completion or a key belongs elsewhere (I1). Every decoder has a bound from [`limits`].

#![forbid(unsafe_code)]

pub mod codec;
mod error;
pub mod frame;
#[cfg(feature = "tokio")]
mod frame_codec;
pub mod ids;
pub mod key_config;
pub mod limits;
pub mod media;
pub mod message;
pub mod problem;
pub mod release;

pub use error::WireError;
pub use key_config::{KeyConfig, SymmetricSuite};
pub use problem::{Problem, ProblemCode};
