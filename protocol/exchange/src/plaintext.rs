//! The secrets of a conversation. None of these types can be printed, cloned or serialised (I3); all are wiped
//! when dropped.

use zeroize::Zeroizing;

/// The body of a request: what a person asks.
pub struct Prompt(Zeroizing<Vec<u8>>);

impl Prompt {
    /// Takes ownership of the bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Takes bytes that are wiped already.
    pub fn from_zeroizing(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The plaintext. Do not copy it anywhere that is not wiped.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// The body of a response, or a piece of one: what the model says.
pub struct Completion(Zeroizing<Vec<u8>>);

impl Completion {
    /// Takes ownership of the bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Takes bytes that are wiped already.
    pub fn from_zeroizing(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The plaintext. Do not copy it anywhere that is not wiped.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// An API token in its textual form. Whoever has it may use the model; see [`crate::token`] for what is in it.
pub struct ApiToken(Zeroizing<String>);

impl ApiToken {
    /// Takes a token as it was given; whether it is one is decided by [`ApiToken::verify`].
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The token's text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// An inner request. Its method, path and headers are secrets as its body is.
pub struct Request {
    /// `GET` or `POST`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names are lower case. `authorization`, `date` and `content-length` are not among them.
    pub headers: Vec<(String, String)>,
    /// The bearer token, if there is one.
    pub token: Option<ApiToken>,
    /// The body.
    pub body: Prompt,
}

/// Status and headers of an inner response.
pub struct ResponseHead {
    /// HTTP status.
    pub status: u16,
    /// Names are lower case.
    pub headers: Vec<(String, String)>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use static_assertions::assert_not_impl_any;

    assert_not_impl_any!(Prompt: core::fmt::Debug, core::fmt::Display, Clone, serde::Serialize, AsRef<[u8]>);
    assert_not_impl_any!(Completion: core::fmt::Debug, core::fmt::Display, Clone, serde::Serialize, AsRef<[u8]>);
    assert_not_impl_any!(ApiToken: core::fmt::Debug, core::fmt::Display, Clone, serde::Serialize, AsRef<str>);
    assert_not_impl_any!(Request: core::fmt::Debug, Clone, serde::Serialize);
    assert_not_impl_any!(ResponseHead: core::fmt::Debug, Clone, serde::Serialize);
    assert_not_impl_any!(crate::token::TokenIssuer: core::fmt::Debug, Clone, serde::Serialize);
    assert_not_impl_any!(crate::receipt::ReceiptSigner: core::fmt::Debug, Clone, serde::Serialize);
    assert_not_impl_any!(crate::server::Responder: core::fmt::Debug, Clone);
    assert_not_impl_any!(crate::server::EventWriter: core::fmt::Debug, Clone);
    assert_not_impl_any!(crate::client::ResponseReader: core::fmt::Debug, Clone);
    assert_not_impl_any!(crate::client::ResponseEvent: core::fmt::Debug, Clone);

    #[test]
    fn what_goes_in_is_exposed_by_name_only() {
        assert_eq!(Prompt::new(b"p".to_vec()).expose(), b"p");
        assert_eq!(Completion::new(b"c".to_vec()).expose(), b"c");
        assert_eq!(ApiToken::new("t".to_owned()).expose(), "t");
    }
}
