//! What the end-to-end tests share: a deployment that `adyton up` runs, a tap on the wire, and a search for canaries.

#![forbid(unsafe_code)]

pub mod canary;
pub mod deployment;
pub mod tap;
