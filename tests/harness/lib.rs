//! What tests of more than one crate share: a deployment that `adyton up` runs, a tap on the wire, a search for canaries,
//! and the page on what the Verifier checks.

#![forbid(unsafe_code)]

pub mod canary;
pub mod deployment;
pub mod tap;
pub mod verification;
