//! A model hub that speaks Hugging Face's HTTP API: what a repository holds at a revision, and the bytes of its files.
//!
//! Nothing the hub says is trusted beyond its TLS: lengths are bounds, digests are compared, redirects are counted and a
//! token never follows one to another origin.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use sealed_model::{ArrivingFile, ContentDigest};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::broker::{certificates, innermost};
use crate::error::{Result, SealError};
use crate::secret_file::read_secret;

/// The listing of a repository: 4,096 files at under 1 KiB each.
const LISTING_BYTES_MAX: usize = 8 << 20;
/// From the hub to its store of large files is one; renamed repositories are one more.
const REDIRECTS_MAX: usize = 5;
/// Longest silence of a hub.
const SILENCE: Duration = Duration::from_secs(60);

/// `hf:ORG/NAME` or `hf:ORG/NAME@REVISION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repository {
    /// `ORG/NAME`.
    pub(crate) name: String,
    /// A branch, a tag or a commit.
    pub(crate) revision: String,
}

impl FromStr for Repository {
    type Err = String;

    fn from_str(text: &str) -> core::result::Result<Self, String> {
        let refused = || "must be hf:ORG/NAME or hf:ORG/NAME@REVISION".to_owned();
        let rest = text.strip_prefix("hf:").ok_or_else(refused)?;
        let (name, revision) = rest.split_once('@').unwrap_or((rest, "main"));
        let plain = |text: &str| {
            (1..=96).contains(&text.len())
                && !text.starts_with(['.', '-'])
                && !text.contains("..")
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        let (organisation, model) = name.split_once('/').ok_or_else(refused)?;
        if plain(organisation) && plain(model) && plain(revision) {
            Ok(Self {
                name: name.to_owned(),
                revision: revision.to_owned(),
            })
        } else {
            Err(refused())
        }
    }
}

/// The address of a hub: https, or http on loopback.
#[derive(Debug, Clone)]
pub(crate) struct HubUrl(String);

impl FromStr for HubUrl {
    type Err = String;

