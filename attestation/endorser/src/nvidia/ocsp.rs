//! The state of certificates, by OCSP (RFC 6960).
//!
//! ```text
//! OCSPRequest  { { { CertID } }, [2] { nonce } }
//! OCSPResponse { status, [0] { id-pkix-ocsp-basic, BasicOCSPResponse } }
//! BasicOCSPResponse { { [0] version, responder, producedAt, { SingleResponse }, [1] extensions }, algorithm, signature, .. }
//! SingleResponse { CertID, good | revoked | unknown, thisUpdate, [0] nextUpdate, [1] extensions }
//! ```
//!
//! Requests name certificates by SHA-384, as NVIDIA's own verifier asks its responder, and carry a fresh
//! nonce (RFC 8954) that the answer must repeat: that is what keeps a recorded answer from being served
//! as new. Whether the state is good, and whether the right responder signed, is the Verifier's question.

use std::collections::BTreeSet;

use attestation::UnixTime;
use sha2::{Digest as _, Sha384};

use crate::asn1::{
    CertificateNames, ENUMERATED, Elements, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, element,
};
use crate::transport::Question;
use crate::{EndorserError, Service, ServiceUrl, Transport};

/// id-sha384, 2.16.840.1.101.3.4.2.2.
const SHA_384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
/// id-pkix-ocsp-basic, 1.3.6.1.5.5.7.48.1.1.
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
/// id-pkix-ocsp-nonce, 1.3.6.1.5.5.7.48.1.2.
const NONCE: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02];
const NULL: u8 = 0x05;
const BOOLEAN: u8 = 0x01;
const NONCE_BYTES: usize = 32;
const CHAIN_MAX: usize = 8;
const RESPONSES_MAX: usize = 64;
const SUCCESSFUL: &[u8] = &[0];

const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// A certificate and its issuer, as a request names them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Link {
    issuer_name_hash: [u8; 48],
    issuer_key_hash: [u8; 48],
    serial: Vec<u8>,
}

impl Link {
    /// Each certificate of a chain, end entity first, but the root, which must be the last.
    pub(crate) fn of_chain(chain: &[Vec<u8>]) -> Option<Vec<Self>> {
        if chain.len() > CHAIN_MAX {
            return None;
        }
        let names: Vec<_> = chain
            .iter()
            .map(|certificate| CertificateNames::read(certificate))
            .collect::<Option<_>>()?;
        let root = names.last()?;
        let linked = names.windows(2).all(|pair| pair[0].issuer == pair[1].subject);
        if !linked || root.issuer != root.subject {
            return None;
        }
        Some(
            names
                .windows(2)
                .map(|pair| Link {
                    issuer_name_hash: Sha384::digest(pair[1].subject).into(),
                    issuer_key_hash: Sha384::digest(pair[1].key).into(),
                    serial: pair[0].serial.to_vec(),
                })
                .collect(),
        )
    }

    /// CertID (RFC 6960 section 4.1.1).
    fn certificate_id(&self) -> Vec<u8> {
        let algorithm = element(
            SEQUENCE,
            &[&element(OBJECT_IDENTIFIER, &[SHA_384]), &element(NULL, &[])],
        );
        element(
            SEQUENCE,
            &[
                &algorithm,
                &element(OCTET_STRING, &[&self.issuer_name_hash]),
                &element(OCTET_STRING, &[&self.issuer_key_hash]),
                &element(INTEGER, &[&self.serial]),
            ],
        )
    }

    /// OCSPRequest for this one certificate.
    fn request(&self, nonce: &[u8; NONCE_BYTES]) -> Vec<u8> {
        let list = element(SEQUENCE, &[&element(SEQUENCE, &[&self.certificate_id()])]);
        let value = element(OCTET_STRING, &[&element(OCTET_STRING, &[nonce])]);
        let extension = element(SEQUENCE, &[&element(OBJECT_IDENTIFIER, &[NONCE]), &value]);
        let extensions = element(context(2), &[&element(SEQUENCE, &[&extension])]);
        element(SEQUENCE, &[&element(SEQUENCE, &[&list, &extensions])])
    }

    fn is_named_by(&self, certificate_id: &CertificateId<'_>) -> bool {
        certificate_id.algorithm == SHA_384
            && certificate_id.issuer_name_hash == self.issuer_name_hash
            && certificate_id.issuer_key_hash == self.issuer_key_hash
            && certificate_id.serial == self.serial
    }
}

