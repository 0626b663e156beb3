//! API tokens: `adt_` base64url(CBOR claims) `.` base64url(Ed25519 signature).
//!
//! Whoever issues tokens needs no connection to the enclave: the model's release policy names the issuers' public
//! keys, and the enclave checks a token offline. Signed bytes: `adyton api token v1`, a zero byte, the CBOR.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use minicbor::{Decode, Encode};
use wire::ProblemCode;
use wire::codec::{from_cbor, to_cbor};
use zeroize::Zeroizing;

use crate::{ApiToken, ExchangeError, UnixTime};

/// What every token begins with, so that a leaked one is found by scanners.
pub const TOKEN_PREFIX: &str = "adt_";
const DOMAIN: &[u8] = b"adyton api token v1\0";
const CLAIMS_BYTES_MAX: usize = 2048;
const NAME_BYTES_MAX: usize = 64;
const MODELS_MAX: usize = 16;

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
    pub fn allows(&self, model: &str) -> bool {
        self.models
            .as_ref()
            .is_none_or(|models| models.iter().any(|allowed| allowed == model))
    }

    /// Names must be harmless wherever they are written: letters, digits, `.`, `_`, `-`, `/`, `:`, `@`.
    fn well_formed(&self) -> bool {
        let harmless = |b: u8| b.is_ascii_alphanumeric() || b"._-/:@".contains(&b);
        let name = |s: &str, max: usize| (1..=max).contains(&s.len()) && s.bytes().all(harmless);
        let models = self.models.as_deref().unwrap_or_default();
        name(&self.tenant, NAME_BYTES_MAX)
            && name(&self.token_id, NAME_BYTES_MAX)
            && models.len() <= MODELS_MAX
            && models.iter().all(|m| name(m, wire::limits::MODEL_ID_BYTES_MAX))
            && self.not_before < self.expires
    }
}

/// CBOR form of the claims.
#[derive(Encode, Decode)]
struct Payload {
    #[n(0)]
    version: u8,
    #[n(1)]
    tenant: String,
    #[n(2)]
    token_id: String,
    #[n(3)]
    not_before_seconds: u64,
    #[n(4)]
    expires_seconds: u64,
    #[n(5)]
    models: Option<Vec<String>>,
}

/// Why a token was refused, or not made.
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
    /// Checks signature, then validity at `now`. An empty list of issuers refuses.
    pub fn verify(&self, issuers: &[[u8; 32]], now: UnixTime) -> Result<TokenClaims, TokenError> {
        let text = self
            .expose()
            .strip_prefix(TOKEN_PREFIX)
            .ok_or(TokenError::Malformed)?;
        let (claims, signature) = text.split_once('.').ok_or(TokenError::Malformed)?;
        if claims.len() > 2 * CLAIMS_BYTES_MAX || signature.len() > 128 {
            return Err(TokenError::Malformed);
        }
        let claims = Zeroizing::new(
            URL_SAFE_NO_PAD
                .decode(claims)
                .map_err(|_| TokenError::Malformed)?,
        );
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| TokenError::Malformed)?;
        let signature = Signature::from_slice(&signature).map_err(|_| TokenError::Malformed)?;
        let signed = Zeroizing::new([DOMAIN, &claims].concat());
        let by = |issuer: &[u8; 32]| {
            VerifyingKey::from_bytes(issuer).is_ok_and(|key| key.verify_strict(&signed, &signature).is_ok())
        };
        if !issuers.iter().any(by) {
            return Err(TokenError::WrongIssuer);
        }
        let claims = parse(&claims)?;
        if now < claims.not_before {
            return Err(TokenError::NotYetValid);
        }
        if now >= claims.expires {
            return Err(TokenError::Expired);
        }
        Ok(claims)
    }
}

fn parse(bytes: &[u8]) -> Result<TokenClaims, TokenError> {
    let payload: Payload = from_cbor(bytes, "token", CLAIMS_BYTES_MAX).map_err(|_| TokenError::Malformed)?;
    let claims = TokenClaims {
        tenant: payload.tenant,
        token_id: payload.token_id,
        not_before: UnixTime::from_seconds(payload.not_before_seconds),
        expires: UnixTime::from_seconds(payload.expires_seconds),
        models: payload.models,
    };
    if payload.version == 1 && claims.well_formed() {
        Ok(claims)
    } else {
        Err(TokenError::Malformed)
    }
}

/// Issues tokens. Wiped when dropped.
pub struct TokenIssuer(SigningKey);

