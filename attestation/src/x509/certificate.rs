//! One certificate (RFC 5280 section 4.1).

use alloc::vec::Vec;

use der::Tag;
use der::asn1::ObjectIdentifier;

use super::CERTIFICATE_BYTES_MAX;
use super::asn1::{Asn1Fault, Asn1Reader};
use super::key::{PublicKey, SignatureAlgorithm};
use crate::UnixTime;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const SERIAL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.5");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
/// RFC 6960 section 4.2.2.2.
const OCSP_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.9");
const EXTENSIONS_MAX: usize = 32;
/// KeyUsage bits as they stand in the first byte.
const DIGITAL_SIGNATURE: u8 = 0x80;
const KEY_CERT_SIGN: u8 = 0x04;

/// A parsed certificate that borrows the received bytes.
#[derive(Debug)]
pub(crate) struct Certificate<'a> {
    bytes: &'a [u8],
    tbs: &'a [u8],
    signature: &'a [u8],
    algorithm: SignatureAlgorithm,
    /// Contents of the serial number's INTEGER. AMD's leaves have 0.
    pub(crate) serial: &'a [u8],
    /// Whole DER of the issuer's name.
    pub(crate) issuer: &'a [u8],
    /// Whole DER of the subject's name.
    pub(crate) subject: &'a [u8],
    pub(crate) not_before: UnixTime,
    pub(crate) not_after: UnixTime,
    /// Whole DER of the SubjectPublicKeyInfo.
    pub(crate) spki: &'a [u8],
    pub(crate) extensions: Vec<Extension<'a>>,
}

/// One extension.
#[derive(Debug)]
pub(crate) struct Extension<'a> {
    pub(crate) id: ObjectIdentifier,
    critical: bool,
    pub(crate) value: &'a [u8],
}

