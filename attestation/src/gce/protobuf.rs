//! Reads protocol buffers (encoding of proto3), as much of them as a launch endorsement needs.

use alloc::vec::Vec;

/// Fields of one message; an endorsement of every machine size has under a hundred.
const FIELDS_MAX: usize = 1024;
const VARINT_BYTES_MAX: usize = 10;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Of 32 or 64 bits: no known field has it.
    Fixed,
}

/// The fields of one message in their order.
#[derive(Debug)]
pub(super) struct Message<'a>(Vec<(u64, Value<'a>)>);

impl<'a> Message<'a> {
    /// Takes a whole message apart; `None` if it is malformed or beyond the bound.
    pub(super) fn parse(mut bytes: &'a [u8]) -> Option<Self> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes)?;
            let value = match key & 7 {
                0 => Value::Varint(varint(&mut bytes)?),
                1 => take(&mut bytes, 8).map(|_| Value::Fixed)?,
                2 => {
                    let length = usize::try_from(varint(&mut bytes)?).ok()?;
                    Value::Bytes(take(&mut bytes, length)?)
                }
                5 => take(&mut bytes, 4).map(|_| Value::Fixed)?,
                // Groups (3 and 4) are not part of proto3.
                _ => return None,
            };
            // Field numbers have 29 bits.
            let number = key >> 3;
            if fields.len() == FIELDS_MAX || !(1..1 << 29).contains(&number) {
                return None;
            }
            fields.push((number, value));
        }
        Some(Self(fields))
    }

    /// The one value of a field; `Ok(None)` if it is absent, an error if it is there twice.
    fn one(&self, number: u64) -> Result<Option<Value<'a>>, ()> {
        let mut values = self.all(number);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(()),
        }
    }

    /// Every value of a repeated field.
    pub(super) fn all(&self, number: u64) -> impl Iterator<Item = Value<'a>> {
        self.0
            .iter()
            .filter(move |(other, _)| *other == number)
            .map(|(_, value)| *value)
    }

    /// A field of bytes, which are empty by default; `None` if it is there twice or of another type.
    pub(super) fn bytes(&self, number: u64) -> Option<&'a [u8]> {
        match self.one(number).ok()? {
            None => Some(&[]),
            Some(Value::Bytes(bytes)) => Some(bytes),
            Some(_) => None,
        }
    }

    /// A number, which is 0 by default; `None` if it is there twice or of another type.
    pub(super) fn number(&self, number: u64) -> Option<u64> {
        match self.one(number).ok()? {
            None => Some(0),
            Some(Value::Varint(value)) => Some(value),
            Some(_) => None,
        }
    }

    /// A message within; `Some(None)` if it is absent, `None` if it is there twice, of another type or malformed.
    pub(super) fn message(&self, number: u64) -> Option<Option<Message<'a>>> {
        match self.one(number).ok()? {
            None => Some(None),
            Some(Value::Bytes(bytes)) => Message::parse(bytes).map(Some),
            Some(_) => None,
        }
    }

    /// Whether there is no other field than these.
    pub(super) fn has_only(&self, numbers: &[u64]) -> bool {
        self.0.iter().all(|(number, _)| numbers.contains(number))
    }
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value: u64 = 0;
    for at in 0..VARINT_BYTES_MAX {
        let byte = *take(bytes, 1)?.first()?;
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has one bit left.
        if at + 1 == VARINT_BYTES_MAX && bits > 1 {
            return None;
        }
        value |= bits << (7 * at);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::{FIELDS_MAX, Message, Value};

    #[test]
    fn each_wire_type_is_read_and_groups_are_not() {
        let bytes = [
            0x08, 0x96, 0x01, 0x12, 2, 7, 8, 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8,
        ];
        let message = Message::parse(&bytes).expect("it reads");
        assert_eq!(message.number(1), Some(150));
        assert_eq!(message.bytes(2), Some(&[7, 8][..]));
        assert_eq!(message.all(3).next(), Some(Value::Fixed));
        assert_eq!((message.number(2), message.bytes(1)), (None, None));
        assert_eq!((message.number(9), message.bytes(9)), (Some(0), Some(&[][..])));
        assert!(message.has_only(&[1, 2, 3, 4]) && !message.has_only(&[1, 2, 3]));
        for end in [1, 2, 4, 5, 8, 11, 14, 20] {
            assert!(Message::parse(&bytes[..end]).is_none(), "{end}");
        }
        for malformed in [
            &[0x0b][..],
            &[0x0c],
            &[0x0f, 0],
            &[0x00, 1],
            &[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f],
        ] {
            assert!(Message::parse(malformed).is_none(), "{malformed:?}");
        }
    }

    #[test]
    fn a_number_has_64_bits_and_no_more() {
        let with = |last: u8| [&[0x08][..], &[0xff; 9], &[last]].concat();
        assert_eq!(
            Message::parse(&with(1)).and_then(|message| message.number(1)),
            Some(u64::MAX)
        );
        assert!(Message::parse(&with(2)).is_none());
        assert!(Message::parse(&with(0x81)).is_none());
    }

    #[test]
    fn a_field_that_is_there_twice_has_no_value() {
        let message = Message::parse(&[0x08, 1, 0x08, 1]).expect("it reads");
        assert_eq!((message.number(1), message.bytes(1)), (None, None));
        assert!(message.message(1).is_none());
    }

    #[test]
    fn fields_are_counted() {
        let fields = |count: usize| [0x08, 1].repeat(count);
        assert!(Message::parse(&fields(FIELDS_MAX)).is_some());
        assert!(Message::parse(&fields(FIELDS_MAX + 1)).is_none());
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            if let Some(message) = Message::parse(&bytes) {
                let all: Vec<_> = (0..8).map(|number| (message.number(number), message.message(number))).collect();
                prop_assert_eq!(all.len(), 8);
            }
        }
    }
}
