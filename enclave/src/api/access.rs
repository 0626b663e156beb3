//! Who may ask: the API token, checked before method, path and body.

use exchange::{ApiToken, UnixTime, token::TokenClaims};
use wire::ProblemCode;

use super::ApiError;

/// A token that an accepted issuer signed and that is within its validity. Built only by [`Access::check`]:
/// handlers take it as an argument, so none can be reached without one.
pub(crate) struct Access {
    claims: TokenClaims,
}

impl Access {
    /// Checks the token of a request.
    pub(crate) fn check(
        token: Option<&ApiToken>,
        issuers: &[[u8; 32]],
        now: UnixTime,
    ) -> Result<Self, ApiError> {
        let token = token.ok_or(ProblemCode::UnauthorizedToken)?;
        let claims = token.verify(issuers, now).map_err(|error| error.problem())?;
        Ok(Self { claims })
    }

    /// On whose account.
    pub(crate) fn tenant(&self) -> &str {
        &self.claims.tenant
    }

    /// Whether the token allows a model.
    pub(crate) fn allows(&self, model: &str) -> bool {
        self.claims.allows(model)
    }
}
