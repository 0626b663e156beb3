//! Simulated evidence through the whole verifier: accepted as it is, refused with anything changed.
//! This proves that each check is there and does what it says, not that hardware is secure.

mod alone;
mod bundle;
mod devices;
mod event_log;
mod files;
mod gce;
mod mutation;
mod shown;
mod snp;
mod support;
mod tdx;
mod words;
