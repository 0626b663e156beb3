//! TLS 1.3 for the two listeners that leave the machine: no tickets, no resumption, no early data.
//!
//! The release listener requires a client certificate and a proof that the client holds its key, and accepts any
//! self-signed one: who the client is, its evidence says. The admin listener requires a certificate under the admin
//! CA.

use std::{path::Path, sync::Arc};

use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::{
        NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use sha2::{Digest, Sha256};

use wire::media::RELEASE_ALPN;

use crate::error::{BrokerError, Result};

/// SHA-256 of a certificate's SubjectPublicKeyInfo in DER.
pub type SpkiDigest = [u8; 32];

/// A certificate chain and its private key, as rustls takes them.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    spki_sha256: SpkiDigest,
}

impl Identity {
    /// Reads PEM files.
    ///
    /// # Errors
    /// [`BrokerError::Tls`] when either is missing or not PEM; [`BrokerError::KeyExposed`] when others can read the key.
    pub fn load(certificate: &Path, private_key: &Path) -> Result<Self> {
        let unusable = |path: &Path, error: &dyn std::fmt::Display| {
            BrokerError::Tls(format!("{}: {error}", path.display()))
        };
        let chain = certificates(certificate)?;
        crate::key_store::refuse_exposed(private_key)?;
        let key = PrivateKeyDer::from_pem_file(private_key).map_err(|error| unusable(private_key, &error))?;
        let first = chain
            .first()
            .ok_or_else(|| unusable(certificate, &"no certificate"))?;
        let spki_sha256 = spki_sha256(first).map_err(|error| unusable(certificate, &error))?;
        Ok(Self {
            chain,
            key,
            spki_sha256,
        })
    }

    /// SHA-256 of the certificate's SubjectPublicKeyInfo: what enclaves pin.
    pub fn spki_sha256(&self) -> SpkiDigest {
        self.spki_sha256
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path)
        .and_then(|certificates| certificates.collect())
        .map_err(|error| BrokerError::Tls(format!("{}: {error}", path.display())))
}

/// SHA-256 of the SubjectPublicKeyInfo of a certificate.
pub(crate) fn spki_sha256(
    certificate: &CertificateDer<'_>,
) -> std::result::Result<SpkiDigest, rustls::Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    Ok(Sha256::digest(parsed.subject_public_key_info().as_ref()).into())
}

/// The release listener's TLS.
///
/// # Errors
/// [`BrokerError::Tls`] when the key does not belong to the certificate.
pub fn release_config(identity: &Identity) -> Result<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(PossessionVerifier {
        algorithms: provider.signature_verification_algorithms,
    });
    let mut config = config(provider, verifier, identity)?;
    config.alpn_protocols = vec![RELEASE_ALPN.to_vec()];
    Ok(config)
}

/// The admin listener's TLS.
///
/// # Errors
/// [`BrokerError::Tls`] when the CA file has no certificate or the key does not belong to the certificate.
pub fn admin_config(identity: &Identity, client_ca: &Path) -> Result<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates(client_ca)? {
        roots
            .add(certificate)
            .map_err(|error| BrokerError::Tls(format!("{}: {error}", client_ca.display())))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| BrokerError::Tls(format!("{}: {error}", client_ca.display())))?;
    let mut config = config(provider, verifier, identity)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// What both listeners share. The provider prefers X25519MLKEM768 (feature `prefer-post-quantum`).
fn config(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ClientCertVerifier>,
    identity: &Identity,
) -> Result<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|builder| {
            builder
                .with_client_cert_verifier(verifier)
                .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        })
        .map_err(|error| BrokerError::Tls(error.to_string()))?;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(config)
}

/// Accepts any single certificate whose key the client proves to hold.
#[derive(Debug)]
struct PossessionVerifier {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for PossessionVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    /// Takes a certificate that can be read and stands alone. It authenticates nobody: the gate compares its key with
    /// the one that the evidence names.
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> std::result::Result<ClientCertVerified, rustls::Error> {
        if !intermediates.is_empty() {
            return Err(rustls::CertificateError::UnknownIssuer.into());
        }
        ParsedCertificate::try_from(end_entity)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
