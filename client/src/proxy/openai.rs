//! Failures in the form that OpenAI clients read: `{"error": {"message", "type", "code", "param"}}`.
//!
//! When verification failed, the object also has `clause`: its id, what was expected and what was found.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::{Value, json};

use crate::error::ClientError;

/// An error of the proxy itself.
pub fn error(status: StatusCode, code: &str, kind: &str, message: &str) -> Response {
    respond(
        status,
        &json!({ "error": { "message": message, "type": kind, "code": code, "param": null } }),
    )
}

/// What is said outside `/v1/`.
pub async fn nothing_here() -> Response {
    error(
        StatusCode::NOT_FOUND,
        "not-found",
        "not_found_error",
        "There is nothing at this path; the API is under /v1/.",
    )
}

/// A failure on the way to the enclave or back.
pub fn failure(failure: &ClientError) -> Response {
    let mut response = respond(status(failure), &document(failure));
    let code: Option<wire::ProblemCode> = failure.code().parse().ok();
    if let Some(seconds) = code.and_then(wire::ProblemCode::retry_after_seconds) {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// The document of a failure; also the last event of a stream that was cut.
pub fn document(failure: &ClientError) -> Value {
    let status = status(failure);
    let message = match failure.hint() {
        Some(hint) => format!("{failure}. Hint: {hint}"),
        None => failure.to_string(),
    };
    let mut error =
        json!({ "message": message, "type": kind(status), "code": failure.code(), "param": null });
    if let Some(appraisal) = failure.appraisal() {
        let clause = appraisal.clause();
        error["clause"] = json!({ "id": clause.id, "expected": clause.expected, "found": clause.found });
    }
    json!({ "error": error })
}

/// 503 when verification failed or has to wait, 502 when the answer cannot be trusted, the host's own status else.
fn status(failure: &ClientError) -> StatusCode {
    match failure {
        ClientError::Appraisal(_) | ClientError::Bundle(_) | ClientError::Key(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ClientError::Shared(inner) => status(inner),
        ClientError::TimedOut { .. } => StatusCode::GATEWAY_TIMEOUT,
        // A key that is refused twice is no fault of this request.
        ClientError::Host { status: 422, .. } => StatusCode::BAD_GATEWAY,
        ClientError::Host { status, .. } | ClientError::Service { status, .. } => {
            StatusCode::from_u16(*status)
                .ok()
                .filter(|status| status.as_u16() >= 400)
                .unwrap_or(StatusCode::BAD_GATEWAY)
        }
        ClientError::Token(_) => StatusCode::UNAUTHORIZED,
        ClientError::Usage(_) => StatusCode::BAD_REQUEST,
        _ => StatusCode::BAD_GATEWAY,
    }
}

fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        400..500 => "invalid_request_error",
        _ => "server_error",
    }
}

fn respond(status: StatusCode, document: &Value) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        document.to_string(),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use attestation::{AppraisalError, Clause, Outcome, Question};

    #[test]
    fn a_failed_clause_is_named_in_a_503() {
        let clause = Clause {
            id: "launch-measurement",
            question: Question::Expected,
            citation: "a page",
            outcome: Outcome::Fail,
            expected: "aa".to_owned(),
            found: "bb".to_owned(),
        };
        let failure = ClientError::from(std::sync::Arc::new(ClientError::Appraisal(
            AppraisalError::Mismatch(clause.into()),
        )));
        assert_eq!(status(&failure), StatusCode::SERVICE_UNAVAILABLE);
        let document = document(&failure);
        let error = &document["error"];
        assert_eq!(error["code"], "evidence-mismatch");
        assert_eq!(error["type"], "server_error");
        assert_eq!(error["clause"]["id"], "launch-measurement");
        assert_eq!(error["clause"]["found"], "bb");
    }

    #[test]
    fn an_overloaded_host_says_when_to_try_again() {
        let host = |code: &str, status| ClientError::Host {
            code: code.to_owned(),
            title: String::new(),
            hint: None,
            status,
        };
        let response = failure(&host("overloaded", 429));
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers().get(header::RETRY_AFTER), Some(&1.into()));
        let response = failure(&host("internal", 500));
        assert_eq!(response.headers().get(header::RETRY_AFTER), None);
    }

    #[test]
    fn each_failure_has_its_status() {
        let host = |status| ClientError::Host {
            code: "x".to_owned(),
            title: String::new(),
            hint: None,
            status,
        };
        for (failure, expected) in [
            (
                ClientError::Unreachable {
                    url: String::new(),
                    problem: String::new(),
                },
                502,
            ),
            (
                ClientError::TimedOut {
                    url: String::new(),
                    seconds: 1,
                },
                504,
            ),
            (ClientError::Broken(String::new()), 502),
            (ClientError::Receipt(String::new()), 502),
            (ClientError::Token(String::new()), 401),
            (host(422), 502),
            (host(429), 429),
            (host(200), 502),
        ] {
            assert_eq!(status(&failure).as_u16(), expected, "{failure}");
        }
    }
}
