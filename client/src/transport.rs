//! Carries public bytes to and from the host over TLS 1.3.
//!
//! The host's certificate is checked against the deployment's CA file and nothing else. The security of prompts does not
//! rest on it: everything that matters is sealed to an attested key or appraised. Plain HTTP is taken for loopback only.

use std::{convert::Infallible, path::Path, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::{error::ClientError, private_file};

/// Certificate files above this are refused (bytes).
const PEM_BYTES_MAX: u64 = 1 << 20;
/// Longest wait for the head of an answer: an answer in one piece is computed first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);
/// Problem documents above this are cut (bytes).
const PROBLEM_BYTES_MAX: usize = 64 << 10;

type Body = BoxBody<Bytes, Infallible>;

/// A connection pool to one host.
#[derive(Clone)]
pub struct Transport {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    base: String,
    timeout: Duration,
}

/// TLS identity that a peer asks for.
pub struct ClientIdentity<'a> {
    /// PEM certificate chain.
    pub certificate: &'a Path,
    /// PEM private key.
    pub private_key: &'a Path,
}

impl Transport {
    /// Prepares connections to `base` (scheme, authority and optional path prefix).
    pub fn new(
        base: &str,
        ca: Option<&Path>,
        identity: Option<ClientIdentity<'_>>,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        let uri: Uri = base
            .parse()
            .map_err(|_| ClientError::Usage(format!("`{base}` is not a URL")))?;
        let authority = uri
            .authority()
            .ok_or_else(|| ClientError::Usage(format!("`{base}` names no host")))?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(ClientError::Usage(
                "the URL must have neither credentials nor a query".to_owned(),
            ));
        }
        match uri.scheme_str() {
            Some("https") if ca.is_none() => {
                return Err(ClientError::Usage(
                    "name the CA that vouches for the host's TLS with --ca".to_owned(),
                ));
            }
            Some("https") => {}
            Some("http") if is_loopback(authority.host()) => {}
            _ => {
                return Err(ClientError::Usage(format!(
                    "`{base}`: https is needed beyond loopback"
                )));
            }
        }
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(ca, identity)?)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self {
            client,
            base: base.trim_end_matches('/').to_owned(),
            timeout,
        })
    }

    /// The base URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The evidence bundle for `nonce`, as the host sent it.
    pub async fn evidence(&self, nonce: &attestation::Nonce) -> Result<Bytes, ClientError> {
        let path = format!(
            "/.well-known/adyton/evidence?nonce={}",
            URL_SAFE_NO_PAD.encode(nonce.as_bytes())
        );
        self.get(&path, attestation::BUNDLE_BYTES_MAX).await
    }

    /// A small document, whole.
    pub async fn get(&self, path: &str, bytes_max: usize) -> Result<Bytes, ClientError> {
        let answered = async {
            let response = self
                .send(Method::GET, path, None, Full::new(Bytes::new()).boxed())
                .await?;
            let response = refuse_problem(response).await?;
            match Limited::new(response.into_body(), bytes_max).collect().await {
                Ok(body) => Ok(body.to_bytes()),
                Err(error) => Err(ClientError::Protocol(format!("{path}: {error}"))),
            }
        };
        tokio::time::timeout(self.timeout, answered)
            .await
            .map_err(|_| self.timed_out())?
    }

    /// Sends an encapsulated request; answers once the host's header is there. `Ok` is a success status of media type
    /// `expected`, everything else an error with the host's problem code.
    pub async fn post<S>(
        &self,
        media: &'static str,
        expected: &str,
        chunks: S,
    ) -> Result<Response<Incoming>, ClientError>
    where
        S: Stream<Item = Bytes> + Send + Sync + 'static,
    {
        let body = BodyExt::boxed(StreamBody::new(chunks.map(|chunk| Ok(Frame::data(chunk)))));
        let answered = async {
            refuse_problem(
                self.send(Method::POST, wire::media::OHTTP_PATH, Some(media), body)
                    .await?,
            )
            .await
        };
        let response = match tokio::time::timeout(ANSWER_TIMEOUT, answered).await {
            Ok(response) => response?,
            Err(_) => {
                let seconds = ANSWER_TIMEOUT.as_secs();
                return Err(ClientError::TimedOut {
                    url: self.base.clone(),
                    seconds,
                });
            }
        };
        let found = media_type(&response);
        if found != expected {
            return Err(ClientError::Protocol(format!(
                "the answer's media type is `{found}`, not `{expected}`"
            )));
        }
        Ok(response)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        media: Option<&'static str>,
        body: Body,
    ) -> Result<Response<Incoming>, ClientError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        if let Some(media) = media {
            // draft-ietf-ohai-chunked-ohttp-08 section 3: intermediaries must not wait for the whole body.
            request = request
                .header(header::CONTENT_TYPE, media)
                .header("incremental", "?1");
        }
        let request = request
            .body(body)
            .map_err(|error| ClientError::Usage(format!("`{}` is not a URL: {error}", self.base)))?;
        self.client
            .request(request)
            .await
            .map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &hyper_util::client::legacy::Error) -> ClientError {
        // The innermost cause is the one that says something: "Connection refused", "invalid peer certificate".
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        ClientError::Unreachable {
            url: self.base.clone(),
            problem: cause.to_string(),
        }
    }

    fn timed_out(&self) -> ClientError {
        ClientError::TimedOut {
            url: self.base.clone(),
            seconds: self.timeout.as_secs(),
        }
    }
}

