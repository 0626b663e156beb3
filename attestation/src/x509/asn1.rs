//! A reader of DER (X.690) that hands out slices of the input.

use der::asn1::{AnyRef, BitStringRef, GeneralizedTime, ObjectIdentifier, UtcTime};
use der::{Decode, Reader, SliceReader, Tag, Tagged};

use crate::UnixTime;

/// Not DER of the expected shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asn1Fault;

impl From<der::Error> for Asn1Fault {
    fn from(_: der::Error) -> Self {
        Asn1Fault
    }
}

/// Reads the elements of one constructed value in order.
pub(crate) struct Asn1Reader<'a>(SliceReader<'a>);

impl<'a> Asn1Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, Asn1Fault> {
        Ok(Self(SliceReader::new(bytes)?))
    }

    /// Reads all of `bytes` as one SEQUENCE.
    pub(crate) fn whole_sequence(bytes: &'a [u8]) -> Result<Self, Asn1Fault> {
        let mut reader = Self::new(bytes)?;
        let inner = reader.sequence()?;
        reader.end()?;
        Ok(inner)
    }

    /// The next element, header included.
    pub(crate) fn element(&mut self) -> Result<&'a [u8], Asn1Fault> {
        Ok(self.0.tlv_bytes()?)
    }

    /// The contents of the next element, which must carry `tag`.
    pub(crate) fn contents(&mut self, tag: Tag) -> Result<&'a [u8], Asn1Fault> {
        let any = AnyRef::decode(&mut self.0)?;
        if any.tag() == tag {
            Ok(any.value())
        } else {
            Err(Asn1Fault)
        }
    }

    pub(crate) fn sequence(&mut self) -> Result<Asn1Reader<'a>, Asn1Fault> {
        Self::new(self.contents(Tag::Sequence)?)
    }

    pub(crate) fn set(&mut self) -> Result<Asn1Reader<'a>, Asn1Fault> {
        Self::new(self.contents(Tag::Set)?)
    }

    /// The contents of `[number]` constructed, if it comes next.
    pub(crate) fn explicit(&mut self, number: u8) -> Result<Option<Asn1Reader<'a>>, Asn1Fault> {
        // X.690 section 8.1.2: class context-specific, constructed.
        if self.0.peek_byte() != Some(0xa0 | number) {
            return Ok(None);
        }
        let any = AnyRef::decode(&mut self.0)?;
        Ok(Some(Self::new(any.value())?))
    }

    /// The next element of class context-specific: its number, whether it is constructed, its contents.
    pub(crate) fn context(&mut self) -> Result<(u32, bool, &'a [u8]), Asn1Fault> {
        let any = AnyRef::decode(&mut self.0)?;
        match any.tag() {
            Tag::ContextSpecific { constructed, number } => Ok((number.value(), constructed, any.value())),
            _ => Err(Asn1Fault),
        }
    }

    /// Whether an element with this tag comes next.
    pub(crate) fn next_is(&self, tag: Tag) -> bool {
        Tag::peek(&self.0).is_ok_and(|next| next == tag)
    }

    /// The contents of an INTEGER; DER's shortest form is enforced.
    pub(crate) fn integer(&mut self) -> Result<&'a [u8], Asn1Fault> {
        let contents = self.contents(Tag::Integer)?;
        match contents {
            [] => Err(Asn1Fault),
            [0x00, next, ..] if *next < 0x80 => Err(Asn1Fault),
            [0xff, next, ..] if *next >= 0x80 => Err(Asn1Fault),
            _ => Ok(contents),
        }
    }

    /// A non-negative INTEGER below 2^32.
    pub(crate) fn small_integer(&mut self) -> Result<u32, Asn1Fault> {
        let contents = self.integer()?;
        if contents[0] >= 0x80 || contents.len() > 5 {
            return Err(Asn1Fault);
        }
        let value = contents
            .iter()
            .fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        u32::try_from(value).map_err(|_| Asn1Fault)
    }

    pub(crate) fn boolean(&mut self) -> Result<bool, Asn1Fault> {
        match self.contents(Tag::Boolean)? {
            [0x00] => Ok(false),
            [0xff] => Ok(true),
            _ => Err(Asn1Fault),
        }
    }

    pub(crate) fn octets(&mut self) -> Result<&'a [u8], Asn1Fault> {
        self.contents(Tag::OctetString)
    }

    /// A BIT STRING of whole bytes.
    pub(crate) fn bit_string(&mut self) -> Result<&'a [u8], Asn1Fault> {
        BitStringRef::decode(&mut self.0)?.as_bytes().ok_or(Asn1Fault)
    }

    pub(crate) fn object_identifier(&mut self) -> Result<ObjectIdentifier, Asn1Fault> {
        Ok(ObjectIdentifier::decode(&mut self.0)?)
    }

    /// UTCTime or GeneralizedTime (RFC 5280 section 4.1.2.5).
    pub(crate) fn time(&mut self) -> Result<UnixTime, Asn1Fault> {
        let since_epoch = if self.next_is(Tag::UtcTime) {
            UtcTime::decode(&mut self.0)?.to_unix_duration()
        } else {
            GeneralizedTime::decode(&mut self.0)?.to_unix_duration()
        };
        Ok(UnixTime::from_seconds(since_epoch.as_secs()))
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.0.is_finished()
    }

    /// Requires that nothing is left.
    pub(crate) fn end(self) -> Result<(), Asn1Fault> {
        if self.0.is_finished() {
            Ok(())
        } else {
            Err(Asn1Fault)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Asn1Fault, Asn1Reader};

    #[test]
    fn integers_have_their_shortest_form() {
        let integer = |bytes: &'static [u8]| Asn1Reader::new(bytes).and_then(|mut reader| reader.integer());
        for contents in [
            &[0x02, 1, 0][..],
            &[0x02, 1, 0x80],
            &[0x02, 2, 0, 0x80],
            &[0x02, 2, 0xff, 0x7f],
        ] {
            assert_eq!(integer(contents), Ok(&contents[2..]));
        }
        for contents in [
            &[0x02, 0][..],
            &[0x02, 2, 0, 0],
            &[0x02, 2, 0, 0x7f],
            &[0x02, 2, 0xff, 0x80],
            &[0x02, 2, 0xff, 0xff],
            &[0x04, 1, 0],
        ] {
            assert_eq!(integer(contents), Err(Asn1Fault), "{contents:?}");
        }
    }

    #[test]
    fn small_integers_are_not_negative_and_below_2_to_the_32() {
        let small =
            |bytes: &'static [u8]| Asn1Reader::new(bytes).and_then(|mut reader| reader.small_integer());
        for (bytes, value) in [
            (&[0x02, 1, 0][..], 0),
            (&[0x02, 1, 0x7f], 0x7f),
            (&[0x02, 2, 0, 0x80], 0x80),
            (&[0x02, 2, 1, 2], 0x102),
            (&[0x02, 5, 0, 0xff, 0xff, 0xff, 0xff], u32::MAX),
        ] {
            assert_eq!(small(bytes), Ok(value));
        }
        for bytes in [
            &[0x02, 1, 0x80][..],
            &[0x02, 1, 0xff],
            &[0x02, 5, 1, 0, 0, 0, 0],
            &[0x02, 6, 1, 0, 0, 0, 0, 0],
            // Eight bits too many to notice by the value alone.
            &[0x02, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(small(bytes), Err(Asn1Fault), "{bytes:?}");
        }
    }

    #[test]
    fn booleans_are_0_or_all_ones() {
        let boolean = |byte: u8| {
            let bytes = [0x01, 1, byte];
            Asn1Reader::new(&bytes).and_then(|mut reader| reader.boolean())
        };
        assert_eq!((boolean(0), boolean(0xff)), (Ok(false), Ok(true)));
        for byte in 1..0xff {
            assert_eq!(boolean(byte), Err(Asn1Fault), "{byte}");
        }
    }
}
