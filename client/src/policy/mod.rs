//! Appraisal policies as documents: drafted from evidence, checked for what they leave open, compared.
//!
//! What a policy means is the Verifier's to say (`attestation::AppraisalPolicy`); here it is a text that a person
//! writes, reads and changes.

pub mod diff;
pub mod draft;
mod draft_events;
mod draft_vtpm;
pub mod lint;
pub mod measured;

pub use draft_events::Events;
pub use draft_vtpm::{AzureGuest, GoogleVtpm};