impl TokenIssuer {
    /// A fresh issuer key.
    pub fn generate() -> Result<Self, ExchangeError> {
        random_seed().map(|seed| Self::from_seed(&seed))
    }

    /// From a seed that was kept.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed, to be kept in a file that only its owner reads.
    pub fn expose_seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public key that a release policy names.
    pub fn public_key(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// Makes a token. [`TokenError::Malformed`] when a name has other characters than the alphabet of names, is
    /// empty or too long, or the validity is empty.
    pub fn issue(&self, claims: &TokenClaims) -> Result<ApiToken, TokenError> {
        if !claims.well_formed() {
            return Err(TokenError::Malformed);
        }
        let payload = to_cbor(&Payload {
            version: 1,
            tenant: claims.tenant.clone(),
            token_id: claims.token_id.clone(),
            not_before_seconds: claims.not_before.seconds(),
            expires_seconds: claims.expires.seconds(),
            models: claims.models.clone(),
        });
        let signature = self.0.sign(&[DOMAIN, &payload].concat());
        let signature = URL_SAFE_NO_PAD.encode(signature.to_bytes());
        Ok(ApiToken::new(format!(
            "{TOKEN_PREFIX}{}.{signature}",
            URL_SAFE_NO_PAD.encode(payload)
        )))
    }
}

/// 32 random bytes for a signing key.
pub(crate) fn random_seed() -> Result<Zeroizing<[u8; 32]>, ExchangeError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(|_| sealing::SealingError::Randomness)?;
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claims() -> TokenClaims {
        TokenClaims {
            tenant: "acme".into(),
            token_id: "t-1".into(),
            not_before: UnixTime::from_seconds(100),
            expires: UnixTime::from_seconds(200),
            models: Some(vec!["sample".into()]),
        }
    }

    #[test]
    fn a_token_is_valid_from_its_first_second_to_before_its_end() {
        let issuer = TokenIssuer::generate().expect("randomness");
        let token = issuer.issue(&claims()).expect("well-formed");
        let verify = |seconds| token.verify(&[[9; 32], issuer.public_key()], UnixTime::from_seconds(seconds));
        assert_eq!(verify(99), Err(TokenError::NotYetValid));
        assert_eq!(verify(100), Ok(claims()));
        assert_eq!(verify(199), Ok(claims()));
        assert_eq!(verify(200), Err(TokenError::Expired));
        assert!(claims().allows("sample") && !claims().allows("other"));
    }

    #[test]
    fn another_issuer_or_none_is_refused_before_the_clock_is_asked() {
        let issuer = TokenIssuer::generate().expect("randomness");
        let other = TokenIssuer::generate().expect("randomness");
        let token = issuer.issue(&claims()).expect("well-formed");
        for issuers in [&[][..], &[other.public_key()]] {
            let refused = token.verify(issuers, UnixTime::from_seconds(999));
            assert_eq!(refused, Err(TokenError::WrongIssuer));
            assert_eq!(TokenError::WrongIssuer.problem(), ProblemCode::UnauthorizedToken);
        }
        let kept = TokenIssuer::from_seed(&issuer.expose_seed());
        assert_eq!(kept.public_key(), issuer.public_key());
    }

    #[test]
    fn any_changed_character_is_refused() {
        let issuer = TokenIssuer::generate().expect("randomness");
        let token = issuer.issue(&claims()).expect("well-formed");
        let text = token.expose();
        for at in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let altered = ApiToken::new(String::from_utf8(bytes).expect("ASCII"));
            assert!(
                altered
                    .verify(&[issuer.public_key()], UnixTime::from_seconds(150))
                    .is_err(),
                "at {at}"
            );
        }
    }

    #[test]
    fn names_that_could_write_a_log_line_are_not_issued() {
        let issuer = TokenIssuer::generate().expect("randomness");
        for tenant in ["", "a b", "a\nb", "é", &"a".repeat(65)] {
            let claims = TokenClaims {
                tenant: tenant.to_owned(),
                ..claims()
            };
            assert!(issuer.issue(&claims).is_err(), "{tenant:?}");
        }
        let backwards = TokenClaims {
            expires: UnixTime::from_seconds(100),
            ..claims()
        };
        assert!(issuer.issue(&backwards).is_err());
    }

    proptest! {
        #[test]
        fn any_text(text in "(adt_)?[A-Za-z0-9_.-]{0,80}") {
            let _ = ApiToken::new(text).verify(&[[1; 32]], UnixTime::from_seconds(1));
        }

        #[test]
        fn any_claims(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&bytes);
        }
    }
}
