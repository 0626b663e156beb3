//! How the admin API says that something went wrong (RFC 9457).

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use wire::{ProblemCode, media::PROBLEM, problem::PROBLEM_URN};

use crate::error::BrokerError;

/// A problem document.
pub(crate) struct Problem {
    code: &'static str,
    title: String,
    status: u16,
    hint: &'static str,
}

impl Problem {
    fn of(code: ProblemCode) -> Self {
        Self {
            code: code.as_str(),
            title: code.title().to_owned(),
            status: code.status(),
            hint: code.hint(),
        }
    }

    /// A request that is not what the API takes; `title` says which part.
    pub(crate) fn malformed(title: &str) -> Self {
        let hint = "Compare the request with the admin API in the README of broker.";
        Self {
            title: title.to_owned(),
            hint,
            ..Self::of(ProblemCode::MalformedRequest)
        }
    }

    pub(crate) fn too_large() -> Self {
        Self::of(ProblemCode::TooLarge)
    }

    pub(crate) fn not_found() -> Self {
        Self {
            hint: "The paths are in the README of broker.",
            ..Self::of(ProblemCode::NotFound)
        }
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self {
            hint: "The methods are in the README of broker.",
            ..Self::of(ProblemCode::MethodNotAllowed)
        }
    }

    pub(crate) fn forbidden() -> Self {
        let hint = "Use a certificate with the URI name urn:adyton:role:owner.";
        Self {
            hint,
            ..Self::of(ProblemCode::Forbidden)
        }
    }

    pub(crate) fn timeout() -> Self {
        Self::of(ProblemCode::UpstreamTimeout)
    }
}

impl From<BrokerError> for Problem {
    fn from(error: BrokerError) -> Self {
        // What is an owner's mistake is told in full: the owner wrote it. Our own faults are told by code only.
        let status = match &error {
            BrokerError::UnknownModel => 404,
            BrokerError::Policy(_) => 400,
            BrokerError::Registration {
                code: "malformed-request" | "registration-key",
                ..
            } => 400,
            BrokerError::Registration {
                code: "key-unavailable",
                ..
            } => 503,
            BrokerError::Registration { .. } => 409,
            BrokerError::AuditUnavailable => 503,
            _ => return Self::of(ProblemCode::Internal),
        };
        Self {
            code: error.code(),
            title: error.to_string(),
            status,
            hint: error.hint(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = wire::Problem {
            r#type: format!("{PROBLEM_URN}{}", self.code),
            title: self.title,
            status: self.status,
            hint: self.hint.to_owned(),
        };
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(header::CONTENT_TYPE, PROBLEM)], body.to_json()).into_response()
    }
}
