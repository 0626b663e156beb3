//! Certificates and OCSP responses under test keys.

use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p384::ecdsa::signature::hazmat::PrehashSigner as _;
use p384::ecdsa::{DerSignature, Signature, SigningKey};
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384};

use super::der::{bits, element, explicit, integer, octets, oid, sequence, set, time, utf8};
use crate::UnixTime;

pub(super) const NOW: UnixTime = UnixTime::from_seconds(1_790_000_000);
pub(super) const HOUR: u64 = 3600;
const ECDSA_SHA384: &str = "1.2.840.10045.4.3.3";

pub(super) fn before(seconds: u64) -> UnixTime {
    UnixTime::from_seconds(NOW.seconds() - seconds)
}

pub(super) fn after(seconds: u64) -> UnixTime {
    NOW.plus_seconds(seconds)
}

/// A P-384 key from a fixed scalar.
pub(super) fn key(number: u8) -> SigningKey {
    SigningKey::from_slice(&[number; 48]).expect("a scalar below the order")
}

pub(super) fn sign(number: u8, message: &[u8]) -> Signature {
    key(number)
        .sign_prehash(&Sha384::digest(message))
        .expect("a signature")
}

fn sign_der(number: u8, message: &[u8]) -> Vec<u8> {
    DerSignature::from(sign(number, message)).as_bytes().to_vec()
}

fn point(number: u8) -> Vec<u8> {
    key(number)
        .verifying_key()
        .to_sec1_point(false)
        .as_bytes()
        .to_vec()
}

pub(super) fn spki(number: u8) -> Vec<u8> {
    let algorithm = sequence(&[oid("1.2.840.10045.2.1"), oid("1.3.132.0.34")]);
    sequence(&[algorithm, bits(&point(number), 0)])
}

/// What a certificate says; who issued it is the next one in its chain.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    pub(super) name: String,
    /// serialNumber of the subject.
    pub(super) device: Option<String>,
    pub(super) key: u8,
    /// Serial number of the certificate.
    pub(super) serial: u8,
    pub(super) not_before: UnixTime,
    pub(super) not_after: UnixTime,
    /// pathLenConstraint of an authority, where it has one.
    pub(super) authority: Option<Option<u8>>,
    /// KeyUsage, first byte.
    pub(super) usage: u8,
    /// Id, whether it is critical, value.
    pub(super) extensions: Vec<(&'static str, bool, Vec<u8>)>,
}

impl Certificate {
    pub(super) fn authority(name: &str, key: u8) -> Self {
        Self {
            name: name.to_string(),
            device: None,
            key,
            serial: key,
            not_before: before(1000 * HOUR),
            not_after: after(1000 * HOUR),
            authority: Some(None),
            usage: 0x04,
            extensions: Vec::new(),
        }
    }

    pub(super) fn signer(name: &str, key: u8) -> Self {
        Self {
            authority: None,
            usage: 0x80,
            ..Self::authority(name, key)
        }
    }

    fn subject(&self) -> Vec<u8> {
        let attribute = |id, text: &str| set(&[sequence(&[oid(id), utf8(text)])]);
        let mut parts = vec![attribute("2.5.4.3", &self.name)];
        parts.extend(self.device.as_ref().map(|device| attribute("2.5.4.5", device)));
        sequence(&parts)
    }

    /// DER, issued by `issuer`.
    pub(super) fn der(&self, issuer: &Certificate) -> Vec<u8> {
        let mut extensions = Vec::new();
        if let Some(length) = self.authority {
            let mut constraints = vec![element(0x01, &[0xff])];
            constraints.extend(length.map(integer));
            extensions.push(("2.5.29.19", true, sequence(&constraints)));
        }
        extensions.push(("2.5.29.15", true, bits(&[self.usage], 0)));
        extensions.extend(self.extensions.iter().cloned());
        let extensions: Vec<_> = extensions
            .into_iter()
            .map(|(id, critical, value)| {
                let mut parts = vec![oid(id)];
                parts.extend(critical.then(|| element(0x01, &[0xff])));
                parts.push(octets(&value));
                sequence(&parts)
            })
            .collect();
        let algorithm = sequence(&[oid(ECDSA_SHA384)]);
        let tbs = sequence(&[
            explicit(0, &integer(2)),
            integer(self.serial),
            algorithm.clone(),
            issuer.subject(),
            sequence(&[time(self.not_before), time(self.not_after)]),
            self.subject(),
            spki(self.key),
            explicit(3, &sequence(&extensions)),
        ]);
        let signature = sign_der(issuer.key, &tbs);
        sequence(&[tbs, algorithm, bits(&signature, 0)])
    }
}

