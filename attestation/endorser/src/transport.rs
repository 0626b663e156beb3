//! Bounded requests to services that nobody trusts: bounded size, bounded time, bounded attempts.
//!
//! 1. One attempt sends the request and reads the whole answer, within the time of an attempt.
//! 2. An answer of another server is never fetched: a redirect is followed within its origin only.
//! 3. What may be different next time (no connection, time, 429, 5xx, an answer cut short) is tried
//!    again after a pause that doubles, with jitter, or after what Retry-After says if that is near.
//! 4. What stays as it is (404, other refusals, an untrusted certificate, too long an answer) is not.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::{EndorserError, Service};

/// Bound of one answer: no document is larger ([`attestation::Endorsements`]).
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;
const CA_BYTES_MAX: u64 = 1024 * 1024;
const REDIRECTS_MAX: usize = 2;

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Attempts in all, at least one.
    pub attempts: u32,
    /// Time of one attempt, from connecting to the last byte.
    pub attempt_timeout: Duration,
    /// First pause between attempts; it doubles.
    pub pause_first: Duration,
    /// Longest pause, and the farthest Retry-After that is waited for.
    pub pause_max: Duration,
}

impl Default for Limits {
    /// Four attempts of 20 seconds, pauses from half a second to half a minute.
    fn default() -> Self {
        Self {
            attempts: 4,
            attempt_timeout: Duration::from_secs(20),
            pause_first: Duration::from_millis(500),
            pause_max: Duration::from_secs(30),
        }
    }
}

/// Is told what is being done, a line at a time.
pub type Observer = Arc<dyn Fn(&str) + Send + Sync>;

/// Connections to services.
#[derive(Clone)]
pub struct Transport {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    limits: Limits,
    observer: Option<Observer>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) service: Service,
    pub(crate) url: String,
    /// Names in lower case.
    pub(crate) headers: &'static [(&'static str, &'static str)],
    /// A POST if there is one.
    pub(crate) body: Option<Vec<u8>>,
}

impl Question {
    pub(crate) fn get(service: Service, url: String) -> Self {
        Self {
            service,
            url,
            headers: &[],
            body: None,
        }
    }

    pub(crate) fn wrong(&self, problem: &'static str) -> EndorserError {
        EndorserError::Content {
            service: self.service,
            url: self.url.clone(),
            problem,
        }
    }
}

/// A failed attempt, and whether another may go better.
struct Failure {
    error: EndorserError,
    again: bool,
}

