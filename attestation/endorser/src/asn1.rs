//! As much DER (X.690) as OCSP needs: a few elements written, a few read.

use attestation::UnixTime;
use der::asn1::{AnyRef, GeneralizedTime};
use der::{Decode as _, Reader as _, SliceReader, Tagged as _};

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// id-at-commonName, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// Writes one element; contents are far below 64 KiB wherever this is used.
pub(crate) fn element(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
    let contents = contents.concat();
    let mut out = vec![tag];
    match u16::try_from(contents.len()) {
        Ok(length @ 0..=0x7f) => out.push(length.to_be_bytes()[1]),
        Ok(length @ 0x80..=0xff) => out.extend([0x81, length.to_be_bytes()[1]]),
        Ok(length) => {
            out.push(0x82);
            out.extend(length.to_be_bytes());
        }
        Err(_) => unreachable!("requests are shorter than 64 KiB"),
    }
    out.extend(contents);
    out
}

/// Reads elements in order; `None` wherever the bytes are not DER of the expected shape.
pub(crate) struct Elements<'a>(SliceReader<'a>);

impl<'a> Elements<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Self> {
        SliceReader::new(bytes).ok().map(Self)
    }

    /// The contents of all of `bytes`, which is one element with `tag`.
    pub(crate) fn whole(bytes: &'a [u8], tag: u8) -> Option<Self> {
        let mut outer = Self::new(bytes)?;
        let inner = outer.nested(tag)?;
        outer.is_at_end().then_some(inner)
    }

    /// The next element, header included.
    pub(crate) fn next(&mut self) -> Option<&'a [u8]> {
        self.0.tlv_bytes().ok()
    }

    /// The contents of the next element, which must carry `tag`.
    pub(crate) fn contents(&mut self, tag: u8) -> Option<&'a [u8]> {
        if !self.next_is(tag) {
            return None;
        }
        AnyRef::decode(&mut self.0).ok().map(|any| any.value())
    }

    /// The elements inside the next element, which must carry `tag`.
    pub(crate) fn nested(&mut self, tag: u8) -> Option<Elements<'a>> {
        Self::new(self.contents(tag)?)
    }

    pub(crate) fn next_is(&self, tag: u8) -> bool {
        self.0.peek_byte() == Some(tag)
    }

    pub(crate) fn time(&mut self) -> Option<UnixTime> {
        let time = GeneralizedTime::decode(&mut self.0).ok()?;
        Some(UnixTime::from_seconds(time.to_unix_duration().as_secs()))
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.0.is_finished()
    }
}

/// What OCSP says of a certificate with (RFC 6960 section 4.1.1).
pub(crate) struct CertificateNames<'a> {
    /// Contents of the serial number's INTEGER.
    pub(crate) serial: &'a [u8],
    /// Whole DER.
    pub(crate) issuer: &'a [u8],
    /// Whole DER.
    pub(crate) subject: &'a [u8],
    /// Contents of the BIT STRING subjectPublicKey, without the number of unused bits.
    pub(crate) key: &'a [u8],
}

impl<'a> CertificateNames<'a> {
    /// Reads a certificate of version 3 (RFC 5280 section 4.1).
    pub(crate) fn read(certificate: &'a [u8]) -> Option<Self> {
        const VERSION: u8 = 0xa0;
        const BIT_STRING: u8 = 0x03;
        let mut tbs = Elements::whole(certificate, SEQUENCE)?.nested(SEQUENCE)?;
        tbs.contents(VERSION)?;
        let serial = tbs.contents(INTEGER)?;
        tbs.nested(SEQUENCE)?;
        let issuer = tbs.next()?;
        tbs.nested(SEQUENCE)?;
        let subject = tbs.next()?;
        let mut key = tbs.nested(SEQUENCE)?;
        key.nested(SEQUENCE)?;
        let key = key.contents(BIT_STRING)?.strip_prefix(&[0])?;
        Some(Self {
            serial,
            issuer,
            subject,
            key,
        })
    }

    /// The subject's common name; `None` unless there is exactly one.
    pub(crate) fn common_name(&self) -> Option<&'a str> {
        let mut name = Elements::whole(self.subject, SEQUENCE)?;
        let mut found = None;
        while !name.is_at_end() {
            let mut attribute = name.nested(SET)?.nested(SEQUENCE)?;
            if attribute.contents(OBJECT_IDENTIFIER)? != COMMON_NAME {
                continue;
            }
            let value = AnyRef::from_der(attribute.next()?).ok()?;
            let text = matches!(value.tag(), der::Tag::Utf8String | der::Tag::PrintableString)
                .then(|| std::str::from_utf8(value.value()).ok())??;
            if found.replace(text).is_some() {
                return None;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::{Elements, OCTET_STRING, SEQUENCE, element};

    #[test]
    fn lengths_take_their_shortest_form() {
        for (length, header) in [
            (0usize, &[4, 0][..]),
            (127, &[4, 127]),
            (128, &[4, 0x81, 128]),
            (255, &[4, 0x81, 255]),
            (256, &[4, 0x82, 1, 0]),
        ] {
            let contents = vec![7; length];
            let written = element(OCTET_STRING, &[&contents]);
            assert_eq!(&written[..header.len()], header);
            let mut read = Elements::new(&written).expect("DER");
            assert_eq!(read.contents(OCTET_STRING), Some(&contents[..]));
            assert!(read.is_at_end());
        }
    }

    #[test]
    fn hostile_bytes_give_nothing() {
        for bytes in [
            &[][..],
            &[0x30],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x30, 1],
            &[0x30, 0, 0],
        ] {
            assert!(Elements::whole(bytes, SEQUENCE).is_none(), "{bytes:?}");
        }
    }
}
