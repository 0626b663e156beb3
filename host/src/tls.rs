//! The relay's TLS: version 1.3 only, no tickets, no early data.

use std::{path::Path, sync::Arc};

use rustls::{ServerConfig, crypto::aws_lc_rs, version::TLS13};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::TlsAcceptor;

use crate::error::HostError;

/// Builds the acceptor from PEM files.
///
/// # Errors
/// [`HostError::Tls`] when a file is missing, not PEM, or the key does not belong to the certificate.
pub fn acceptor(certificate: &Path, private_key: &Path) -> Result<TlsAcceptor, HostError> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| HostError::Tls(format!("{}: {error}", certificate.display())))?;
    let key = PrivateKeyDer::from_pem_file(private_key)
        .map_err(|error| HostError::Tls(format!("{}: {error}", private_key.display())))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| HostError::Tls(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // No resumption: a ticket is state that links one client's connections.
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
