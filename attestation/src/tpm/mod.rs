//! TPM 2.0 structures (TCG TPM 2.0 Library, Part 2) and the rules on a quote of a virtual TPM.
//!
//! 1. [`attest`] reads the TPMS_ATTEST that the TPM signed, [`selection`] its PCR selection.
//! 2. [`public`] reads a TPMT_PUBLIC and says whether it is an attestation key, [`signature`] reads
//!    a TPMT_SIGNATURE.
//! 3. [`chain`] walks the certificates of an attestation key.
//! 4. [`quote`] records one clause for each rule of [`rules`], with [`log`] for what was measured.
//! 5. [`evidence`] is the encoding in which a quote travels, [`fields`] what people read of it.
//!
//! Who runs the virtual TPM, and how its key is tied to the hardware, is for `azure` and `gce` to say.

mod attest;
pub(crate) mod chain;
mod cursor;
pub(crate) mod evidence;
mod fields;
mod log;
mod public;
mod quote;
mod rules;
mod selection;
mod signature;
#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;

pub(crate) use attest::Attest;
pub(crate) use fields::fields;
pub(crate) use public::AttestationKey;
pub(crate) use quote::{Quote, examine};
pub(crate) use rules::RULES;
pub(crate) use selection::{HashAlgorithm, PcrSet};
pub use signature::rsassa_signature;
