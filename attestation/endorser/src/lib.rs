//! Keeps what AMD and Intel publish. It never decides: every document in the cache is signed by its
//! publisher, and the Verifier checks it each time.
#![forbid(unsafe_code)]

mod cache;
mod error;

pub use cache::Cache;
pub use error::EndorserError;
