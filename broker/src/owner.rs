//! Who an admin client is: the role in its certificate, and its key.

use rustls::pki_types::CertificateDer;
use x509_cert::{
    Certificate,
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use crate::tls::{self, SpkiDigest};

/// The subject alternative name (URI) that makes a certificate of the admin CA an owner's.
pub const OWNER_ROLE: &str = "urn:adyton:role:owner";

/// A client whose certificate names the owner's role. The TLS handshake has verified chain, validity and possession.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    pub(crate) spki_sha256: SpkiDigest,
}

impl Owner {
    /// The owner of a verified certificate; `None` for any other role.
    pub(crate) fn of_certificate(certificate: &CertificateDer<'_>) -> Option<Self> {
        let parsed = Certificate::from_der(certificate).ok()?;
        let (_, names) = parsed
            .tbs_certificate()
            .get_extension::<SubjectAltName>()
            .ok()??;
        let is_role = |name: &GeneralName| match name {
            GeneralName::UniformResourceIdentifier(uri) => uri.as_str() == OWNER_ROLE,
            _ => false,
        };
        if !names.0.iter().any(is_role) {
            return None;
        }
        Some(Self {
            spki_sha256: tls::spki_sha256(certificate).ok()?,
        })
    }
}
