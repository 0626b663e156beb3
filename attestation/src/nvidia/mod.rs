//! NVIDIA GPUs and switches: reports, the certificates behind them, and reference manifests.
//!
//! 1. [`report`] and [`opaque`] read the raw bytes.
//! 2. [`device`] reads the device's certificates.
//! 3. [`xml`], [`canonical`], [`signature`], [`manifest`] read a reference manifest and check who signed it.
//! 4. [`examine`] records one clause for each rule of [`rules`] and [`manifest_rules`], for each device,
//!    with [`identity`], [`configuration`], [`manifests`], [`measurements`], [`revocation`].
//! 5. [`set`] does so for all devices of a machine, with [`set_rules`].

mod appraisal;
mod canonical;
mod configuration;
mod cursor;
mod device;
mod examine;
mod fields;
mod identity;
mod manifest;
mod manifest_rules;
mod manifests;
mod measurements;
mod mode;
mod opaque;
mod report;
mod revocation;
mod rules;
mod set;
mod set_rules;
mod signature;
mod version;
mod xml;

#[cfg(test)]
mod tests;

pub(crate) use appraisal::examine_all;
pub use appraisal::{NvidiaDevice, explain_reference_manifest};
pub(crate) use device::Architecture;
pub(crate) use examine::{Anchors, Evidence};
pub(crate) use fields::{fields, manifests};
pub(crate) use manifest_rules::RULES as MANIFEST_RULES;
pub(crate) use mode::Mode;
pub(crate) use report::Report;
pub(crate) use rules::RULES;
pub(crate) use set::examine_set;
pub(crate) use set_rules::RULES as SET_RULES;
pub(crate) use version::{DriverVersion, VbiosVersion};
