//! `adyton verify --manifest`: every vector of a corpus under the default policy, with the verdict that it must get.
//!
//! 1. [`manifest`] reads which pieces of evidence there are and what is expected of each.
//! 2. [`policy`] makes the default policy for a piece, with the vector's own keys over it.
//! 3. [`run`] appraises it with whatever lies beside it; what a vector does not carry is not asked for.
//! 4. [`checks`] knows what other tools call our clauses, so that a rejection must fail where it should.

pub mod binding;
pub mod checks;
pub mod manifest;
pub mod policy;
pub mod run;
pub mod tpm_attestation;
