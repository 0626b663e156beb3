//! X.509 certificates and revocation lists (RFC 5280), as far as AMD and Intel use them.
//!
//! Zero-copy over the received bytes: a signature is checked over the exact TBS bytes. What the two
//! manufacturers do not use (unique identifiers, unknown critical extensions, indirect or partial
//! revocation lists) is refused.

mod anchor;
mod asn1;
mod certificate;
mod crl;
mod key;
mod pem;

pub(crate) use anchor::TrustAnchor;
pub(crate) use asn1::{Asn1Fault, Asn1Reader};
pub(crate) use certificate::Certificate;
pub(crate) use crl::RevocationList;
pub(crate) use key::PublicKey;
pub(crate) use pem::certificates as pem_certificates;

/// Bound of one certificate.
pub(crate) const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;
