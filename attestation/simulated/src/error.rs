//! Why the simulated platform could not be used.

use std::path::PathBuf;

use thiserror::Error;

/// The simulated platform could not be made, kept or used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SimulatedError {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of a saved platform is not what was saved.
    #[error("{}: not a file of a simulated platform", .0.display())]
    Malformed(PathBuf),
    /// A key could not be made or used.
    #[error("key operation failed: {0}")]
    Crypto(&'static str),
}

impl SimulatedError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            SimulatedError::Io { .. } => "simulated-io",
            SimulatedError::Malformed(_) => "simulated-malformed",
            SimulatedError::Crypto(_) => "simulated-crypto",
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            SimulatedError::Io { .. } => "check that the platform folder may be read and written",
            SimulatedError::Malformed(_) | SimulatedError::Crypto(_) => {
                "delete the platform folder and manufacture again"
            }
        }
    }
}
