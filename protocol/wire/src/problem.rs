//! Problems: the stable codes that cross a boundary, and the two documents that carry them.
//!
//! A code says what went wrong from the caller's side and nothing finer. The text of each is fixed here, so that
//! no document can carry a piece of a request.

use serde::{Deserialize, Serialize};

macro_rules! problems {
    ($($(#[$doc:meta])* $variant:ident, $code:literal, $status:literal, $kind:ident, $title:literal, $hint:literal;)*) => {
        /// A stable problem code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ProblemCode { $($(#[$doc])* $variant,)* }

        impl ProblemCode {
            /// All codes.
            pub const ALL: &'static [ProblemCode] = &[$(Self::$variant),*];

            /// The code as it is written.
            pub fn as_str(self) -> &'static str { match self { $(Self::$variant => $code,)* } }

            /// HTTP status that goes with it.
            pub fn status(self) -> u16 { match self { $(Self::$variant => $status,)* } }

            /// One line for a person.
            pub fn title(self) -> &'static str { match self { $(Self::$variant => $title,)* } }

            /// What a person can do about it.
            pub fn hint(self) -> &'static str { match self { $(Self::$variant => $hint,)* } }

            /// `type` of an OpenAI-style error.
            pub fn openai_type(self) -> &'static str { match self { $(Self::$variant => Kind::$kind.as_str(),)* } }
        }
    };
}

/// The `type` values that OpenAI clients know.
#[derive(Clone, Copy)]
enum Kind {
    Request,
    Authentication,
    Permission,
    NotFound,
    RateLimit,
    Server,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Request => "invalid_request_error",
            Self::Authentication => "authentication_error",
            Self::Permission => "permission_error",
            Self::NotFound => "not_found_error",
            Self::RateLimit => "rate_limit_error",
            Self::Server => "server_error",
        }
    }
}

