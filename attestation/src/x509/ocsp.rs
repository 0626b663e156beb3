//! OCSP responses (RFC 6960 section 4.2) that were fetched by somebody else.
//!
//! A status is believed only if the issuer of the certificate signed it, or a responder whose
//! certificate that issuer signed for this purpose. When the response was asked for does not show
//! (there is no request, so no nonce): `thisUpdate` and `nextUpdate` date it, and the policy bounds its
//! age. A responder's own certificate is not asked about in turn: section 4.2.2.2.1 leaves that to the
//! client, and what it could say is bounded by the same age.

use alloc::vec::Vec;

use der::Tag;
use der::asn1::ObjectIdentifier;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384};

use super::asn1::{Asn1Fault, Asn1Reader};
use super::certificate::Certificate;
use super::crl::refuse_critical;
use super::key::SignatureAlgorithm;
use crate::UnixTime;

/// Responses in one document, which is about one device: it and two manifests have nine links.
const RESPONSES_MAX: usize = 32;
const RESPONSE_BYTES_MAX: usize = 16 * 1024;
const STATUSES_MAX: usize = 32;
const CERTIFICATES_MAX: usize = 4;
const SUCCESSFUL: &[u8] = &[0];
/// id-pkix-ocsp-basic.
const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");

/// One response that borrows the received bytes.
#[derive(Debug)]
pub(crate) struct OcspResponse<'a> {
    tbs: &'a [u8],
    algorithm: SignatureAlgorithm,
    signature: &'a [u8],
    responder: ResponderId<'a>,
    statuses: Vec<SingleResponse<'a>>,
    certificates: Vec<&'a [u8]>,
}

/// What a response says of one certificate, from good to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CertStatus {
    /// Not revoked, as far as the responder knows.
    Good,
    /// The responder does not know the certificate.
    Unknown,
    /// Revoked, or on hold: a hold is a revocation that may end (RFC 5280 section 5.3.1).
    Revoked,
}

/// A status whose signature holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) status: CertStatus,
    pub(crate) this_update: UnixTime,
    /// End of the status, or of the responder's certificate if that is earlier.
    pub(crate) until: UnixTime,
}

#[derive(Debug)]
enum ResponderId<'a> {
    Name(&'a [u8]),
    KeyHash(&'a [u8]),
}

#[derive(Debug)]
struct SingleResponse<'a> {
    id: CertId<'a>,
    status: CertStatus,
    this_update: UnixTime,
    next_update: Option<UnixTime>,
}

#[derive(Debug)]
struct CertId<'a> {
    algorithm: ObjectIdentifier,
    issuer_name_hash: &'a [u8],
    issuer_key_hash: &'a [u8],
    serial: &'a [u8],
}

impl<'a> OcspResponse<'a> {
    /// The responses of one document, one after the other.
    pub(crate) fn parse_all(bytes: &'a [u8]) -> Result<Vec<Self>, Asn1Fault> {
        let mut reader = Asn1Reader::new(bytes)?;
        let mut responses = Vec::new();
        while !reader.is_at_end() {
            if responses.len() == RESPONSES_MAX {
                return Err(Asn1Fault);
            }
            responses.push(Self::parse(reader.element()?)?);
        }
        Ok(responses)
    }

    fn parse(bytes: &'a [u8]) -> Result<Self, Asn1Fault> {
        if bytes.len() > RESPONSE_BYTES_MAX {
            return Err(Asn1Fault);
        }
        let mut outer = Asn1Reader::whole_sequence(bytes)?;
        if outer.contents(Tag::Enumerated)? != SUCCESSFUL {
            return Err(Asn1Fault);
        }
        let mut explicit = outer.explicit(0)?.ok_or(Asn1Fault)?;
        outer.end()?;
        let mut response = explicit.sequence()?;
        explicit.end()?;
        if response.object_identifier()? != BASIC {
            return Err(Asn1Fault);
        }
        let basic = response.octets()?;
        response.end()?;

        let mut reader = Asn1Reader::whole_sequence(basic)?;
        let tbs = reader.element()?;
        let algorithm = SignatureAlgorithm::parse(reader.element()?)?;
        let signature = reader.bit_string()?;
        let mut certificates = Vec::new();
        if let Some(mut explicit) = reader.explicit(0)? {
            let mut list = explicit.sequence()?;
            explicit.end()?;
            while !list.is_at_end() {
                if certificates.len() == CERTIFICATES_MAX {
                    return Err(Asn1Fault);
                }
                certificates.push(list.element()?);
            }
        }
        reader.end()?;
        let (responder, statuses) = response_data(tbs)?;
        Ok(Self {
            tbs,
            algorithm,
            signature,
            responder,
            statuses,
            certificates,
        })
    }

