//! Keeps web pages away from the loopback port.
//!
//! A page in the user's browser can send requests to 127.0.0.1, and would use the user's token. It cannot forge three
//! things: the `Host` header (a rebound name shows there), `Sec-Fetch-Site`, and a JSON content type without asking
//! first, which is never granted.

use std::net::SocketAddr;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, Method, StatusCode, header};

use super::openai;
use crate::transport::is_loopback;

/// Refuses cross-site requests.
pub async fn check(State(address): State<SocketAddr>, request: Request, next: Next) -> Response {
    // Over HTTP/2 the authority is in the URI.
    let authority = request
        .uri()
        .authority()
        .map(|authority| authority.as_str().to_owned());
    match refusal(request.method(), request.headers(), authority.as_deref(), address) {
        Some((status, code, message)) => openai::error(status, code, "invalid_request_error", message),
        None => next.run(request).await,
    }
}

fn refusal(
    method: &Method,
    headers: &HeaderMap,
    authority: Option<&str>,
    address: SocketAddr,
) -> Option<(StatusCode, &'static str, &'static str)> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).or(authority).unwrap_or_default();
    if address.ip().is_loopback() && !is_loopback(without_port(host)) {
        return Some((
            StatusCode::FORBIDDEN,
            "host-not-loopback",
            "The Host header names something else than this machine.",
        ));
    }
    if matches!(
        headers.get("sec-fetch-site").map(|site| site.as_bytes()),
        Some(b"cross-site" | b"same-site")
    ) {
        return Some((
            StatusCode::FORBIDDEN,
            "cross-site",
            "Requests of web pages are not taken.",
        ));
    }
    let json = text(header::CONTENT_TYPE).is_some_and(|kind| {
        kind.trim_start()
            .to_ascii_lowercase()
            .starts_with("application/json")
    });
    if method == Method::POST && !json {
        return Some((
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "Send content-type: application/json.",
        ));
    }
    None
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn code(method: Method, headers: &[(&'static str, &str)]) -> Option<&'static str> {
        let headers = headers.iter().map(|(name, value)| {
            (
                header::HeaderName::from_static(name),
                HeaderValue::from_str(value).expect("the test's own value"),
            )
        });
        refusal(
            &method,
            &headers.collect(),
            None,
            "127.0.0.1:8080".parse().expect("an address"),
        )
        .map(|refusal| refusal.1)
    }

    #[test]
    fn a_local_client_passes() {
        for host in [
            "127.0.0.1:8080",
            "localhost:8080",
            "localhost",
            "[::1]:8080",
            "127.0.0.1",
        ] {
            assert_eq!(code(Method::GET, &[("host", host)]), None, "{host}");
        }
        assert_eq!(
            code(
                Method::POST,
                &[
                    ("host", "localhost"),
                    ("content-type", "application/json; charset=utf-8")
                ]
            ),
            None
        );
    }

    #[test]
    fn a_web_page_does_not() {
        assert_eq!(
            code(Method::GET, &[("host", "rebound.example:8080")]),
            Some("host-not-loopback")
        );
        assert_eq!(code(Method::GET, &[]), Some("host-not-loopback"));
        assert_eq!(
            code(
                Method::GET,
                &[("host", "localhost"), ("sec-fetch-site", "cross-site")]
            ),
            Some("cross-site")
        );
        let plain = [("host", "localhost"), ("content-type", "text/plain")];
        assert_eq!(code(Method::POST, &plain), Some("unsupported-media-type"));
        assert_eq!(
            code(Method::POST, &[("host", "localhost")]),
            Some("unsupported-media-type")
        );
    }
}