/// Whether a host name can only mean this machine.
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn tls_config(ca: Option<&Path>, identity: Option<ClientIdentity<'_>>) -> Result<ClientConfig, ClientError> {
    let mut roots = RootCertStore::empty();
    if let Some(ca) = ca {
        let invalid = |problem: String| ClientError::Config {
            path: ca.to_owned(),
            problem,
        };
        for certificate in certificates(ca)? {
            roots
                .add(certificate)
                .map_err(|error| invalid(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(invalid("no certificate in it".to_owned()));
        }
    }
    let builder = ClientConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has TLS 1.3 suites")
        .with_root_certificates(roots);
    let Some(identity) = identity else {
        return Ok(builder.with_no_client_auth());
    };
    let invalid = |problem: String| ClientError::Config {
        path: identity.private_key.to_owned(),
        problem,
    };
    let key = PrivateKeyDer::from_pem_slice(&private_file::read(identity.private_key, PEM_BYTES_MAX)?)
        .map_err(|error| invalid(error.to_string()))?;
    builder
        .with_client_auth_cert(certificates(identity.certificate)?, key)
        .map_err(|error| invalid(error.to_string()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let pem = private_file::read(path, PEM_BYTES_MAX)?;
    CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| ClientError::Config {
            path: path.to_owned(),
            problem: error.to_string(),
        })
}

fn media_type(response: &Response<Incoming>) -> String {
    let value = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

async fn refuse_problem(response: Response<Incoming>) -> Result<Response<Incoming>, ClientError> {
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(response);
    }
    let body = Limited::new(response.into_body(), PROBLEM_BYTES_MAX)
        .collect()
        .await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    Err(problem(status, &body))
}

/// RFC 9457, of which only our own codes are believed to mean something.
fn problem(status: StatusCode, body: &[u8]) -> ClientError {
    let document: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| {
        document
            .get(key)
            .and_then(serde_json::Value::as_str)
            .map(printable)
    };
    match text("type")
        .as_deref()
        .and_then(|kind| kind.strip_prefix(wire::problem::PROBLEM_URN))
    {
        Some(code) => ClientError::Host {
            code: code.to_owned(),
            title: text("title").unwrap_or_else(|| status.to_string()),
            hint: text("hint"),
            status: status.as_u16(),
        },
        None => ClientError::Protocol(format!("status {status} without a problem document")),
    }
}

/// The host is not trusted with a person's terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_keeps_code_and_hint_and_loses_control_characters() {
        let body =
            br#"{"type":"urn:adyton:problem:key-config","title":"no\u001b[31m","status":422,"hint":"again"}"#;
        let error = problem(StatusCode::UNPROCESSABLE_ENTITY, body);
        assert_eq!(error.code(), "key-config");
        assert_eq!(error.hint().as_deref(), Some("again"));
        assert!(!error.to_string().contains('\u{1b}'));
        assert_eq!(problem(StatusCode::BAD_GATEWAY, b"<html>").code(), "protocol");
    }

    #[test]
    fn only_loopback_is_reached_without_tls() {
        let refused = |url: &str, ca| {
            Transport::new(url, ca, None, Duration::from_secs(1))
                .err()
                .map(|e| e.code().to_owned())
        };
        assert_eq!(refused("http://127.0.0.1:1", None), None);
        assert_eq!(refused("http://[::1]:1", None), None);
        assert_eq!(refused("http://example.com", None).as_deref(), Some("usage"));
        assert_eq!(refused("https://example.com", None).as_deref(), Some("usage"));
        assert_eq!(refused("ftp://127.0.0.1", None).as_deref(), Some("usage"));
        assert_eq!(refused("http://user@127.0.0.1", None).as_deref(), Some("usage"));
    }
}
