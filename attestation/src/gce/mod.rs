//! Google Compute Engine: what Google endorses of the firmware that it launches.
//!
//! 1. [`protobuf`] takes messages apart.
//! 2. [`endorsement`] reads a launch endorsement.
//! 3. [`examine`] records one clause for each rule of [`rules`].

mod endorsement;
mod examine;
mod protobuf;
mod rules;
#[cfg(test)]
mod tests;

pub(crate) use examine::{Evidence, examine};
pub(crate) use rules::RULES;