problems! {
    /// The enclave could not open the request: rotated key, garbage, replay. One document for all of them.
    KeyConfig, "key-config", 422, Request, "The enclave could not open the request",
        "Fetch and verify fresh evidence, seal the request to its key and send it once more.";
    /// Not a well-formed request.
    MalformedRequest, "malformed-request", 400, Request, "The request is not well-formed",
        "Check method, path, headers and JSON body against the API reference.";
    /// A size limit was passed.
    TooLarge, "too-large", 413, Request, "The request is too large", "Send a smaller request.";
    /// A body that is not UTF-8 where text is required.
    InvalidUtf8, "invalid-utf8", 400, Request, "The request is not valid UTF-8",
        "Send text encoded as UTF-8.";
    /// A required parameter is missing or out of range.
    InvalidParameter, "invalid-parameter", 400, Request, "A parameter is missing or out of range",
        "Correct the parameter named in `param`.";
    /// A parameter that is not known and asks for something.
    UnknownParameter, "unknown-parameter", 400, Request, "A parameter is not known",
        "Remove the parameters that docs/api.md does not list.";
    /// A schema, regular expression or grammar that cannot be compiled, or not within its bounds.
    InvalidConstraint, "invalid-constraint", 400, Request, "The schema, regular expression or grammar cannot be used",
        "Use what docs/api.md lists, and less of it.";
    /// The request's Date is too far from the enclave's clock.
    DateOutsideWindow, "date-outside-window", 400, Request, "The date of the request is outside the window",
        "Set the clock of the client and send the request again.";
    /// No such path.
    NotFound, "not-found", 404, NotFound, "There is nothing at this path",
        "Use /v1/models, /v1/chat/completions, /v1/completions or /v1/embeddings.";
    /// The path exists, the method does not.
    MethodNotAllowed, "method-not-allowed", 405, Request, "The method is not allowed at this path",
        "Use GET for /v1/models and POST for completions.";
    /// No such media type here.
    UnsupportedMediaType, "unsupported-media-type", 415, Request, "The content type is not supported",
        "Use message/ohttp-chunked-req or message/ohttp-req outside, application/json inside.";
    /// Token missing, malformed, or not by an issuer of this model.
    UnauthorizedToken, "unauthorized-token", 401, Authentication, "The API token is missing or not valid",
        "Give a token made by an issuer that the model's release policy names.";
    /// Token past its end, or before its beginning.
    ExpiredToken, "expired-token", 401, Authentication, "The API token is outside its validity",
        "Ask the issuer for a new token.";
    /// Token does not allow this model.
    ModelNotAllowed, "model-not-allowed", 403, Permission, "The API token does not allow this model",
        "Use a model that the token names, or ask the issuer for another token.";
    /// Model not served here.
    UnknownModel, "unknown-model", 404, NotFound, "The model is not served here",
        "List the models with GET /v1/models.";
    /// Prompt over the token limit.
    PromptTooLong, "prompt-too-long", 400, Request, "The prompt is longer than the model's limit",
        "Shorten the prompt.";
    /// Prompt and completion over the context.
    ContextExceeded, "context-exceeded", 400, Request, "Prompt and completion do not fit the model's context",
        "Shorten the prompt or lower max_tokens.";
    /// Not serving yet, or not any more.
    NotReady, "not-ready", 503, Server, "The enclave is not serving yet",
        "Wait until /readyz answers 200.";
    /// All places are taken.
    Overloaded, "overloaded", 429, RateLimit, "All places are taken", "Send the request again after a while.";
    /// A request took longer than it may, by the client's wish or the server's limit.
    DeadlineExceeded, "deadline-exceeded", 504, Server, "The request took longer than it may",
        "Ask for fewer tokens or a longer timeout_seconds, or send the request again when there is less load.";
    /// The other side of a relay cannot be reached.
    UpstreamUnreachable, "upstream-unreachable", 502, Server, "The next hop cannot be reached",
        "Check that the service is running and that its address is right.";
    /// The other side took too long.
    UpstreamTimeout, "upstream-timeout", 504, Server, "The next hop took too long",
        "Send the request again; if it persists, check the load of the service.";
    /// The stream ended before its authenticated end.
    StreamCut, "stream-cut", 502, Server, "The stream was cut before its end",
        "Nothing of a cut answer is to be relied on; send the request again.";
    /// A replayed request. Internal: outside it is `key-config`.
    Replayed, "replayed", 422, Request, "The request was seen before", "Seal a new request.";
    /// The audit record could not be written, so nothing was released.
    AuditUnavailable, "audit-unavailable", 503, Server, "The audit record cannot be written",
        "Free space on the audit store's volume; nothing is released until then.";
    /// Policy refused.
    PolicyRefused, "policy-refused", 403, Permission, "The policy refuses",
        "Compare the evidence with the policy: adyton verify --explain.";
    /// Evidence rejected.
    EvidenceRejected, "evidence-rejected", 403, Permission, "The evidence was not accepted",
        "Run adyton verify --explain to see the clause that failed.";
    /// Evidence is too old for a request to be sealed to its key.
    EvidenceStale, "evidence-stale", 503, Server, "The evidence is too old",
        "Fresh evidence is needed before another request is sealed.";
    /// Evidence cannot be had.
    EvidenceUnavailable, "evidence-unavailable", 503, Server, "Evidence cannot be collected",
        "Check that the attestation device and the endorsement cache are available.";
    /// No model with that id is registered.
    ModelNotRegistered, "model-not-registered", 404, NotFound, "The model is not registered",
        "Register it with adyton seal, or correct the model id.";
    /// The model was disabled by its owner.
    ModelDisabled, "model-disabled", 403, Permission, "The model is disabled",
        "Ask the model's owner to enable it.";
    /// An older version than the one registered.
    RolledBack, "rolled-back", 409, Permission, "The version is older than the registered one",
        "Use the current sealed model.";
    /// The key store cannot unwrap.
    KeyStoreUnavailable, "key-store-unavailable", 503, Server, "The key store cannot be used",
        "Check the key store; a disabled tenant key stops every release.";
    /// Credentials of an administrative call.
    Forbidden, "forbidden", 403, Permission, "The caller may not do this",
        "Use a client certificate that the listener's CA issued.";
    /// The same thing exists.
    Conflict, "conflict", 409, Request, "It exists already with other content",
        "Raise the version, or choose another id.";
    /// A limit of concurrent work per caller.
    RateLimited, "rate-limited", 429, RateLimit, "Too many requests", "Send fewer requests at a time.";
    /// The service is stopping.
    Stopping, "stopping", 503, Server, "The service is stopping", "Send the request to another instance.";
    /// A fault of ours, without detail.
    Internal, "internal", 500, Server, "Internal error",
        "The log of the service has the place; please report it.";
}

impl ProblemCode {
    /// Seconds after which another try makes sense (Retry-After, RFC 9110 section 10.2.3); `None` where time alone
    /// changes nothing.
    pub fn retry_after_seconds(self) -> Option<u32> {
        match self {
            Self::Overloaded | Self::RateLimited | Self::NotReady => Some(1),
            _ => None,
        }
    }

    /// The code as an outsider may see it: what tells a prober nothing.
    pub fn outside(self) -> Self {
        match self {
            Self::Replayed => Self::KeyConfig,
            other => other,
        }
    }

