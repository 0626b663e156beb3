//! The OpenAI-compatible surface, inside the seal.
//!
//! 1. [`access`]: the token, before anything else is looked at.
//! 2. [`route`]: method and path.
//! 3. [`parameters`]: the JSON body into typed parameters; what cannot be honoured is refused by name.
//! 4. `engine` computes, [`documents`] writes what the client reads.
//!
//! A fault is a [`ApiError`]: a code and the name of a parameter, never its value.

pub(crate) mod access;
pub(crate) mod documents;
pub(crate) mod embeddings;
pub(crate) mod parameters;
pub(crate) mod route;
mod secret_buffer;
mod text;

use wire::ProblemCode;

/// Why a request is refused, as the client is told inside the seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ApiError {
    /// The stable code.
    pub(crate) code: ProblemCode,
    /// The parameter at fault.
    pub(crate) param: Option<&'static str>,
}

impl ApiError {
    /// A parameter that is missing, out of range or not supported.
    pub(crate) fn parameter(name: &'static str) -> Self {
        Self {
            code: ProblemCode::InvalidParameter,
            param: Some(name),
        }
    }
}

impl From<ProblemCode> for ApiError {
    fn from(code: ProblemCode) -> Self {
        Self { code, param: None }
    }
}
