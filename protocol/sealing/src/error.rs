//! What can go wrong. No variant carries plaintext, key material or a piece of a message.

/// A sealing or opening failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealingError {
    /// The bytes are not an encapsulated message.
    #[error("malformed encapsulated message: {0}")]
    Malformed(&'static str),
    /// The message names a key or a suite that this recipient does not have.
    #[error("the message is sealed to another key configuration")]
    KeyConfig,
    /// Decapsulation or decryption failed: other key, altered, reordered, duplicated, dropped or cut.
    #[error("the message cannot be opened")]
    Open,
    /// The message ended before its authenticated end.
    #[error("the message was cut before its authenticated end")]
    Truncated,
    /// Our own limit on the size of a message.
    #[error("the message is over the limit of {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// The key is not in the statement of the evidence.
    #[error("the key configuration is not the one that was attested")]
    NotAttested,
    /// The evidence is too old to seal to its key.
    #[error("the evidence for the key is no longer fresh")]
    Stale,
    /// No suite of the configuration is permitted.
    #[error("no permitted HPKE suite")]
    NoPermittedSuite,
    /// The operating system gave no randomness.
    #[error("no randomness from the operating system")]
    Randomness,
    /// The public key is not a valid point or has the wrong size.
    #[error("invalid public key")]
    PublicKey,
    /// The caller did things in an order that the protocol does not have.
    #[error("caller's mistake: {0}")]
    ApiMisuse(&'static str),
}

impl SealingError {
    /// A stable name for the kind of fault.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed-request",
            Self::KeyConfig => "key-config",
            Self::Open => "open-failed",
            Self::Truncated => "stream-cut",
            Self::TooLarge { .. } => "too-large",
            Self::NotAttested => "not-attested",
            Self::Stale => "evidence-stale",
            Self::NoPermittedSuite => "no-permitted-suite",
            Self::Randomness => "no-randomness",
            Self::PublicKey => "invalid-public-key",
            Self::ApiMisuse(_) => "api-misuse",
        }
    }
}