impl Transport {
    /// Servers are trusted by the roots that browsers trust, or by `ca` (PEM) and nothing else.
    pub fn new(ca: Option<&Path>, limits: Limits) -> Result<Self, EndorserError> {
        let roots = match ca {
            None => RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(path) => named_roots(path)?,
        };
        let tls = ClientConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has TLS 1.3 suites")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .build();
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            limits,
            observer: None,
        })
    }

    /// Tells `observer` what is being done.
    #[must_use]
    pub fn observed_by(mut self, observer: Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    pub(crate) fn tell(&self, line: &str) {
        if let Some(observer) = &self.observer {
            observer(line);
        }
    }

    /// Asks until there is an answer, or no sense in asking again.
    pub(crate) async fn ask(&self, question: &Question) -> Result<Answer, EndorserError> {
        self.tell(&format!("{}: {}", question.service, question.url));
        let mut pause = self.limits.pause_first;
        let mut attempt = 1;
        loop {
            let Failure { error, again } = match self.attempt(question).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if !again || attempt >= self.limits.attempts {
                return Err(error);
            }
            let wait = match &error {
                EndorserError::Busy {
                    retry_after_seconds: Some(seconds),
                    ..
                } => Duration::from_secs(*seconds),
                _ => jittered(pause),
            };
            if wait > self.limits.pause_max {
                return Err(error);
            }
            self.tell(&format!(
                "{error}; attempt {attempt} of {}, again in {:.1} s",
                self.limits.attempts,
                wait.as_secs_f64()
            ));
            tokio::time::sleep(wait).await;
            pause = pause.saturating_mul(2).min(self.limits.pause_max);
            attempt += 1;
        }
    }

    /// The pause before a whole set of documents is asked for again.
    pub(crate) async fn pause(&self) {
        tokio::time::sleep(jittered(self.limits.pause_first)).await;
    }

    async fn attempt(&self, question: &Question) -> Result<Answer, Failure> {
        match tokio::time::timeout(self.limits.attempt_timeout, self.follow(question)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure {
                error: EndorserError::TimedOut {
                    service: question.service,
                    url: question.url.clone(),
                    seconds: self.limits.attempt_timeout.as_secs(),
                },
                again: true,
            }),
        }
    }

    async fn follow(&self, question: &Question) -> Result<Answer, Failure> {
        let mut url = question.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let response = self.send(question, &url).await?;
            if !response.status().is_redirection() {
                return whole(question, response).await;
            }
            let to = response
                .headers()
                .get(header::LOCATION)
                .and_then(|location| location.to_str().ok())
                .unwrap_or_default();
            match same_origin(&url, to).filter(|_| question.body.is_none()) {
                Some(next) => url = next,
                None => return Err(redirected(question, to)),
            }
        }
        Err(redirected(question, &url))
    }

    async fn send(
        &self,
        question: &Question,
        url: &str,
    ) -> Result<http::Response<hyper::body::Incoming>, Failure> {
        let mut request = Request::builder()
            .method(if question.body.is_some() {
                Method::POST
            } else {
                Method::GET
            })
            .uri(url)
            .header(
                header::USER_AGENT,
                concat!("adyton-endorser/", env!("CARGO_PKG_VERSION")),
            );
        for (name, value) in question.headers {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::from(question.body.clone().unwrap_or_default()));
        let request = request.body(body).map_err(|_| Failure {
            error: EndorserError::Config(format!("`{url}` is not a URL")),
            again: false,
        })?;
        self.client
            .request(request)
            .await
            .map_err(|error| connection_failure(question, &error))
    }
}

fn named_roots(path: &Path) -> Result<RootCertStore, EndorserError> {
    use std::io::Read as _;
    let wrong = |problem: String| EndorserError::Config(format!("{}: {problem}", path.display()));
    let mut pem = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(CA_BYTES_MAX).read_to_end(&mut pem))
        .map_err(|error| wrong(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("no certificate in it".to_owned()));
    }
    Ok(roots)
}

/// Between half of `pause` and all of it, so that many who were refused together do not return together.
fn jittered(pause: Duration) -> Duration {
    // Without randomness everybody waits the longest.
    let part = getrandom::u32().unwrap_or(u32::MAX);
    let half = pause / 2;
    half + half.mul_f64(f64::from(part) / f64::from(u32::MAX))
}

/// Where a redirect leads, if that is on the same server.
fn same_origin(from: &str, to: &str) -> Option<String> {
    let origin = |uri: &Uri| Some((uri.scheme_str()?.to_owned(), uri.authority()?.as_str().to_owned()));
    let from: Uri = from.parse().ok()?;
    let (scheme, authority) = origin(&from)?;
    if to.starts_with('/') && !to.starts_with("//") {
        return Some(format!("{scheme}://{authority}{to}"));
    }
    let uri: Uri = to.parse().ok()?;
    (origin(&uri)? == (scheme, authority)).then(|| to.to_owned())
}

fn redirected(question: &Question, to: &str) -> Failure {
    Failure {
        error: EndorserError::Redirected {
            service: question.service,
            url: question.url.clone(),
            to: printable(to),
        },
        again: false,
    }
}

