//! The enclave's end of the broker connection: TLS 1.3 only, one pinned key, no resumption, no early data.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::SingleCertAndKey,
    version::TLS13,
};
use tokio::net::UnixStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use wire::media::{RELEASE_ALPN, RELEASE_EXPORTER_LABEL};

use crate::{
    error::{EnclaveError, Result},
    identity::{TlsIdentity, spki_sha256},
};

/// Accepts one key, whatever name, authority and dates surround it.
#[derive(Debug)]
struct PinnedBroker {
    spki_sha256: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedBroker {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> core::result::Result<ServerCertVerified, rustls::Error> {
        if spki_sha256(end_entity) == Some(self.spki_sha256) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> core::result::Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not offered".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> core::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// A connection whose other end proved the pinned key.
pub(super) struct BrokerConnection {
    pub(super) stream: TlsStream<UnixStream>,
    pub(super) broker_spki_sha256: [u8; 32],
}

impl BrokerConnection {
    /// Handshakes over a pipe that the host provides.
    pub(super) async fn open(
        pipe: UnixStream,
        identity: &TlsIdentity,
        broker_spki_sha256: [u8; 32],
    ) -> Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = PinnedBroker {
            spki_sha256: broker_spki_sha256,
            provider: Arc::clone(&provider),
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .expect("the provider has TLS 1.3 suites")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&identity.certified))));
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        config.enable_sni = false;
        config.alpn_protocols = vec![RELEASE_ALPN.to_vec()];
        let name = ServerName::try_from("broker.adyton.invalid").expect("a DNS name");
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, pipe)
            .await
            .map_err(|error| {
                match error
                    .get_ref()
                    .and_then(|inner| inner.downcast_ref::<rustls::Error>())
                {
                    Some(rustls::Error::InvalidCertificate(_)) => {
                        EnclaveError::BrokerUntrusted("another key")
                    }
                    Some(_) => EnclaveError::BrokerUntrusted("the TLS handshake failed"),
                    None => EnclaveError::BrokerUnavailable("the connection was cut"),
                }
            })?;
        if stream.get_ref().1.alpn_protocol() != Some(RELEASE_ALPN) {
            return Err(EnclaveError::BrokerUntrusted(
                "it does not speak the release protocol",
            ));
        }
        Ok(Self {
            stream,
            broker_spki_sha256,
        })
    }

    /// `TLS-Exporter("EXPORTER-adyton-attestation", role || N, 32)` (RFC 8446 section 7.5).
    pub(super) fn exported_keying_material(&self, role: u8, challenge: &[u8; 32]) -> Result<[u8; 32]> {
        let mut context = [role; 33];
        context[1..].copy_from_slice(challenge);
        let (_, connection) = self.stream.get_ref();
        connection
            .export_keying_material([0; 32], RELEASE_EXPORTER_LABEL.as_bytes(), Some(&context))
            .map_err(|_| EnclaveError::BrokerUntrusted("no keying material can be exported"))
    }
}