    /// What this says of `subject`, if it says anything and `issuer` stands behind it at `now`. Of
    /// several statuses the worst.
    pub(crate) fn answer(
        &self,
        subject: &Certificate<'_>,
        issuer: &Certificate<'_>,
        now: UnixTime,
    ) -> Option<Answer> {
        let same = |single: &&SingleResponse<'_>| {
            single.id.serial == subject.serial && single.id.names_issuer(issuer).unwrap_or(false)
        };
        let single = self
            .statuses
            .iter()
            .filter(same)
            .max_by_key(|single| single.status)?;
        let signer_until = self.signer_until(issuer, now)?;
        Some(Answer {
            status: single.status,
            this_update: single.this_update,
            // Without nextUpdate newer information is always available (section 4.2.2.1), so only
            // the policy's age bounds it.
            until: single.next_update.unwrap_or(UnixTime::MAX).min(signer_until),
        })
    }

    /// Until when the signer may be believed, if its signature holds and `issuer` authorised it.
    fn signer_until(&self, issuer: &Certificate<'_>, now: UnixTime) -> Option<UnixTime> {
        let key = issuer.public_key().ok()?;
        if self.responder.names(issuer) && key.verifies(self.algorithm, self.tbs, self.signature) {
            return Some(issuer.not_after);
        }
        let responder = self
            .certificates
            .iter()
            .filter_map(|bytes| Certificate::parse(bytes).ok())
            .find(|certificate| self.responder.names(certificate))?;
        let authorised = responder.is_ocsp_responder()
            && responder.is_issued_by(issuer.subject, &key)
            && responder.is_valid_at(now);
        let signed = || {
            responder
                .public_key()
                .is_ok_and(|key| key.verifies(self.algorithm, self.tbs, self.signature))
        };
        (authorised && signed()).then_some(responder.not_after)
    }
}

impl ResponderId<'_> {
    fn names(&self, certificate: &Certificate<'_>) -> bool {
        match self {
            ResponderId::Name(name) => *name == certificate.subject,
            // KeyHash is SHA-1 whatever the rest uses (section 4.2.1).
            ResponderId::KeyHash(hash) => certificate
                .key_bits()
                .is_ok_and(|bits| Sha1::digest(bits).as_slice() == *hash),
        }
    }
}

impl CertId<'_> {
    /// SHA-1 and SHA-384 are what NVIDIA's tools ask with. No signature rests on the hash: it says
    /// which issuer is meant, and that issuer's signature is checked.
    fn names_issuer(&self, issuer: &Certificate<'_>) -> Result<bool, Asn1Fault> {
        let (name, key) = (issuer.subject, issuer.key_bits()?);
        let is = |name: &[u8], key: &[u8]| name == self.issuer_name_hash && key == self.issuer_key_hash;
        Ok(match self.algorithm {
            SHA1 => is(&Sha1::digest(name), &Sha1::digest(key)),
            SHA256 => is(&Sha256::digest(name), &Sha256::digest(key)),
            SHA384 => is(&Sha384::digest(name), &Sha384::digest(key)),
            _ => false,
        })
    }
}

/// ResponseData: who answers, and what.
fn response_data(tbs: &[u8]) -> Result<(ResponderId<'_>, Vec<SingleResponse<'_>>), Asn1Fault> {
    let mut reader = Asn1Reader::whole_sequence(tbs)?;
    // The version is v1 by default, and DER leaves defaults out: [0] here would be another version.
    let responder = match reader.context()? {
        (1, true, name) => ResponderId::Name(name),
        (2, true, key) => {
            let mut reader = Asn1Reader::new(key)?;
            let hash = reader.octets()?;
            reader.end()?;
            ResponderId::KeyHash(hash)
        }
        _ => return Err(Asn1Fault),
    };
    reader.time()?;
    let mut list = reader.sequence()?;
    let mut statuses = Vec::new();
    while !list.is_at_end() {
        if statuses.len() == STATUSES_MAX {
            return Err(Asn1Fault);
        }
        statuses.push(single_response(list.sequence()?)?);
    }
    if let Some(mut explicit) = reader.explicit(1)? {
        refuse_critical(explicit.sequence()?)?;
        explicit.end()?;
    }
    reader.end()?;
    Ok((responder, statuses))
}

fn single_response(mut reader: Asn1Reader<'_>) -> Result<SingleResponse<'_>, Asn1Fault> {
    let mut id = reader.sequence()?;
    let mut algorithm = id.sequence()?;
    let hash = algorithm.object_identifier()?;
    if algorithm.next_is(Tag::Null) && !algorithm.contents(Tag::Null)?.is_empty() {
        return Err(Asn1Fault);
    }
    algorithm.end()?;
    let (issuer_name_hash, issuer_key_hash) = (id.octets()?, id.octets()?);
    let serial = id.integer()?;
    id.end()?;
    let status = match reader.context()? {
        (0, false, []) => CertStatus::Good,
        (1, true, _) => CertStatus::Revoked,
        (2, false, []) => CertStatus::Unknown,
        _ => return Err(Asn1Fault),
    };
    let this_update = reader.time()?;
    let next_update = match reader.explicit(0)? {
        Some(mut explicit) => {
            let moment = explicit.time()?;
            explicit.end()?;
            Some(moment)
        }
        None => None,
    };
    if let Some(mut explicit) = reader.explicit(1)? {
        refuse_critical(explicit.sequence()?)?;
        explicit.end()?;
    }
    reader.end()?;
    Ok(SingleResponse {
        id: CertId {
            algorithm: hash,
            issuer_name_hash,
            issuer_key_hash,
            serial,
        },
        status,
        this_update,
        next_update,
    })
}
