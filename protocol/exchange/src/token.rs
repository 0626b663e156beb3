//! API tokens: `adt_` base64url(CBOR claims) `.` base64url(Ed25519 signature).
use crate::{ApiToken, UnixTime};
use wire::ProblemCode;
use zeroize::Zeroizing;

/// What an issuer says of a token's holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenClaims {
    /// Whom usage is accounted to, and across whom nothing is shared.
    pub tenant: String,
    /// Distinguishes the tokens of a tenant; appears in audit records.
    pub token_id: String,
    /// First second of validity.
    pub not_before: UnixTime,
    /// First second after validity.
    pub expires: UnixTime,
    /// Models that may be used; all when `None`.
    pub models: Option<Vec<String>>,
}
impl TokenClaims {
    /// Whether the token allows `model`.
    pub fn allows(&self, model: &str) -> bool { self.models.as_ref().is_none_or(|m| m.iter().any(|m| m == model)) }
}

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not a token.
    #[error("not a token")]
    Malformed,
    /// Not signed by one of the issuers.
    #[error("not signed by an issuer of this model")]
    WrongIssuer,
    /// Past its end.
    #[error("expired")]
    Expired,
    /// Before its beginning.
    #[error("not valid yet")]
    NotYetValid,
}
impl TokenError {
    /// The problem that the client is told.
    pub fn problem(&self) -> ProblemCode {
        match self {
            Self::Malformed | Self::WrongIssuer => ProblemCode::UnauthorizedToken,
            Self::Expired | Self::NotYetValid => ProblemCode::ExpiredToken,
        }
    }
}

impl ApiToken {
    /// Checks signature and validity.
    pub fn verify(&self, issuers: &[[u8; 32]], now: UnixTime) -> Result<TokenClaims, TokenError> { let _ = (issuers, now); todo!() }
}

/// Issues tokens. Wiped when dropped.
pub struct TokenIssuer(#[allow(dead_code)] ed25519_dalek::SigningKey);
impl TokenIssuer {
    /// A fresh issuer key.
    pub fn generate() -> Result<Self, crate::ExchangeError> { todo!() }
    /// From a seed kept elsewhere.
    pub fn from_seed(seed: &[u8; 32]) -> Self { let _ = seed; todo!() }
    /// The seed, to be kept in a file that only its owner reads.
    pub fn expose_seed(&self) -> Zeroizing<[u8; 32]> { todo!() }
    /// The public key that a release policy names.
    pub fn public_key(&self) -> [u8; 32] { todo!() }
    /// Makes a token.
    pub fn issue(&self, claims: &TokenClaims) -> Result<ApiToken, TokenError> { let _ = claims; todo!() }
}
