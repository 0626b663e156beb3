//! An enclave's half of the release, written from the protocol's description and with a simulated attester.

use std::{net::SocketAddr, sync::Arc};

use attestation::{Bundle, Nonce, ReleaseBinding, Role, Statement, StatementFields, release_nonce};
use attester::Attester;
use bytes::BytesMut;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
};
use sealing::{KeyPair, Label, Suite, open_once};
use sha2::{Digest, Sha256};
use simulated::Flavor;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use wire::{
    ids::ModelId,
    release::{Challenge, ReleaseAnswer, ReleaseRequest, read_message, write_message},
};

use super::{MANIFEST, MODEL, platform};

/// What an enclave is made of.
pub(crate) struct Enclave {
    pub(crate) flavor: Flavor,
    pub(crate) launch_measurement: [u8; 48],
    pub(crate) config_digest: [u8; 32],
    pub(crate) wrap: KeyPair,
    pub(crate) role: Role,
    pub(crate) model_digests: Vec<[u8; 32]>,
    pub(crate) tls_key: rcgen::KeyPair,
    /// The key that the statement names; differs from the connection's only in tests of that.
    pub(crate) claimed_spki_sha256: [u8; 32],
    pub(crate) spki_sha256: [u8; 32],
}

impl Enclave {
    /// A new enclave, as it stands after boot.
    pub(crate) fn new(flavor: Flavor) -> Self {
        let tls_key = rcgen::KeyPair::generate().expect("a key");
        let spki_sha256 = Sha256::digest(rcgen::PublicKeyData::subject_public_key_info(&tls_key)).into();
        Self {
            flavor,
            launch_measurement: [0xa5; 48],
            config_digest: [0xc0; 32],
            wrap: KeyPair::generate(Suite::XWING_SHA256_AES256, 7).expect("a key"),
            role: Role::Inference,
            model_digests: vec![MANIFEST],
            tls_key,
            claimed_spki_sha256: spki_sha256,
            spki_sha256,
        }
    }

    /// What the enclave says of itself.
    pub(crate) fn statement(&self) -> Statement {
        let config = self.wrap.key_config().encode();
        let size = u16::try_from(config.len()).expect("small");
        StatementFields {
            role: self.role,
            key_configs: [&size.to_be_bytes()[..], &config].concat(),
            receipt_key: [3; 32],
            tls_spki_sha256: self.claimed_spki_sha256,
            wrap_key: config,
            boot_id: [4; 16],
            model_digests: self.model_digests.clone(),
            config_digest: self.config_digest,
            policy_digest: [0; 32],
            key_lifetime_seconds: 3600,
            software_version: "test".to_owned(),
            device_digests: Vec::new(),
        }
        .encode()
        .expect("within bounds")
    }

    /// Evidence over the statement and a nonce.
    pub(crate) fn bundle(&self, nonce: &Nonce) -> Bundle {
        let statement = self.statement();
        let attester = platform().attester(self.flavor, self.launch_measurement, [0; 32]);
        let collected = attester
            .evidence(&statement.report_data(nonce))
            .expect("simulated evidence");
        Bundle {
            platform: self.flavor.platform(),
            evidence: collected.evidence,
            statement: statement.statement_bytes().to_vec(),
            event_log: collected.event_log,
            endorsements: platform().endorsements(self.flavor),
            devices: Vec::new(),
        }
    }

    /// Opens a connection and takes the challenge.
    pub(crate) async fn connect(&self, address: SocketAddr) -> Session {
        self.try_connect(address)
            .await
            .expect("the broker takes the connection")
    }

    pub(crate) async fn try_connect(&self, address: SocketAddr) -> std::io::Result<Session> {
        let mut stream = self.tls(address, &[b"adyton-release/1"], true).await?;
        let mut received = BytesMut::new();
        let challenge = receive(&mut stream, &mut received).await?;
        let challenge = Challenge::from_cbor(&challenge).expect("a challenge");
        Ok(Session::new(stream, received, challenge.nonce))
    }

