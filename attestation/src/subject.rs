//! Which endorsements a piece of evidence needs (skeleton).
use alloc::vec::Vec;

use crate::{AppraisalError, PlatformTag};

/// The name under which the endorsements of `evidence` are published and cached. Unverified: it only
/// chooses what to look up.
pub fn endorsement_subject(_platform: PlatformTag, _evidence: &[u8]) -> Result<Vec<u8>, AppraisalError> {
    todo!()
}
