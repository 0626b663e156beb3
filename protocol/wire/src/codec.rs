//! Bounded readers for hostile bytes: integers, QUIC variable-length integers, CBOR.

use crate::WireError;

/// Reads fixed-size pieces from the front of a slice. Never panics; never reads past the end.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`; `what` names the structure in errors.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// The next `n` bytes.
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self
            .rest
            .split_at_checked(n)
            .ok_or(WireError::Truncated(self.what))?;
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(WireError::Truncated(self.what))?;
        self.rest = rest;
        Ok(*head)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Result<u8, WireError> {
        self.array::<1>().map(|[b]| b)
    }

    /// The next two bytes, big-endian.
    pub fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_be_bytes)
    }

    /// The next four bytes, big-endian.
    pub fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next variable-length integer (RFC 9000 section 16).
    pub fn varint(&mut self) -> Result<u64, WireError> {
        match read_varint(self.rest) {
            Some((value, used)) => {
                self.bytes(used)?;
                Ok(value)
            }
            None => Err(WireError::Truncated(self.what)),
        }
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Succeeds when everything was read.
    pub fn finish(self) -> Result<(), WireError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(WireError::TrailingBytes(self.what))
        }
    }
}

/// Value and size of the variable-length integer at the front of `bytes` (RFC 9000 section 16); `None` when
/// more bytes are needed. Any encoding is taken, not only the shortest, as RFC 9292 section 3 permits.
pub fn read_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let size = 1usize << (first >> 6);
    let (head, _) = bytes.split_at_checked(size)?;
    let value = head
        .iter()
        .skip(1)
        .fold(u64::from(first & 0x3f), |v, b| (v << 8) | u64::from(*b));
    Some((value, size))
}

/// Largest value of a variable-length integer: 2^62 - 1.
pub const VARINT_MAX: u64 = (1 << 62) - 1;

/// Bytes of the shortest encoding of `value`.
pub fn varint_bytes(value: u64) -> usize {
    match value {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        0x4000..=0x3fff_ffff => 4,
        _ => 8,
    }
}

/// Appends the shortest variable-length encoding of `value`. Values over [`VARINT_MAX`] do not exist in the
/// formats that use this; a length in memory is always below it.
pub fn write_varint(value: u64, out: &mut Vec<u8>) {
    debug_assert!(value <= VARINT_MAX);
    let bytes = value.to_be_bytes();
    let size = varint_bytes(value);
    let start = out.len();
    out.extend(bytes.iter().skip(8 - size));
    if let Some(first) = out.get_mut(start) {
        *first |= match size {
            1 => 0x00,
            2 => 0x40,
            4 => 0x80,
            _ => 0xc0,
        };
    }
}

/// Encodes a message as CBOR. Field order is the order of the keys, integers are shortest: deterministic.
pub fn to_cbor<T: minicbor::Encode<()>>(message: &T) -> Vec<u8> {
    minicbor::to_vec(message).expect("writing to a Vec does not fail")
}

/// Decodes one CBOR message of at most `limit` bytes and refuses anything after it.
pub fn from_cbor<'b, T: minicbor::Decode<'b, ()>>(
    bytes: &'b [u8],
    what: &'static str,
    limit: usize,
) -> Result<T, WireError> {
    if bytes.len() > limit {
        return Err(WireError::TooLarge { what, limit });
    }
    let mut decoder = minicbor::Decoder::new(bytes);
    let message = decoder.decode().map_err(|error| {
        if error.is_end_of_input() {
            WireError::Truncated(what)
        } else {
            WireError::Malformed(what)
        }
    })?;
    if decoder.position() != bytes.len() {
        return Err(WireError::TrailingBytes(what));
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn varint_examples_of_rfc_9000_appendix_a_1() {
        let cases: [(&[u8], u64); 5] = [
            (
                &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c],
                151_288_809_941_952_652,
            ),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ];
        for (bytes, value) in cases {
            assert_eq!(read_varint(bytes), Some((value, bytes.len())));
        }
        assert_eq!(read_varint(&[]), None);
        assert_eq!(read_varint(&[0x40]), None);
    }

    proptest! {
        #[test]
        fn varint_round_trip(value in 0..=VARINT_MAX) {
            let mut out = vec![0xaa];
            write_varint(value, &mut out);
            prop_assert_eq!(out.len() - 1, varint_bytes(value));
            prop_assert_eq!(read_varint(&out[1..]), Some((value, out.len() - 1)));
        }

        #[test]
        fn varint_takes_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let _ = read_varint(&bytes);
        }
    }

    #[test]
    fn cbor_refuses_what_follows() {
        let bytes = to_cbor(&7u8);
        assert_eq!(from_cbor::<u8>(&bytes, "x", 8), Ok(7));
        assert_eq!(
            from_cbor::<u8>(&[7, 7], "x", 8),
            Err(WireError::TrailingBytes("x"))
        );
        assert_eq!(from_cbor::<u8>(&[], "x", 8), Err(WireError::Truncated("x")));
        assert_eq!(from_cbor::<u8>(&[0xff], "x", 8), Err(WireError::Malformed("x")));
        assert_eq!(
            from_cbor::<u8>(&[7; 9], "x", 8),
            Err(WireError::TooLarge { what: "x", limit: 8 })
        );
    }
}