/// DER of a chain, leaf first; the last is its own issuer.
pub(super) fn chain_der(chain: &[Certificate]) -> Vec<Vec<u8>> {
    let issuers = chain.iter().skip(1).chain(chain.last());
    chain
        .iter()
        .zip(issuers)
        .map(|(certificate, issuer)| certificate.der(issuer))
        .collect()
}

pub(super) fn pem(certificates: &[Vec<u8>]) -> String {
    let encoded = certificates.iter().map(|bytes| {
        alloc::format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            STANDARD.encode(bytes)
        )
    });
    encoded.collect()
}

/// Who signs a response.
#[derive(Clone, Debug)]
pub(super) enum Responder {
    Issuer,
    /// A certificate of the issuer's, or of the certificate's at the second place.
    Delegated(Certificate, Option<Certificate>),
}

/// One OCSP response about one certificate.
#[derive(Clone, Debug)]
pub(super) struct Response {
    pub(super) serial: u8,
    pub(super) issuer: Certificate,
    pub(super) hash: &'static str,
    /// The key whose hash names the issuer, where that is not the issuer's.
    pub(super) named_key: Option<u8>,
    /// Tag and contents of CertStatus.
    pub(super) status: (u8, Vec<u8>),
    pub(super) this_update: UnixTime,
    pub(super) next_update: Option<UnixTime>,
    pub(super) responder: Responder,
    /// Whether the responder is named by its key.
    pub(super) by_key: bool,
    /// Whether the responder is named as somebody else.
    pub(super) misnamed: bool,
    /// Whether there is an extension of the response, of the status, and whether it is critical.
    pub(super) extensions: [Option<bool>; 2],
}

pub(super) const SHA1: &str = "1.3.14.3.2.26";
pub(super) const SHA256: &str = "2.16.840.1.101.3.4.2.1";
pub(super) const SHA384: &str = "2.16.840.1.101.3.4.2.2";

impl Response {
    pub(super) fn good(serial: u8, issuer: &Certificate) -> Self {
        Self {
            serial,
            issuer: issuer.clone(),
            hash: SHA384,
            named_key: None,
            status: (0x80, Vec::new()),
            this_update: before(HOUR),
            next_update: Some(after(HOUR)),
            responder: Responder::Issuer,
            by_key: false,
            misnamed: false,
            extensions: [None; 2],
        }
    }

    pub(super) fn revoked(mut self, reason: Option<u8>) -> Self {
        let mut parts = vec![time(before(2 * HOUR))];
        parts.extend(reason.map(|reason| explicit(0, &element(0x0a, &[reason]))));
        self.status = (0xa1, parts.concat());
        self
    }

    pub(super) fn der(&self) -> Vec<u8> {
        let hashed = |bytes: &[u8]| match self.hash {
            SHA1 => Sha1::digest(bytes).to_vec(),
            SHA256 => Sha256::digest(bytes).to_vec(),
            _ => Sha384::digest(bytes).to_vec(),
        };
        let id = sequence(&[
            sequence(&[oid(self.hash), element(0x05, &[])]),
            octets(&hashed(&self.issuer.subject())),
            octets(&hashed(&point(self.named_key.unwrap_or(self.issuer.key)))),
            integer(self.serial),
        ]);
        let mut single = vec![id, element(self.status.0, &self.status.1), time(self.this_update)];
        single.extend(self.next_update.map(|moment| explicit(0, &time(moment))));
        let extension = |critical: bool| {
            let mut parts = vec![oid("1.2.3.4")];
            parts.extend(critical.then(|| element(0x01, &[0xff])));
            parts.push(octets(&[5, 0]));
            explicit(1, &sequence(&[sequence(&parts)]))
        };
        single.extend(self.extensions[1].map(extension));
        let signer = match &self.responder {
            Responder::Issuer => &self.issuer,
            Responder::Delegated(certificate, _) => certificate,
        };
        let name = if self.by_key {
            explicit(2, &octets(&Sha1::digest(point(signer.key))))
        } else {
            let other = Certificate::signer("somebody else", 1);
            let named = if self.misnamed { &other } else { signer };
            explicit(1, &named.subject())
        };
        let mut data = vec![name, time(self.this_update), sequence(&[sequence(&single)])];
        data.extend(self.extensions[0].map(extension));
        let tbs = sequence(&data);
        let signature = sign_der(signer.key, &tbs);
        let mut basic = vec![tbs, sequence(&[oid(ECDSA_SHA384)]), bits(&signature, 0)];
        if let Responder::Delegated(certificate, issuer) = &self.responder {
            let certificate = certificate.der(issuer.as_ref().unwrap_or(&self.issuer));
            basic.push(explicit(0, &sequence(&[certificate])));
        }
        let bytes = sequence(&[oid("1.3.6.1.5.5.7.48.1.1"), octets(&sequence(&basic))]);
        sequence(&[element(0x0a, &[0]), explicit(0, &bytes)])
    }
}
