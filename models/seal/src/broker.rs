//! The owner's side of the broker's admin API: TLS 1.3 in both directions, no resumption, one trust anchor file.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use sealed_model::{Manifest, ModelKey, OwnerPublicKey, Wrap};
use sealing::{Label, PinnedKey, UnixTime, seal_once};
use serde::Deserialize;
use serde_json::json;
use wire::KeyConfig;
use zeroize::Zeroizing;

use crate::cli::Broker;
use crate::error::{Result, SealError};
use crate::secret_file::{read_public, read_secret};

/// First bytes of the associated data of a registration.
const DOMAIN: &[u8] = b"adyton registration v1";
/// The longest answer: a key configuration or a wrap, in JSON.
const ANSWER_BYTES_MAX: usize = 64 << 10;
const CERTIFICATES_BYTES_MAX: u64 = 1 << 20;

/// What the broker returned.
pub(crate) struct Registered {
    pub(crate) wrap: Wrap,
    pub(crate) audit_index: u64,
}

/// A broker's admin listener.
pub(crate) struct BrokerClient {
    origin: String,
    timeout: Duration,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

#[derive(Deserialize)]
struct RegistrationKeyAnswer {
    key_config: String,
}

#[derive(Deserialize)]
struct RegisterAnswer {
    model_id: String,
    version: u64,
    wrap: Wrap,
    audit_index: u64,
}

#[derive(Deserialize)]
struct Problem {
    r#type: String,
    title: String,
    #[serde(default)]
    hint: String,
}

impl BrokerClient {
    /// Reads certificates and key; connects when first asked something.
    pub(crate) fn connect(arguments: &Broker) -> Result<Self> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(arguments)?)
            .https_only()
            .enable_http1()
            .wrap_connector(http);
        Ok(Self {
            origin: arguments.broker.origin.clone(),
            timeout: Duration::from_secs(arguments.broker_timeout_seconds),
            client: Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// The key to which model keys are sealed; authenticated by the connection it came over.
    pub(crate) async fn registration_key(&self) -> Result<PinnedKey> {
        let answer = self
            .call(Method::GET, "/v1/registration-key", Bytes::new())
            .await?;
        let answer: RegistrationKeyAnswer =
            serde_json::from_slice(&answer).map_err(|_| SealError::Answer("no key configuration"))?;
        let bytes = BASE64
            .decode(answer.key_config)
            .map_err(|_| SealError::Answer("key configuration"))?;
        let config = KeyConfig::decode(&bytes).map_err(|_| SealError::Answer("key configuration"))?;
        PinnedKey::from_mutually_authenticated_tls(config)
            .map_err(|error| SealError::Sealing(error.to_string()))
    }

    /// Registers a model key. The registration key is fetched anew: a broker makes a new one at every start.
    pub(crate) async fn register(
        &self,
        manifest: &Manifest,
        owner_key: &OwnerPublicKey,
        key: &ModelKey,
        policy: &str,
    ) -> Result<Registered> {
        let registration_key = self.registration_key().await?;
        let policy_digest = sealed_model::sha256(policy.as_bytes());
        let aad = associated_data(manifest, &policy_digest);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_secs());
        let plain = Zeroizing::new(*key.expose_bytes());
        let sealed_model_key = seal_once(
            &registration_key,
            Label::KeyRegistration,
            &aad,
            plain.as_slice(),
            UnixTime::from_seconds(now),
        )
        .map_err(|error| SealError::Sealing(error.to_string()))?;
        let body = json!({
            "manifest_digest": hex::encode(manifest.digest()),
            "version": manifest.version(),
            "owner_key": owner_key.to_hex(),
            "policy": policy,
            "sealed_model_key": BASE64.encode(sealed_model_key),
        });
        let path = format!("/v1/models/{}", manifest.model_id());
        let answer = self.call(Method::PUT, &path, body.to_string().into()).await?;
        let answer: RegisterAnswer =
            serde_json::from_slice(&answer).map_err(|_| SealError::Answer("no wrap"))?;
        if answer.model_id != manifest.model_id() || answer.version != manifest.version() {
            return Err(SealError::Answer("it is about another model"));
        }
        Ok(Registered {
            wrap: answer.wrap,
            audit_index: answer.audit_index,
        })
    }

    async fn call(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes> {
        match tokio::time::timeout(self.timeout, self.exchange(method, path, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(SealError::Timeout {
                origin: self.origin.clone(),
            }),
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.origin))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|_| SealError::Answer("the model id does not fit into an address"))?;
        let unreachable = |error: &dyn std::error::Error| SealError::Unreachable {
            origin: self.origin.clone(),
            problem: innermost(error),
        };
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| unreachable(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| unreachable(error.as_ref()))?
            .to_bytes();
        if status.is_success() {
            Ok(body)
        } else {
            Err(refused(status.as_u16(), &body))
        }
    }
}

/// A refusal, with the broker's own code if it gave one (RFC 9457).
fn refused(status: u16, body: &[u8]) -> SealError {
    match serde_json::from_slice::<Problem>(body) {
        Ok(Problem { r#type, title, hint }) => SealError::Refused {
            code: r#type.rsplit(':').next().unwrap_or_default().to_owned(),
            title,
            hint,
            status,
        },
        Err(_) => SealError::Answer("neither success nor a problem document"),
    }
}

/// `"adyton registration v1" ‖ len16(id) ‖ id ‖ manifest digest ‖ version as 64 bits ‖ SHA-256(policy)`: what the broker
/// is asked to do with the key is bound to the key.
fn associated_data(manifest: &Manifest, policy_digest: &[u8; 32]) -> Vec<u8> {
    let id = manifest.model_id().as_bytes();
    let id_bytes = u16::try_from(id.len()).expect("a model id is at most 128 bytes");
    [
        DOMAIN,
        &id_bytes.to_be_bytes(),
        id,
        manifest.digest(),
        &manifest.version().to_be_bytes(),
        policy_digest,
    ]
    .concat()
}

fn tls_config(arguments: &Broker) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&arguments.ca)? {
        roots
            .add(certificate)
            .map_err(|error| SealError::Tls(format!("{}: {error}", arguments.ca.display())))?;
    }
    let chain = certificates(&arguments.cert)?;
    let key = read_secret(&arguments.key)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| SealError::Malformed {
        path: arguments.key.clone(),
        expected: "a private key in PEM",
    })?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|builder| {
            builder
                .with_root_certificates(roots)
                .with_client_auth_cert(chain, key)
        })
        .map_err(|error| SealError::Tls(error.to_string()))?;
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// The certificates of a PEM file, at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let malformed = || SealError::Malformed {
        path: path.to_owned(),
        expected: "a list of certificates in PEM",
    };
    let text = read_public(path, CERTIFICATES_BYTES_MAX)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<core::result::Result<_, _>>()
        .map_err(|_| malformed())?;
    if found.is_empty() {
        Err(malformed())
    } else {
        Ok(found)
    }
}

/// The cause at the bottom, which is the one that tells something.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
