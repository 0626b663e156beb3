//! Google Compute Engine: what Google says of its machines beside the processor's own evidence.

mod instance;
pub(crate) mod vtpm;
mod vtpm_rules;