    /// A bare TLS connection.
    pub(crate) async fn tls(
        &self,
        address: SocketAddr,
        protocols: &[&[u8]],
        with_certificate: bool,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer));
        let mut config = if with_certificate {
            let certificate = rcgen::CertificateParams::default()
                .self_signed(&self.tls_key)
                .expect("signs");
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.tls_key.serialize_der()));
            builder
                .with_client_auth_cert(vec![certificate.der().clone()], key)
                .expect("they belong together")
        } else {
            builder.with_no_client_auth()
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// A whole release.
    pub(crate) async fn ask(&self, address: SocketAddr) -> ReleaseAnswer {
        self.connect(address).await.ask(self).await
    }

    /// Opens what was released: model key and the one token issuer.
    pub(crate) fn open(&self, record: &[u8], sealed: &[u8]) -> ([u8; 32], [[u8; 32]; 1]) {
        let payload =
            open_once(&self.wrap, Label::KeyRelease, record, sealed).expect("sealed to this enclave");
        let mut decoder = minicbor::Decoder::new(&payload);
        assert_eq!(decoder.array().expect("an array"), Some(2));
        let key = decoder.bytes().expect("a key").try_into().expect("32 bytes");
        assert_eq!(decoder.array().expect("an array"), Some(1));
        let issuers = [decoder.bytes().expect("a key").try_into().expect("32 bytes")];
        assert_eq!(decoder.position(), payload.len());
        (key, issuers)
    }
}

/// A connection that was challenged.
pub(crate) struct Session {
    pub(crate) stream: TlsStream<TcpStream>,
    received: BytesMut,
    pub(crate) challenge: [u8; 32],
    pub(crate) exported: [u8; 32],
    pub(crate) broker_spki_sha256: [u8; 32],
}

impl Session {
    fn new(stream: TlsStream<TcpStream>, received: BytesMut, challenge: [u8; 32]) -> Self {
        let connection = stream.get_ref().1;
        let mut context = vec![Role::Inference.number()];
        context.extend(challenge);
        let exported = connection
            .export_keying_material([0; 32], b"EXPORTER-adyton-attestation", Some(&context))
            .expect("after the handshake");
        let certificate = connection.peer_certificates().expect("the broker's")[0].clone();
        let parsed = rustls::server::ParsedCertificate::try_from(&certificate).expect("a certificate");
        let broker_spki_sha256 = Sha256::digest(parsed.subject_public_key_info().as_ref()).into();
        Self {
            stream,
            received,
            challenge,
            exported,
            broker_spki_sha256,
        }
    }

    /// The nonce that evidence for this connection must carry.
    pub(crate) fn nonce(&self, enclave: &Enclave) -> Nonce {
        release_nonce(&ReleaseBinding {
            challenge: &Nonce::from_bytes(self.challenge),
            exported_keying_material: &self.exported,
            enclave_spki_sha256: &enclave.spki_sha256,
            broker_spki_sha256: &self.broker_spki_sha256,
            wrap_key: &enclave.wrap.key_config().encode(),
        })
    }

    /// Sends fresh evidence and takes the answer.
    pub(crate) async fn ask(mut self, enclave: &Enclave) -> ReleaseAnswer {
        let bundle = enclave.bundle(&self.nonce(enclave));
        self.ask_with(MODEL, &bundle).await
    }

    /// Sends this bundle and takes the answer.
    pub(crate) async fn ask_with(&mut self, model_id: &str, bundle: &Bundle) -> ReleaseAnswer {
        let bundle = bundle.encode().expect("within bounds");
        let model_id = ModelId::new(model_id).expect("well-formed");
        self.send(&ReleaseRequest { model_id, bundle }.to_cbor()).await;
        self.answer().await.expect("an answer")
    }

    /// Sends one message.
    pub(crate) async fn send(&mut self, message: &[u8]) {
        let mut out = BytesMut::new();
        write_message(message, &mut out).expect("within bounds");
        // The broker may have closed already; then there is an answer to read, or the test says what it expects.
        let _ = self.stream.write_all(&out).await;
        let _ = self.stream.flush().await;
    }

    /// Takes one answer.
    pub(crate) async fn answer(&mut self) -> std::io::Result<ReleaseAnswer> {
        let message = receive(&mut self.stream, &mut self.received).await?;
        Ok(ReleaseAnswer::from_cbor(&message).expect("an answer"))
    }
}

async fn receive(stream: &mut TlsStream<TcpStream>, received: &mut BytesMut) -> std::io::Result<BytesMut> {
    loop {
        if let Some(message) = read_message(received, 1 << 20).expect("a message") {
            return Ok(message);
        }
        if stream.read_buf(received).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Enclaves pin the broker's key; these tests have only one broker.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