async fn whole(
    question: &Question,
    response: http::Response<hyper::body::Incoming>,
) -> Result<Answer, Failure> {
    let status = response.status();
    if status != StatusCode::OK {
        return Err(refusal(question, status, response.headers()));
    }
    let final_failure = |error| Failure { error, again: false };
    let encoding = response.headers().get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| encoding != "identity") {
        return Err(final_failure(
            question.wrong("it is compressed, which was not asked for"),
        ));
    }
    let (head, body) = response.into_parts();
    match Limited::new(body, ANSWER_BYTES_MAX).collect().await {
        Ok(body) => Ok(Answer {
            headers: head.headers,
            body: body.to_bytes(),
        }),
        Err(error) if error.is::<LengthLimitError>() => Err(final_failure(EndorserError::TooLarge {
            service: question.service,
            url: question.url.clone(),
            bytes_max: ANSWER_BYTES_MAX,
        })),
        Err(error) => Err(Failure {
            error: EndorserError::Unreachable {
                service: question.service,
                url: question.url.clone(),
                problem: format!("the answer was cut short: {error}"),
            },
            again: true,
        }),
    }
}

fn refusal(question: &Question, status: StatusCode, headers: &HeaderMap) -> Failure {
    let (service, url, number) = (question.service, question.url.clone(), status.as_u16());
    match number {
        404 | 410 => Failure {
            error: EndorserError::NotPublished {
                service,
                url,
                status: number,
            },
            again: false,
        },
        429 | 500 | 502 | 503 | 504 => Failure {
            error: EndorserError::Busy {
                service,
                url,
                status: number,
                retry_after_seconds: retry_after(headers, SystemTime::now()),
            },
            again: true,
        },
        _ => Failure {
            error: EndorserError::Refused {
                service,
                url,
                status: number,
            },
            again: false,
        },
    }
}

/// RFC 9110 section 10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<u64> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).map_or(0, |wait| wait.as_secs() + 1))
}

fn connection_failure(question: &Question, error: &ClientError) -> Failure {
    let (service, url) = (question.service, question.url.clone());
    match tls_problem(error) {
        Some(problem) => Failure {
            error: EndorserError::UntrustedServer {
                service,
                url,
                problem,
            },
            again: false,
        },
        None => {
            // The innermost cause is the one that says something: "Connection refused".
            let mut cause: &dyn std::error::Error = error;
            while let Some(inner) = cause.source() {
                cause = inner;
            }
            Failure {
                error: EndorserError::Unreachable {
                    service,
                    url,
                    problem: cause.to_string(),
                },
                again: true,
            }
        }
    }
}

/// What TLS said of the server's certificate, if that is the reason.
fn tls_problem(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(rustls::Error::InvalidCertificate(problem)) = error.downcast_ref() {
        return Some(problem.to_string());
    }
    // An I/O error hides what it wraps from `source`.
    let wrapped = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    match wrapped {
        Some(inner) => tls_problem(inner),
        None => tls_problem(error.source()?),
    }
}

/// Text that a server wrote, without what would command a terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use http::HeaderMap;

    use super::{jittered, printable, retry_after, same_origin};

    #[test]
    fn a_redirect_is_followed_on_the_same_server_only() {
        let from = "https://a.example:8081/x?y=1";
        for (to, expected) in [
            ("/z", Some("https://a.example:8081/z")),
            ("https://a.example:8081/z", Some("https://a.example:8081/z")),
            ("https://a.example/z", None),
            ("http://a.example:8081/z", None),
            ("https://b.example:8081/z", None),
            ("https://user@a.example:8081/z", None),
            ("//b.example/z", None),
            ("z", None),
            ("", None),
        ] {
            assert_eq!(same_origin(from, to).as_deref(), expected, "{to}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let said = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", text.parse().expect("a header"));
            retry_after(&headers, now)
        };
        assert_eq!(said("7"), Some(7));
        assert_eq!(said("Tue, 14 Nov 2023 22:13:30 GMT"), Some(11));
        assert_eq!(said("Tue, 14 Nov 2000 22:13:30 GMT"), Some(0));
        assert_eq!(said("soon"), None);
        assert_eq!(said("-1"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn jitter_stays_between_half_and_all() {
        let pause = Duration::from_millis(100);
        for _ in 0..200 {
            let wait = jittered(pause);
            assert!(wait >= pause / 2 && wait <= pause, "{wait:?}");
        }
    }

    #[test]
    fn foreign_text_cannot_command_the_terminal() {
        assert_eq!(printable("a\u{1b}[2J\n"), "a[2J");
        assert_eq!(printable(&"x".repeat(1000)).len(), 200);
    }
}