    /// The error body that OpenAI clients parse. `param` is the name of a parameter, never its value.
    pub fn openai_body(self, param: Option<&'static str>) -> Vec<u8> {
        #[derive(Serialize)]
        struct Error {
            message: String,
            r#type: &'static str,
            code: &'static str,
            param: Option<&'static str>,
        }
        #[derive(Serialize)]
        struct Body {
            error: Error,
        }
        let outside = self.outside();
        let error = Error {
            message: format!("{}. {}", outside.title(), outside.hint()),
            r#type: outside.openai_type(),
            code: outside.as_str(),
            param,
        };
        serde_json::to_vec(&Body { error }).expect("a struct of strings is always JSON")
    }
}

impl core::fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::str::FromStr for ProblemCode {
    type Err = crate::WireError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|c| c.as_str() == s)
            .ok_or(crate::WireError::Unknown("problem code"))
    }
}

impl<C> minicbor::Encode<C> for ProblemCode {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(self.as_str())?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for ProblemCode {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        d.str()?
            .parse()
            .map_err(|_| minicbor::decode::Error::message("problem code"))
    }
}

/// A problem document (RFC 9457, `application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:adyton:problem:` and the code.
    pub r#type: String,
    /// One line for a person.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What a person can do about it.
    pub hint: String,
}

/// What [`Problem::type`](Problem#structfield.type) begins with.
pub const PROBLEM_URN: &str = "urn:adyton:problem:";

impl Problem {
    /// The code of a document that someone else wrote; `None` for a code that this version does not know.
    pub fn code(&self) -> Option<ProblemCode> {
        self.r#type.strip_prefix(PROBLEM_URN)?.parse().ok()
    }

    /// JSON form.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a struct of strings is always JSON")
    }

    /// Parses the JSON form.
    pub fn from_json(bytes: &[u8]) -> Result<Self, crate::WireError> {
        if bytes.len() > crate::limits::PROBLEM_BYTES_MAX {
            return Err(crate::WireError::TooLarge {
                what: "problem document",
                limit: crate::limits::PROBLEM_BYTES_MAX,
            });
        }
        serde_json::from_slice(bytes).map_err(|_| crate::WireError::Malformed("problem document"))
    }
}

impl From<ProblemCode> for Problem {
    fn from(code: ProblemCode) -> Self {
        let code = code.outside();
        Self {
            r#type: format!("{PROBLEM_URN}{code}"),
            title: code.title().into(),
            status: code.status(),
            hint: code.hint().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_distinct_kebab_case_and_complete() {
        let mut seen = HashSet::new();
        for code in ProblemCode::ALL {
            assert!(seen.insert(code.as_str()), "{code} twice");
            assert!(
                code.as_str()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            );
            assert!((400..600).contains(&code.status()));
            assert!(!code.title().is_empty() && code.hint().ends_with('.'), "{code}");
            assert_eq!(code.as_str().parse(), Ok(*code));
        }
    }

    #[test]
    fn overload_is_a_429_with_a_time_to_retry() {
        assert_eq!(ProblemCode::Overloaded.status(), 429);
        assert_eq!(ProblemCode::Overloaded.openai_type(), "rate_limit_error");
        assert_eq!(ProblemCode::Overloaded.retry_after_seconds(), Some(1));
        assert_eq!(ProblemCode::DeadlineExceeded.retry_after_seconds(), None);
    }

    #[test]
    fn a_replay_is_not_told_apart_from_a_rotated_key() {
        assert_eq!(
            Problem::from(ProblemCode::Replayed),
            Problem::from(ProblemCode::KeyConfig)
        );
        assert_eq!(
            ProblemCode::Replayed.openai_body(None),
            ProblemCode::KeyConfig.openai_body(None)
        );
    }

    #[test]
    fn documents_round_trip() {
        let problem = Problem::from(ProblemCode::TooLarge);
        let read = Problem::from_json(&problem.to_json()).expect("our own document");
        assert_eq!(read, problem);
        assert_eq!(read.code(), Some(ProblemCode::TooLarge));
        assert!(Problem::from_json(b"{").is_err());
        assert!(Problem::from_json(&[b' '; 5000]).is_err());
    }

    #[test]
    fn openai_body_has_the_four_fields() {
        let body: serde_json::Value =
            serde_json::from_slice(&ProblemCode::UnknownModel.openai_body(Some("model"))).expect("JSON");
        assert_eq!(body["error"]["code"], "unknown-model");
        assert_eq!(body["error"]["type"], "not_found_error");
        assert_eq!(body["error"]["param"], "model");
        assert!(
            body["error"]["message"]
                .as_str()
                .is_some_and(|m| m.contains("/v1/models"))
        );
    }
}