impl<'a> Certificate<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Asn1Fault> {
        if bytes.len() > CERTIFICATE_BYTES_MAX {
            return Err(Asn1Fault);
        }
        let mut outer = Asn1Reader::whole_sequence(bytes)?;
        let tbs = outer.element()?;
        let outer_algorithm = outer.element()?;
        let signature = outer.bit_string()?;
        outer.end()?;

        let mut reader = Asn1Reader::whole_sequence(tbs)?;
        let mut version = reader.explicit(0)?.ok_or(Asn1Fault)?;
        if version.small_integer()? != 2 {
            return Err(Asn1Fault);
        }
        version.end()?;
        let serial = reader.integer()?;
        let algorithm = reader.element()?;
        if algorithm != outer_algorithm {
            return Err(Asn1Fault);
        }
        let issuer = reader.element()?;
        let mut validity = reader.sequence()?;
        let (not_before, not_after) = (validity.time()?, validity.time()?);
        validity.end()?;
        let subject = reader.element()?;
        let spki = reader.element()?;
        let mut explicit = reader.explicit(3)?.ok_or(Asn1Fault)?;
        let extensions = extensions(explicit.sequence()?)?;
        explicit.end()?;
        reader.end()?;
        Ok(Self {
            bytes,
            tbs,
            signature,
            algorithm: SignatureAlgorithm::parse(algorithm)?,
            serial,
            issuer,
            subject,
            not_before,
            not_after,
            spki,
            extensions,
        })
    }

    pub(crate) fn public_key(&self) -> Result<PublicKey, Asn1Fault> {
        PublicKey::parse(self.spki)
    }

    /// Whether `issuer_name` with `key` issued this.
    pub(crate) fn is_issued_by(&self, issuer_name: &[u8], key: &PublicKey) -> bool {
        self.issuer == issuer_name && key.verifies(self.algorithm, self.tbs, self.signature)
    }

    pub(crate) fn is_valid_at(&self, now: UnixTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// The subject's common name; `None` unless there is exactly one.
    pub(crate) fn common_name(&self) -> Option<&'a str> {
        common_name(self.subject).ok().flatten()
    }

    /// The issuer's common name; `None` unless there is exactly one.
    pub(crate) fn issuer_common_name(&self) -> Option<&'a str> {
        common_name(self.issuer).ok().flatten()
    }

    /// The attribute serialNumber in the subject's name; `None` unless there is exactly one.
    pub(crate) fn subject_serial_number(&self) -> Option<&'a str> {
        attribute(self.subject, SERIAL_NUMBER).ok().flatten()
    }

    /// The value of an extension.
    pub(crate) fn extension(&self, id: ObjectIdentifier) -> Option<&'a [u8]> {
        self.extensions
            .iter()
            .find(|extension| extension.id == id)
            .map(|extension| extension.value)
    }

    /// Whether this may issue: CA with keyCertSign, and no critical extension that we do not know.
    pub(crate) fn is_authority(&self) -> bool {
        self.knows_critical()
            && self.authority().is_ok_and(|authority| authority.is_some())
            && self.key_usage().is_some_and(|bits| bits & KEY_CERT_SIGN != 0)
    }

    /// Whether this is an end entity that may sign, with no critical extension that we do not know.
    pub(crate) fn is_signer(&self) -> bool {
        self.knows_critical()
            && self.authority() == Ok(None)
            && self.key_usage().is_some_and(|bits| bits & DIGITAL_SIGNATURE != 0)
    }

    /// Whether this is an end entity that may sign OCSP responses for its issuer (RFC 6960 section
    /// 4.2.2.2). The purpose is looked at here, so its extension may be critical.
    pub(crate) fn is_ocsp_responder(&self) -> bool {
        let known = [KEY_USAGE, BASIC_CONSTRAINTS, EXTENDED_KEY_USAGE];
        self.knows_critical_among(&known)
            && self.authority() == Ok(None)
            && self.key_usage().is_none_or(|bits| bits & DIGITAL_SIGNATURE != 0)
            && self.has_purpose(OCSP_SIGNING).unwrap_or(false)
    }

    /// Whether every critical extension is one that this crate looks at.
    pub(crate) fn knows_critical(&self) -> bool {
        self.knows_critical_among(&[KEY_USAGE, BASIC_CONSTRAINTS])
    }

    fn knows_critical_among(&self, known: &[ObjectIdentifier]) -> bool {
        self.extensions
            .iter()
            .all(|extension| !extension.critical || known.contains(&extension.id))
    }

    fn has_purpose(&self, purpose: ObjectIdentifier) -> Result<bool, Asn1Fault> {
        let value = self.extension(EXTENDED_KEY_USAGE).ok_or(Asn1Fault)?;
        let mut reader = Asn1Reader::whole_sequence(value)?;
        let mut found = false;
        while !reader.is_at_end() {
            found |= reader.object_identifier()? == purpose;
        }
        Ok(found)
    }

    /// The bits of the public key without their algorithm, as OCSP names a key.
    pub(crate) fn key_bits(&self) -> Result<&'a [u8], Asn1Fault> {
        let mut reader = Asn1Reader::whole_sequence(self.spki)?;
        reader.element()?;
        let bits = reader.bit_string()?;
        reader.end()?;
        Ok(bits)
    }

    /// Whether this may issue with `authorities` further ones below it (pathLenConstraint).
    pub(crate) fn allows_below(&self, authorities: usize) -> bool {
        self.authority().is_ok_and(|authority| {
            authority.is_some_and(|length| length.is_none_or(|length| authorities <= length as usize))
        })
    }

    /// The whole DER.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether these are the same bytes.
    pub(crate) fn is(&self, bytes: &[u8]) -> bool {
        self.bytes == bytes
    }

    /// BasicConstraints: `None` if this is no CA, else the pathLenConstraint that it may have.
    fn authority(&self) -> Result<Option<Option<u32>>, Asn1Fault> {
        let Some(value) = self.extension(BASIC_CONSTRAINTS) else {
            return Ok(None);
        };
        let mut reader = Asn1Reader::whole_sequence(value)?;
        let is_ca = reader.next_is(Tag::Boolean) && reader.boolean()?;
        let length = if reader.next_is(Tag::Integer) {
            Some(reader.small_integer()?)
        } else {
            None
        };
        reader.end()?;
        Ok(is_ca.then_some(length))
    }

    fn key_usage(&self) -> Option<u8> {
        let mut reader = Asn1Reader::new(self.extension(KEY_USAGE)?).ok()?;
        let contents = reader.contents(Tag::BitString).ok()?;
        reader.end().ok()?;
        contents.get(1).copied()
    }
}

fn extensions(mut reader: Asn1Reader<'_>) -> Result<Vec<Extension<'_>>, Asn1Fault> {
    let mut extensions: Vec<Extension<'_>> = Vec::new();
    while !reader.is_at_end() {
        let mut entry = reader.sequence()?;
        let id = entry.object_identifier()?;
        let critical = entry.next_is(Tag::Boolean) && entry.boolean()?;
        let value = entry.octets()?;
        entry.end()?;
        let doubled = extensions.iter().any(|other| other.id == id);
        if doubled || extensions.len() == EXTENSIONS_MAX {
            return Err(Asn1Fault);
        }
        extensions.push(Extension { id, critical, value });
    }
    Ok(extensions)
}

pub(super) fn common_name(name: &[u8]) -> Result<Option<&str>, Asn1Fault> {
    attribute(name, COMMON_NAME)
}

/// The value of an attribute of a name; `None` unless it occurs once.
fn attribute(name: &[u8], id: ObjectIdentifier) -> Result<Option<&str>, Asn1Fault> {
    let mut reader = Asn1Reader::whole_sequence(name)?;
    let mut found = None;
    while !reader.is_at_end() {
        let mut relative = reader.set()?;
        while !relative.is_at_end() {
            let mut attribute = relative.sequence()?;
            if attribute.object_identifier()? != id {
                continue;
            }
            let tag = if attribute.next_is(Tag::Utf8String) {
                Tag::Utf8String
            } else {
                Tag::PrintableString
            };
            let text = core::str::from_utf8(attribute.contents(tag)?).map_err(|_| Asn1Fault)?;
            if found.replace(text).is_some() {
                return Ok(None);
            }
        }
    }
    Ok(found)
}
