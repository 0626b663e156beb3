//! A root that is trusted because the policy says so, or because it is built in.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::asn1::Asn1Fault;
use super::certificate::Certificate;
use super::key::PublicKey;
use crate::UnixTime;

/// A root certificate, parsed once. Its own signature decides nothing and is not looked at.
#[derive(Clone, Debug)]
pub(crate) struct TrustAnchor {
    pub(crate) subject: Vec<u8>,
    pub(crate) common_name: String,
    pub(crate) key: PublicKey,
    /// Whole DER: where a chain ends in its root, it must be this one.
    pub(crate) certificate: Vec<u8>,
    pub(crate) not_before: UnixTime,
    pub(crate) not_after: UnixTime,
}

impl TrustAnchor {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Asn1Fault> {
        let certificate = Certificate::parse(bytes)?;
        if certificate.issuer != certificate.subject || !certificate.is_authority() {
            return Err(Asn1Fault);
        }
        Ok(Self {
            subject: certificate.subject.to_vec(),
            common_name: certificate.common_name().ok_or(Asn1Fault)?.to_string(),
            key: certificate.public_key()?,
            certificate: bytes.to_vec(),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
        })
    }

    pub(crate) fn is_valid_at(&self, now: UnixTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}
