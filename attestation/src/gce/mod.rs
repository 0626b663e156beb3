//! Google Compute Engine: what Google says of its firmware and machines beside the processor's own evidence.
//!
//! 1. [`protobuf`] takes messages apart, [`endorsement`] reads the launch endorsement of a firmware.
//! 2. [`examine`] records one clause for each rule of [`rules`].
//! 3. [`vtpm`] examines the vTPM, which the host runs, under the key that Google certified for an
//!    [`instance`].

mod endorsement;
mod examine;
mod instance;
mod protobuf;
mod rules;
#[cfg(test)]
mod tests;
pub(crate) mod vtpm;
mod vtpm_rules;

pub(crate) use examine::{Evidence, examine};
pub(crate) use rules::RULES;
pub(crate) use vtpm_rules::RULES as VTPM_RULES;
