//! Azure's confidential VMs: a paravisor at the highest privilege runs a vTPM for the guest.
//!
//! The hardware measures the paravisor and signs the hash of its runtime data, which name the vTPM's
//! attestation key; the vTPM measures the guest and signs its PCRs with the caller's nonce:
//!
//! ```text
//! root of AMD or Intel -> report or quote -> report data -> runtime data -> HCLAkPub -> quote -> PCRs, nonce
//! ```
//!
//! The paravisor is inside the trusted computing base: its launch measurement is compared like any other.
//!
//! 1. [`evidence`] takes the received bytes apart, [`hcl`] the report of the host compatibility layer.
//! 2. [`json`] and [`runtime`] read the runtime data, [`settings`] compares them with the policy.
//! 3. [`td_report`] compares the report inside with the quote that Intel's enclave made of it.
//! 4. [`examine`] records one clause for each rule of [`rules`], and has `snp` or `tdx` and `tpm`
//!    record theirs.

mod evidence;
mod examine;
mod fields;
mod hcl;
mod json;
mod rules;
mod runtime;
mod settings;
mod td_report;
#[cfg(test)]
pub(crate) mod tests;

pub use evidence::AzureEvidence;
pub(crate) use evidence::subject;
pub(crate) use examine::{Evidence, Processor, examine};
pub(crate) use fields::fields;
pub(crate) use hcl::HclReport;
pub(crate) use rules::RULES;
pub(crate) use td_report::TD_RULES;
