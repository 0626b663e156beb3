//! What can go wrong. No variant carries plaintext or a piece of a message.

use sealing::SealingError;
use wire::ProblemCode;

/// An exchange failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// Sealing or opening failed.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// What was opened is not well-formed binary HTTP, or breaks the rules for the inner message.
    #[error("malformed inner message: {0}")]
    MalformedInner(&'static str),
    /// A size limit was passed.
    #[error("{what} is over its limit of {limit}")]
    TooLarge {
        /// What was measured.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The encapsulated key was seen before in this epoch.
    #[error("the request was seen before")]
    Replayed,
    /// The replay cache of the epoch is full; a new epoch is due.
    #[error("the replay cache is full")]
    ReplayCacheFull,
    /// No key can be used: none installed yet.
    #[error("no key epoch is installed")]
    NoEpoch,
    /// A receipt does not fit the request or the response, or its signature is wrong.
    #[error("receipt: {0}")]
    Receipt(&'static str),
    /// The caller did things in an order that the protocol does not have.
    #[error("caller's mistake: {0}")]
    ApiMisuse(&'static str),
}

impl ExchangeError {
    /// The problem that a peer is told; nothing finer leaves.
    pub fn problem(&self) -> ProblemCode {
        match self {
            Self::Sealing(SealingError::TooLarge { .. }) | Self::TooLarge { .. } => ProblemCode::TooLarge,
            Self::Sealing(SealingError::Stale) => ProblemCode::EvidenceStale,
            Self::Sealing(SealingError::ApiMisuse(_) | SealingError::Randomness) | Self::ApiMisuse(_) => {
                ProblemCode::Internal
            }
            Self::Sealing(_) => ProblemCode::KeyConfig,
            Self::Replayed => ProblemCode::Replayed,
            Self::ReplayCacheFull => ProblemCode::Overloaded,
            Self::NoEpoch => ProblemCode::NotReady,
            Self::MalformedInner(_) => ProblemCode::MalformedRequest,
            Self::Receipt(_) => ProblemCode::Internal,
        }
    }

    /// A stable name for the kind of fault, on the side where it happened.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Sealing(error) => error.code(),
            Self::MalformedInner(_) => "malformed-inner",
            Self::TooLarge { .. } => "too-large",
            Self::Replayed => "replayed",
            Self::ReplayCacheFull => "replay-cache-full",
            Self::NoEpoch => "no-epoch",
            Self::Receipt(_) => "receipt",
            Self::ApiMisuse(_) => "api-misuse",
        }
    }
}