    fn from_str(text: &str) -> core::result::Result<Self, String> {
        let refused = || "must be https://HOST, or http:// on loopback".to_owned();
        let uri: Uri = text.parse().map_err(|_| refused())?;
        let plain = uri
            .authority()
            .is_some_and(|authority| !authority.as_str().contains('@'));
        if !plain || uri.query().is_some() || !is_protected(&uri) {
            return Err(refused());
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

/// https, or http that stays on this machine.
fn is_protected(uri: &Uri) -> bool {
    match uri.scheme_str() {
        Some("https") => true,
        Some("http") => matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]")),
        _ => false,
    }
}

/// What a repository holds at one commit.
pub(crate) struct Listing {
    /// The commit, which names the content for good.
    pub(crate) commit: String,
    /// All files, with lengths and digests.
    pub(crate) files: Vec<ArrivingFile>,
}

#[derive(Deserialize)]
struct ModelInfo {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

/// A connection to a hub.
pub(crate) struct Hub {
    url: HubUrl,
    token: Option<Zeroizing<String>>,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl Hub {
    /// Reads the token and the certificates; connects when first asked something.
    pub(crate) fn new(url: &HubUrl, token_file: Option<&Path>, ca: Option<&Path>) -> Result<Self> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(SILENCE));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(ca)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let token = token_file.map(read_secret).transpose()?;
        Ok(Self {
            url: url.clone(),
            token,
            client: Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// What is there; one answer, bounded.
    pub(crate) async fn listing(&self, repository: &Repository) -> Result<Listing> {
        let Repository { name, revision } = repository;
        let address = format!("{}/api/models/{name}/revision/{revision}?blobs=true", self.url.0);
        let response = self.get(&address, None).await?;
        let body = Limited::new(response.into_body(), LISTING_BYTES_MAX).collect();
        let body = silence(body)
            .await?
            .map_err(|_| SealError::HubAnswer("a listing over its bound"))?;
        let info: ModelInfo = serde_json::from_slice(&body.to_bytes())
            .map_err(|_| SealError::HubAnswer("not the listing of a model"))?;
        if !is_hex(&info.sha, 20) {
            return Err(SealError::HubAnswer("no commit"));
        }
        Ok(Listing {
            commit: info.sha,
            files: info.siblings.into_iter().map(announced).collect::<Result<_>>()?,
        })
    }

    /// The bytes of a file from `offset` on.
    pub(crate) async fn content(
        &self,
        repository: &Repository,
        commit: &str,
        file: &ArrivingFile,
        offset: u64,
    ) -> Result<Content> {
        let address = format!(
            "{}/{}/resolve/{commit}/{}",
            self.url.0,
            repository.name,
            escaped(&file.name)
        );
        let response = self.get(&address, (offset > 0).then_some(offset)).await?;
        // A server that does not know ranges sends the whole; what is here already is passed over.
        let skip = if response.status() == StatusCode::PARTIAL_CONTENT {
            let range = response.headers().get(header::CONTENT_RANGE);
            let begins = range.and_then(|range| range.to_str().ok()).is_some_and(|range| {
                range.starts_with(&format!("bytes {offset}-")) && range.ends_with(&format!("/{}", file.bytes))
            });
            if !begins {
                return Err(SealError::HubAnswer("another range than asked for"));
            }
            0
        } else {
            offset
        };
        Ok(Content {
            body: response.into_body(),
            skip,
        })
    }

    async fn get(&self, address: &str, offset: Option<u64>) -> Result<Response<hyper::body::Incoming>> {
        let first: Uri = address
            .parse()
            .map_err(|_| SealError::HubAnswer("a name that is no address"))?;
        let mut next = first.clone();
        for _ in 0..=REDIRECTS_MAX {
            let mut request = Request::builder()
                .uri(&next)
                .header(header::USER_AGENT, concat!("adyton/", env!("CARGO_PKG_VERSION")));
            if let Some(offset) = offset {
                request = request.header(header::RANGE, format!("bytes={offset}-"));
            }
            if let Some(token) = &self.token
                && next.authority() == first.authority()
                && next.scheme() == first.scheme()
            {
                let bearer = Zeroizing::new(format!("Bearer {}", token.trim()));
                let mut value = HeaderValue::from_str(&bearer)
                    .map_err(|_| SealError::HubAnswer("the token cannot be a header"))?;
                value.set_sensitive(true);
                request = request.header(header::AUTHORIZATION, value);
            }
            let request = request.body(Empty::new()).expect("the parts are checked");
            let answer = silence(self.client.request(request)).await?;
            let response = answer.map_err(|error| SealError::HubUnreachable(innermost(&error)))?;
            match response.status() {
                status if status.is_redirection() => next = redirected(&next, &response)?,
                StatusCode::OK | StatusCode::PARTIAL_CONTENT => return Ok(response),
                status => return Err(refused(status, &response)),
            }
        }
        Err(SealError::HubAnswer("redirects without an end"))
    }
}

/// The bytes of one answer.
pub(crate) struct Content {
    body: hyper::body::Incoming,
    skip: u64,
}

impl Content {
    /// The next bytes; `None` at the end of the answer, which may come early.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let Some(frame) = silence(self.body.frame()).await? else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| SealError::HubUnreachable(innermost(&error)))?;
            let Ok(mut bytes) = frame.into_data() else {
                continue;
            };
            let passed = self.skip.min(bytes.len() as u64);
            self.skip -= passed;
            let bytes = bytes.split_off(passed as usize);
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }
}

async fn silence<T>(step: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(SILENCE, step)
        .await
        .map_err(|_| SealError::HubUnreachable("it says nothing any more".to_owned()))
}

/// Where an answer points to; never from a protected address to an open one.
fn redirected(from: &Uri, response: &Response<hyper::body::Incoming>) -> Result<Uri> {
    let bad = || SealError::HubAnswer("a redirect to nowhere");
    let location = response.headers().get(header::LOCATION).ok_or_else(bad)?;
    let location = location.to_str().map_err(|_| bad())?;
    let absolute = if location.starts_with('/') && !location.starts_with("//") {
        let authority = from.authority().ok_or_else(bad)?;
        format!("{}://{authority}{location}", from.scheme_str().unwrap_or("https"))
    } else {
        location.to_owned()
    };
    let uri: Uri = absolute.parse().map_err(|_| bad())?;
    let stays_protected = uri.scheme_str() == Some("https") || from.scheme_str() == Some("http");
    if stays_protected && is_protected(&uri) {
        Ok(uri)
    } else {
        Err(SealError::HubAnswer("a redirect to an address without TLS"))
    }
}

/// A refusal, with the hub's own code if it gave one.
fn refused(status: StatusCode, response: &Response<hyper::body::Incoming>) -> SealError {
    let code = response
        .headers()
        .get("x-error-code")
        .and_then(|code| code.to_str().ok());
    match (status, code) {
        (_, Some("GatedRepo")) => SealError::HubRefused("the model's licence must be accepted first"),
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
            SealError::HubRefused("the model is private, or there is none of this name")
        }
        (StatusCode::NOT_FOUND, Some("RevisionNotFound")) => {
            SealError::HubRefused("there is no such revision")
        }
        (StatusCode::NOT_FOUND, _) => SealError::HubRefused("there is no such model or file"),
        (StatusCode::TOO_MANY_REQUESTS, _) => SealError::HubBusy,
        (status, _) if status.is_server_error() => SealError::HubBusy,
        _ => SealError::HubAnswer("a status that means nothing here"),
    }
}

/// Length and digest of one entry. Large files are named by SHA-256, small ones as Git names them.
fn announced(sibling: Sibling) -> Result<ArrivingFile> {
    let bad = || SealError::HubAnswer("a file without length or digest");
    let (bytes, digest) = match (sibling.lfs, sibling.size, sibling.blob_id) {
        (Some(lfs), _, _) => {
            let digest = hex::decode(&lfs.sha256)
                .ok()
                .and_then(|digest| digest.try_into().ok());
            (lfs.size, ContentDigest::Sha256(digest.ok_or_else(bad)?))
        }
        (None, Some(size), Some(blob)) => {
            let digest = hex::decode(&blob).ok().and_then(|digest| digest.try_into().ok());
            (size, ContentDigest::GitBlob(digest.ok_or_else(bad)?))
        }
        _ => return Err(bad()),
    };
    Ok(ArrivingFile {
        name: sibling.rfilename,
        bytes,
        digest,
    })
}

fn is_hex(text: &str, bytes: usize) -> bool {
    hex::decode(text).is_ok_and(|decoded| decoded.len() == bytes)
}

/// A path in an address (RFC 3986, 2.1).
fn escaped(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

fn tls_config(ca: Option<&Path>) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in certificates(path)? {
                roots
                    .add(certificate)
                    .map_err(|error| SealError::Tls(format!("{}: {error}", path.display())))?;
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    Ok(
        ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| SealError::Tls(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_two_plain_words_and_a_revision() {
        let repository: Repository = "hf:HuggingFaceTB/SmolLM2-135M@v1.0".parse().unwrap();
        assert_eq!(
            (repository.name.as_str(), repository.revision.as_str()),
            ("HuggingFaceTB/SmolLM2-135M", "v1.0")
        );
        assert_eq!("hf:a/b".parse::<Repository>().unwrap().revision, "main");
        for bad in [
            "a/b",
            "hf:a",
            "hf:a/b/c",
            "hf:../b",
            "hf:a/..",
            "hf:a/b@",
            "hf:a/b@x/y",
            "hf:a/b?c",
            "hf:a/ b",
            "hf:/b",
            "hf:-a/b",
        ] {
            assert!(bad.parse::<Repository>().is_err(), "{bad}");
        }
    }

    #[test]
    fn hubs_are_asked_over_tls_or_on_this_machine() {
        for good in [
            "https://hub.example",
            "https://hub.example/mirror/",
            "http://127.0.0.1:8000",
            "http://[::1]:1",
        ] {
            assert!(good.parse::<HubUrl>().is_ok(), "{good}");
        }
        for bad in [
            "http://hub.example",
            "hub.example",
            "ftp://hub.example",
            "https://user@hub.example",
            "https://hub.example?a",
            "http://127.0.0.1.example",
        ] {
            assert!(bad.parse::<HubUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_escaped_into_addresses() {
        assert_eq!(escaped("a/b c#d?%é"), "a/b%20c%23d%3F%25%C3%A9");
    }
}
