//! What can be wrong with bytes.

/// The bytes are not the structure they claim to be, or a bound was passed. Carries no part of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The input ends before the structure does.
    #[error("truncated {0}")]
    Truncated(&'static str),
    /// The input goes on after the structure has ended.
    #[error("bytes after the end of {0}")]
    TrailingBytes(&'static str),
    /// The structure is not well-formed.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// A length is over its bound in [`crate::limits`].
    #[error("{what} is over its limit of {limit}")]
    TooLarge {
        /// What was measured.
        what: &'static str,
        /// The bound, in the unit of the constant's name.
        limit: usize,
    },
    /// A value is well-formed but not one that this version knows.
    #[error("unknown {0}")]
    Unknown(&'static str),
}

impl WireError {
    /// A stable name for the kind of fault.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Truncated(_) => "truncated",
            Self::TrailingBytes(_) => "trailing-bytes",
            Self::Malformed(_) => "malformed",
            Self::TooLarge { .. } => "too-large",
            Self::Unknown(_) => "unknown-value",
        }
    }
}