/// The responder at a URL.
pub(crate) struct Responder<'a> {
    pub(crate) transport: &'a Transport,
    pub(crate) base: &'a ServiceUrl,
}

impl Responder<'_> {
    /// The responses for `links`, one after the other, each link once.
    pub(crate) async fn states(&self, links: &[Link]) -> Result<Vec<u8>, EndorserError> {
        let mut responses = Vec::new();
        let mut asked = BTreeSet::new();
        for link in links {
            if asked.insert(link) {
                responses.extend(self.state(link).await?);
            }
        }
        Ok(responses)
    }

    async fn state(&self, link: &Link) -> Result<Vec<u8>, EndorserError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce)
            .map_err(|_| EndorserError::Config("the system has no randomness".to_owned()))?;
        let question = Question {
            headers: &[
                ("content-type", "application/ocsp-request"),
                ("accept", "application/ocsp-response"),
            ],
            body: Some(link.request(&nonce)),
            ..Question::get(Service::NvidiaOcsp, self.base.join(""))
        };
        let answer = self.transport.ask(&question).await?.body;
        let response = Response::read(&answer).map_err(|problem| question.wrong(problem))?;
        if response.nonce != Some(&nonce) {
            return Err(question.wrong("a response without the request's nonce"));
        }
        let [single] = &response.singles[..] else {
            return Err(question.wrong("a response about another number of certificates"));
        };
        if !link.is_named_by(&single.certificate_id) {
            return Err(question.wrong("a response about another certificate"));
        }
        if !single.is_good {
            let serial = hex::encode(&link.serial);
            self.transport.tell(&format!(
                "{}: certificate {serial} is not good",
                Service::NvidiaOcsp
            ));
        }
        Ok(answer.to_vec())
    }
}

/// When concatenated responses were made and until when the first of them counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dates {
    /// The earliest thisUpdate.
    pub(crate) issued: UnixTime,
    /// The earliest nextUpdate, if every response has one.
    pub(crate) until: Option<UnixTime>,
}

/// Reads the dates of concatenated responses; `None` if there is none, or they are not responses.
pub(crate) fn dates(responses: &[u8]) -> Option<Dates> {
    let mut rest = Elements::new(responses)?;
    let mut singles = Vec::new();
    while !rest.is_at_end() {
        singles.extend(Response::read(rest.next()?).ok()?.singles);
        if singles.len() > RESPONSES_MAX {
            return None;
        }
    }
    Some(Dates {
        issued: singles.iter().map(|single| single.this_update).min()?,
        until: singles
            .iter()
            .map(|single| single.next_update)
            .collect::<Option<Vec<_>>>()
            .and_then(|moments| moments.into_iter().min()),
    })
}

struct Response<'a> {
    singles: Vec<Single<'a>>,
    nonce: Option<&'a [u8]>,
}

struct Single<'a> {
    certificate_id: CertificateId<'a>,
    is_good: bool,
    this_update: UnixTime,
    next_update: Option<UnixTime>,
}

struct CertificateId<'a> {
    algorithm: &'a [u8],
    issuer_name_hash: &'a [u8],
    issuer_key_hash: &'a [u8],
    serial: &'a [u8],
}

impl<'a> Response<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, &'static str> {
        const MALFORMED: &str = "not an OCSP response";
        let mut outer = Elements::whole(bytes, SEQUENCE).ok_or(MALFORMED)?;
        // RFC 6960 section 4.2.1, OCSPResponseStatus.
        match outer.contents(ENUMERATED).ok_or(MALFORMED)? {
            SUCCESSFUL => {}
            [1] => return Err("the OCSP responder calls the request malformed"),
            [2] => return Err("the OCSP responder has an internal error"),
            [3] => return Err("the OCSP responder asks to try later"),
            [5] => return Err("the OCSP responder wants requests to be signed"),
            [6] => return Err("the OCSP responder does not know these certificates"),
            _ => return Err(MALFORMED),
        }
        Self::basic(outer).ok_or(MALFORMED)
    }

    fn basic(mut outer: Elements<'a>) -> Option<Self> {
        let mut typed = outer.nested(context(0))?.nested(SEQUENCE)?;
        if !outer.is_at_end() || typed.contents(OBJECT_IDENTIFIER)? != BASIC {
            return None;
        }
        let mut data = Elements::whole(typed.contents(OCTET_STRING)?, SEQUENCE)?.nested(SEQUENCE)?;
        if data.next_is(context(0)) {
            data.next()?;
        }
        data.next()?;
        data.time()?;
        let mut list = data.nested(SEQUENCE)?;
        let mut singles = Vec::new();
        while !list.is_at_end() {
            if singles.len() == RESPONSES_MAX {
                return None;
            }
            singles.push(Single::read(list.nested(SEQUENCE)?)?);
        }
        let nonce = match data.is_at_end() {
            true => None,
            false => nonce(data.nested(context(1))?.nested(SEQUENCE)?)?,
        };
        Some(Self { singles, nonce })
    }
}

