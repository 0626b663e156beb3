//! Why the cache could not serve.

use std::path::PathBuf;

use attestation::BundleError;
use thiserror::Error;

/// The cache could not keep or give endorsements.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EndorserError {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file in the cache is not what the cache writes.
    #[error("{}: not cached endorsements: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: BundleError,
    },
    /// The subject or the endorsements are larger than the cache keeps.
    #[error("{what} of {bytes} bytes exceeds the bound of {bytes_max}")]
    Bound {
        /// What is too large.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
}

impl EndorserError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            EndorserError::Io { .. } => "endorser-io",
            EndorserError::Malformed { .. } => "endorser-malformed",
            EndorserError::Bound { .. } => "endorser-bound",
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            EndorserError::Io { .. } => "check that the cache folder exists and may be written",
            EndorserError::Malformed { .. } => "delete the file; it is fetched or imported again",
            EndorserError::Bound { .. } => "the endorsements are not what the manufacturer publishes",
        }
    }
}
