//! What can go wrong with a sealed model, from the caller's side.

/// The result of this crate's operations.
pub type Result<T> = core::result::Result<T, SealedModelError>;

/// One variant for each kind of fault; [`code`](Self::code) is stable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealedModelError {
    /// Placeholder of the first commit.
    #[error("not yet")]
    NotYet,
}

impl SealedModelError {
    /// The stable code of this kind of fault.
    pub fn code(&self) -> &'static str {
        "not-yet"
    }

    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        ""
    }
}
