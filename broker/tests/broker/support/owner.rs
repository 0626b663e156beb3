//! A model owner at the admin listener.

use std::{net::SocketAddr, sync::Arc};

use attestation::UnixTime;
use base64::{Engine, prelude::BASE64_STANDARD};
use broker::{model_policy, registration::associated_data};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use sealing::{Label, PinnedKey, seal_once};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use wire::{KeyConfig, ids::ModelId};

use super::{MODEL_KEY, TOKEN_ISSUER};

/// PEM texts.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) certificate: String,
    pub(crate) private_key: String,
    pub(crate) ca: String,
}

/// A client of the admin API.
#[derive(Clone)]
pub(crate) struct Owner {
    address: SocketAddr,
    connector: TlsConnector,
}

/// An answer of the admin API.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) json: Value,
}

impl Answer {
    /// The code of a problem document.
    pub(crate) fn code(&self) -> &str {
        self.json["type"]
            .as_str()
            .and_then(|kind| kind.strip_prefix("urn:adyton:problem:"))
            .unwrap_or("none")
    }
}

impl Owner {
    /// With these credentials.
    pub(crate) fn new(address: SocketAddr, credentials: &Credentials) -> Self {
        Self::with(address, Some(credentials), &credentials.ca)
    }

    /// With a certificate or without one, trusting `ca`.
    pub(crate) fn with(address: SocketAddr, credentials: Option<&Credentials>, ca: &str) -> Self {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(ca.as_bytes()).expect("PEM"))
            .expect("a certificate");
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots);
        let config = match credentials {
            None => builder.with_no_client_auth(),
            Some(credentials) => {
                let chain =
                    vec![CertificateDer::from_pem_slice(credentials.certificate.as_bytes()).expect("PEM")];
                let key = PrivateKeyDer::from_pem_slice(credentials.private_key.as_bytes()).expect("PEM");
                builder
                    .with_client_auth_cert(chain, key)
                    .expect("they belong together")
            }
        };
        Self {
            address,
            connector: TlsConnector::from(Arc::new(config)),
        }
    }

    /// One request.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> std::io::Result<Answer> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let bytes = self.raw((head + &body).as_bytes()).await?;
        let text = String::from_utf8(bytes).expect("text");
        let (head, body) = text
            .split_once("\r\n\r\n")
            .ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status");
        Ok(Answer {
            status,
            json: serde_json::from_str(body).unwrap_or(Value::Null),
        })
    }

    /// These bytes over TLS, and what comes back.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        let mut stream = self.connector.connect(name, stream).await?;
        stream.write_all(bytes).await?;
        let mut received = Vec::new();
        match stream.read_to_end(&mut received).await {
            Err(error) if received.is_empty() => Err(error),
            _ => Ok(received),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None).await.expect("an answer")
    }

    pub(crate) async fn post(&self, path: &str) -> Answer {
        self.call("POST", path, None).await.expect("an answer")
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, None).await.expect("an answer")
    }

    /// The body of a registration, its key sealed to the broker.
    pub(crate) async fn registration(&self, id: &str, digest: [u8; 32], version: u64, policy: &str) -> Value {
        let answer = self.get("/v1/registration-key").await;
        let config = BASE64_STANDARD
            .decode(answer.json["key_config"].as_str().expect("text"))
            .expect("base64");
        let config = KeyConfig::decode(&config).expect("a key configuration");
        let key = PinnedKey::from_mutually_authenticated_tls(config).expect("a permitted suite");
        let model_id = ModelId::new(id).expect("well-formed");
        let aad = associated_data(&model_id, &digest, version, &model_policy::digest(policy));
        let now = UnixTime::from_seconds(0); // a pinned key has no age
        let sealed = seal_once(&key, Label::KeyRegistration, &aad, &MODEL_KEY, now).expect("seals");
        json!({
            "manifest_digest": hex::encode(digest),
            "version": version,
            "owner_key": TOKEN_ISSUER,
            "policy": policy,
            "sealed_model_key": BASE64_STANDARD.encode(sealed),
        })
    }

    /// Registers a model.
    pub(crate) async fn register(&self, id: &str, digest: [u8; 32], version: u64, policy: &str) -> Answer {
        let body = self.registration(id, digest, version, policy).await;
        self.call("PUT", &format!("/v1/models/{id}"), Some(&body))
            .await
            .expect("an answer")
    }

    /// What the audit log says, entry by entry: our own part of each.
    pub(crate) async fn log(&self) -> Vec<Value> {
        let own = |text: &Value| {
            let entry: Value = serde_json::from_str(text.as_str().expect("text")).expect("JSON");
            entry["unmapped"]["adyton"].clone()
        };
        let mut log: Vec<Value> = Vec::new();
        loop {
            let answer = self.get(&format!("/v1/audit/entries?from={}", log.len())).await;
            assert_eq!(answer.status, 200, "{:?}", answer.json);
            let entries = answer.json["entries"].as_array().expect("entries");
            if entries.is_empty() {
                return log;
            }
            log.extend(entries.iter().map(own));
        }
    }

    /// How many entries of one kind the log has.
    pub(crate) async fn count(&self, event: &str) -> usize {
        self.log()
            .await
            .iter()
            .filter(|entry| entry["event"] == event)
            .count()
    }
}
