//! A broker as strict as the real one about what it is given, and as dishonest about what it gives as a test wants.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use attestation::{Bundle, Nonce, ReleaseBinding, Role, Verifier, release_nonce};
use bytes::BytesMut;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer},
    server::ParsedCertificate,
};
use sealing::{AttestedKey, Label, seal_once};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use wire::{
    ProblemCode,
    ids::ModelId,
    limits,
    media::{RELEASE_ALPN, RELEASE_EXPORTER_LABEL},
    release::{
        Challenge, RELEASE_VERSION, ReleaseAnswer, ReleaseRecord, ReleaseRequest, read_message, write_message,
    },
};

use super::{Deployment, deployment::now};

/// What the broker does with a conversation.
#[derive(Clone)]
pub(crate) enum Behaviour {
    /// Releases.
    Release(Release),
    /// Closes the connection at once.
    Down,
    /// Accepts and says nothing.
    Silent,
    /// Refuses with a code.
    Refuse(ProblemCode),
    /// Has another key than the pinned one.
    OtherKey,
    /// Speaks another protocol.
    OtherProtocol,
    /// Sends garbage in place of the challenge.
    Garbage,
}

/// What is released; every field can be a lie.
#[derive(Clone)]
pub(crate) struct Release {
    pub(crate) model_key: [u8; 32],
    pub(crate) manifest_digest: [u8; 32],
    pub(crate) model_id: &'static str,
    pub(crate) token_issuers: Vec<[u8; 32]>,
    pub(crate) lease_seconds: u32,
    /// The record names another statement than the one appraised.
    pub(crate) other_statement: bool,
    /// The payload is sealed under another record than the one sent.
    pub(crate) other_record: bool,
}

/// The broker's certificate.
pub(crate) struct BrokerKeys {
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
    pub(crate) spki_sha256: [u8; 32],
}

impl BrokerKeys {
    pub(crate) fn generate() -> Self {
        let key = rcgen::KeyPair::generate().expect("randomness");
        let parameters = rcgen::CertificateParams::new(vec!["broker".to_owned()]).expect("a name");
        let certificate: CertificateDer<'static> =
            parameters.self_signed(&key).expect("a certificate").into();
        Self {
            spki_sha256: Sha256::digest(spki(&certificate)).into(),
            certificate,
            key: key.serialize_der().into(),
        }
    }
}

