//! The cache (skeleton).
use std::path::Path;

use attestation::{Endorsements, PlatformTag};

use crate::EndorserError;

/// Endorsements on disk, by platform and subject.
#[derive(Debug)]
pub struct Cache {}

impl Cache {
    /// Opens, and creates where missing, a cache in `folder`.
    pub fn open(_folder: &Path) -> Result<Self, EndorserError> {
        todo!()
    }

    /// The endorsements of a subject ([`attestation::endorsement_subject`]).
    pub fn lookup(&self, _platform: PlatformTag, _subject: &[u8]) -> Result<Option<Endorsements>, EndorserError> {
        todo!()
    }

    /// Keeps the endorsements of a subject in place of what was there.
    pub fn store(&self, _platform: PlatformTag, _subject: &[u8], _endorsements: &Endorsements) -> Result<(), EndorserError> {
        todo!()
    }
}
