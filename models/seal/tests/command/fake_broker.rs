//! A broker's admin listener that answers as told.

use std::convert::Infallible;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

/// What the broker does with a registration.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mood {
    Accepts,
    Refuses,
    Breaks,
    Babbles,
    Hangs,
}

/// A running broker and what it was sent.
pub(crate) struct FakeBroker {
    pub(crate) origin: String,
    pub(crate) registration_key: Arc<sealing::KeyPair>,
    pub(crate) registered: Arc<Mutex<Vec<(String, Value)>>>,
}

impl FakeBroker {
    /// Starts a broker; its CA and an owner's certificate go to `ca.pem`, `owner.pem` and `owner-tls.key` in `folder`.
    pub(crate) fn start(folder: &Path, mood: Mood) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(pki(folder)));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let origin = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let registration_key =
            Arc::new(sealing::KeyPair::generate(sealing::Suite::XWING_SHA256_AES256, 1).unwrap());
        let registered = Arc::new(Mutex::new(Vec::new()));
        let (key, log) = (registration_key.clone(), registered.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (acceptor, key, log) = (acceptor.clone(), key.clone(), log.clone());
                    tokio::spawn(async move {
                        let Ok(stream) = acceptor.accept(stream).await else {
                            return;
                        };
                        let service =
                            service_fn(move |request| answer(request, key.clone(), log.clone(), mood));
                        let connection = hyper::server::conn::http1::Builder::new();
                        let _ = connection.serve_connection(TokioIo::new(stream), service).await;
                    });
                }
            });
        });
        Self {
            origin,
            registration_key,
            registered,
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    key: Arc<sealing::KeyPair>,
    log: Arc<Mutex<Vec<(String, Value)>>>,
    mood: Mood,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let (status, document) = if request.method() == Method::GET && path == "/v1/registration-key" {
        (
            200,
            json!({ "key_config": BASE64.encode(key.key_config().encode()) }),
        )
    } else {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let version = body["version"].clone();
        log.lock().unwrap().push((path, body));
        let wrap = json!({ "kek_id": "tenant", "version": 4, "algorithm": "AES-256-GCM", "wrapped": "AAAA" });
        let problem = |code: &str| json!({ "type": format!("urn:adyton:problem:{code}"), "title": "no", "status": 409, "hint": "a hint" });
        match mood {
            Mood::Accepts => (
                200,
                json!({ "model_id": "sample", "version": version, "wrap": wrap, "audit_index": 9 }),
            ),
            Mood::Refuses => (409, problem("rolled-back")),
            Mood::Breaks => (503, problem("audit-unavailable")),
            Mood::Babbles => (
                200,
                json!({ "model_id": "other", "version": version, "wrap": wrap, "audit_index": 9 }),
            ),
            Mood::Hangs => std::future::pending().await,
        }
    };
    let body = Full::new(Bytes::from(document.to_string()));
    Ok(Response::builder().status(status).body(body).unwrap())
}

fn pki(folder: &Path) -> ServerConfig {
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(params, ca_key);
    let issue = |names: Vec<String>, usage| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![usage];
        (params.signed_by(&key, &issuer).unwrap(), key)
    };
    let (server, server_key) = issue(vec!["127.0.0.1".into()], ExtendedKeyUsagePurpose::ServerAuth);
    let (owner, owner_key) = issue(vec!["owner".into()], ExtendedKeyUsagePurpose::ClientAuth);
    std::fs::write(folder.join("ca.pem"), ca.pem()).unwrap();
    std::fs::write(folder.join("owner.pem"), owner.pem()).unwrap();
    crate::registration::write_private(&folder.join("owner-tls.key"), &owner_key.serialize_pem());

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .unwrap();
    let key = PrivateKeyDer::try_from(server_key.serialize_der()).unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![CertificateDer::from(server.der().to_vec())], key)
        .unwrap()
}