fn spki(certificate: &CertificateDer<'_>) -> SubjectPublicKeyInfoDer<'static> {
    ParsedCertificate::try_from(certificate)
        .expect("a certificate")
        .subject_public_key_info()
}

/// The broker.
pub(crate) struct TestBroker {
    behaviour: Mutex<Behaviour>,
    conversations: AtomicUsize,
    keys: Arc<BrokerKeys>,
    verifier: Verifier,
}

impl TestBroker {
    pub(crate) fn new(deployment: &Deployment, behaviour: Behaviour) -> Self {
        Self {
            behaviour: Mutex::new(behaviour),
            conversations: AtomicUsize::new(0),
            keys: Arc::clone(&deployment.broker_keys),
            verifier: deployment.verifier(),
        }
    }

    pub(crate) fn set(&self, behaviour: Behaviour) {
        *self.behaviour.lock().expect("no panic") = behaviour;
    }

    pub(crate) fn conversations(&self) -> usize {
        self.conversations.load(Relaxed)
    }
}

/// One conversation. The enclave may hang up at any point, which is no fault of the broker.
pub(crate) async fn converse(broker: &TestBroker, socket: UnixStream) {
    broker.conversations.fetch_add(1, Relaxed);
    let behaviour = broker.behaviour.lock().expect("no panic").clone();
    let other = BrokerKeys::generate();
    let (keys, alpn) = match &behaviour {
        Behaviour::Down => return,
        Behaviour::OtherKey => (&other, RELEASE_ALPN),
        Behaviour::OtherProtocol => (&*broker.keys, &b"h2"[..]),
        _ => (&*broker.keys, RELEASE_ALPN),
    };
    let Ok(mut stream) = acceptor(keys, alpn).accept(socket).await else {
        return;
    };
    let nonce = [0x11; 32];
    let first = match &behaviour {
        Behaviour::Silent => return std::future::pending().await,
        Behaviour::Garbage => vec![0xff; 40],
        _ => Challenge {
            version: RELEASE_VERSION,
            nonce,
        }
        .to_cbor(),
    };
    send(&mut stream, &first).await;
    let Some(request) = receive(&mut stream).await else {
        return;
    };
    let request = ReleaseRequest::from_cbor(&request).expect("a well-formed request");
    let bundle = Bundle::decode(&request.bundle).expect("a well-formed bundle");
    let (_, connection) = stream.get_ref();
    assert_eq!(
        connection.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
    let certificate = &connection.peer_certificates().expect("a client certificate")[0];
    let enclave_spki_sha256 = Sha256::digest(spki(certificate)).into();
    let context = [&[Role::Inference.number()][..], &nonce].concat();
    let exported = connection
        .export_keying_material([0; 32], RELEASE_EXPORTER_LABEL.as_bytes(), Some(&context))
        .expect("TLS 1.3 exports");
    let statement = attestation::Statement::parse(&bundle.statement).expect("a well-formed statement");
    let bound = release_nonce(&ReleaseBinding {
        challenge: &Nonce::from_bytes(nonce),
        exported_keying_material: &exported,
        enclave_spki_sha256: &enclave_spki_sha256,
        broker_spki_sha256: &keys.spki_sha256,
        wrap_key: &statement.fields().wrap_key,
    });
    let evidence = broker
        .verifier
        .appraise(&bundle, &bound, now())
        .expect("the evidence is accepted");
    assert_eq!(evidence.statement().tls_spki_sha256, enclave_spki_sha256);
    let answer = match &behaviour {
        Behaviour::Refuse(code) => ReleaseAnswer::Refused {
            code: *code,
            hint: "test".to_owned(),
            retry_after_seconds: None,
        },
        Behaviour::Release(release) => {
            let key = AttestedKey::bind_wrap_key(&evidence).expect("the wrap key is attested");
            release.answer(&key, statement.sha256())
        }
        _ => unreachable!("the others have ended above"),
    };
    send(&mut stream, &answer.to_cbor()).await;
    let _ = stream.shutdown().await;
}

impl Release {
    fn answer(&self, wrap_key: &AttestedKey, statement_sha256: [u8; 32]) -> ReleaseAnswer {
        let record = ReleaseRecord {
            version: RELEASE_VERSION,
            model_id: ModelId::new(self.model_id).expect("an id"),
            manifest_digest: self.manifest_digest,
            statement_sha256: if self.other_statement {
                [0; 32]
            } else {
                statement_sha256
            },
            released_at: now().seconds(),
            audit_index: 0,
            audit_root: [0; 32],
            checkpoint: "test".to_owned(),
            lease_seconds: self.lease_seconds,
            policy_digest: [0; 32],
        };
        let record = record.to_cbor();
        let mut payload = minicbor::Encoder::new(Vec::new());
        payload
            .array(2)
            .expect("space")
            .bytes(&self.model_key)
            .expect("space");
        payload.array(self.token_issuers.len() as u64).expect("space");
        for issuer in &self.token_issuers {
            payload.bytes(issuer).expect("space");
        }
        let aad: &[u8] = if self.other_record { b"other" } else { &record };
        let sealed =
            seal_once(wrap_key, Label::KeyRelease, aad, &payload.into_writer(), now()).expect("it seals");
        ReleaseAnswer::Released { record, sealed }
    }
}

fn acceptor(keys: &BrokerKeys, alpn: &[u8]) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_client_cert_verifier(Arc::new(AnyCertificate(provider)))
        .with_single_cert(
            vec![keys.certificate.clone()],
            PrivateKeyDer::from(keys.key.clone_key()),
        )
        .expect("a certificate and its key");
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![alpn.to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Evidence names the key: any certificate will do, but there must be one.
#[derive(Debug)]
struct AnyCertificate(Arc<rustls::crypto::CryptoProvider>);

impl rustls::server::danger::ClientCertVerifier for AnyCertificate {
    fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::server::danger::ClientCertVerified, rustls::Error> {
        Ok(rustls::server::danger::ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        unreachable!("TLS 1.3 only")
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

async fn send(stream: &mut TlsStream<UnixStream>, message: &[u8]) {
    let mut out = BytesMut::new();
    write_message(message, &mut out).expect("within the bounds");
    let _ = stream.write_all(&out).await;
    let _ = stream.flush().await;
}

async fn receive(stream: &mut TlsStream<UnixStream>) -> Option<BytesMut> {
    let mut received = BytesMut::new();
    loop {
        if let Some(message) =
            read_message(&mut received, limits::RELEASE_MESSAGE_BYTES_MAX).expect("bounded")
        {
            return Some(message);
        }
        if stream.read_buf(&mut received).await.ok()? == 0 {
            return None;
        }
    }
}
