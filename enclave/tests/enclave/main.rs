//! The whole enclave in this process, between a host and a broker that the test plays. Evidence is SIMULATED.

mod api;
mod embeddings;
mod epochs;
mod hostile;
mod provisioning;
mod support;
mod trail;