impl<'a> Single<'a> {
    fn read(mut single: Elements<'a>) -> Option<Self> {
        const GOOD: u8 = 0x80;
        let mut id = single.nested(SEQUENCE)?;
        let certificate_id = CertificateId {
            algorithm: id.nested(SEQUENCE)?.contents(OBJECT_IDENTIFIER)?,
            issuer_name_hash: id.contents(OCTET_STRING)?,
            issuer_key_hash: id.contents(OCTET_STRING)?,
            serial: id.contents(INTEGER)?,
        };
        let is_good = single.next_is(GOOD);
        single.next()?;
        let this_update = single.time()?;
        let next_update = if single.next_is(context(0)) {
            Some(single.nested(context(0))?.time()?)
        } else {
            None
        };
        Some(Self {
            certificate_id,
            is_good,
            this_update,
            next_update,
        })
    }
}

/// The nonce among extensions; the inner `None` if there is none.
fn nonce(mut extensions: Elements<'_>) -> Option<Option<&[u8]>> {
    let mut found = None;
    while !extensions.is_at_end() {
        let mut extension = extensions.nested(SEQUENCE)?;
        let id = extension.contents(OBJECT_IDENTIFIER)?;
        if extension.next_is(BOOLEAN) {
            extension.next()?;
        }
        let value = extension.contents(OCTET_STRING)?;
        if id == NONCE {
            let inner = Elements::new(value)?.contents(OCTET_STRING)?;
            if found.replace(inner).is_some() {
                return None;
            }
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::{Link, Response, dates};

    #[test]
    fn a_request_is_what_rfc_6960_says() {
        let link = Link {
            issuer_name_hash: [1; 48],
            issuer_key_hash: [2; 48],
            serial: vec![0x00, 0x9a],
        };
        let request = link.request(&[3; 32]);
        let id = [
            &[0x30, 0x77, 0x30, 0x0d, 0x06, 0x09][..],
            &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00],
            &[0x04, 0x30],
            &[1; 48],
            &[0x04, 0x30],
            &[2; 48],
            &[0x02, 0x02, 0x00, 0x9a],
        ]
        .concat();
        let nonce = [
            &[0xa2, 0x33, 0x30, 0x31, 0x30, 0x2f, 0x06, 0x09][..],
            &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02],
            &[0x04, 0x22, 0x04, 0x20],
            &[3; 32],
        ]
        .concat();
        let expected = [
            &[0x30, 0x81, 0xb5, 0x30, 0x81, 0xb2, 0x30, 0x7b, 0x30, 0x79][..],
            &id,
            &nonce,
        ]
        .concat();
        assert_eq!(hex::encode(&request), hex::encode(expected));
    }

    #[test]
    fn hostile_responses_give_errors() {
        for bytes in [
            &[][..],
            &[0x30, 0x03, 0x0a, 0x01, 0x00],
            &[0x30, 0x03, 0x0a, 0x01, 0x04],
            &[0x30, 0x05, 0x0a, 0x01, 0x00, 0xa0, 0x00],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert!(Response::read(bytes).is_err());
            assert_eq!(dates(bytes), None);
        }
        for (status, word) in [(1, "malformed"), (3, "later"), (6, "not know")] {
            let problem = Response::read(&[0x30, 0x03, 0x0a, 0x01, status])
                .err()
                .unwrap_or_default();
            assert!(problem.contains(word), "{problem}");
        }
    }
}
