//! The untrusted host (imports: wire, multiplex, measurement).
//!
//! It launches the enclave, relays sealed requests, pipes the enclave's broker connections, keeps vendor
//! endorsements and what the enclave lets out. It sees ciphertext, sizes and counts. Everything it can get wrong
//! costs availability: the types that would let it read a prompt are out of its reach.

#![forbid(unsafe_code)]

pub mod channel;
pub mod confidential_vm;
pub mod config;
pub mod doctor;
pub mod endorsements;
pub mod error;
pub mod launch;
pub mod log;
pub mod measure;
pub mod metrics;
pub mod ops;
pub mod relay;
pub mod remote;
pub mod server;
pub mod simulated_vm;
mod streams;
pub mod tls;
