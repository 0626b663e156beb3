//! PCR values in an `Attestation` message of Google's TPM tools (protocol buffer), as captures of vTPM quotes keep it.
//!
//! Read are field 2 (quotes, repeated), in it field 3 (PCRs), and in that field 1 (the bank's TPM_ALG_ID) and field 2
//! (a map from number to value). Everything else is passed over.

use std::collections::BTreeMap;

/// TPM_ALG_SHA256.
const SHA256: u64 = 0x0b;

/// Values of the SHA-256 bank by number; `None` if the bytes are no such message or have no such bank.
pub fn sha256_pcrs(message: &[u8]) -> Option<BTreeMap<u32, Vec<u8>>> {
    for quote in Fields(message).bytes(2)? {
        for pcrs in Fields(quote).bytes(3)? {
            if Fields(pcrs).number(1)? != SHA256 {
                continue;
            }
            let entries = Fields(pcrs).bytes(2)?;
            return entries
                .into_iter()
                .map(|entry| {
                    // Number 0 is the default and left out.
                    let number = u32::try_from(Fields(entry).number(1).unwrap_or(0)).ok()?;
                    Some((number, Fields(entry).bytes(2)?.first()?.to_vec()))
                })
                .collect();
        }
    }
    None
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Every length-delimited value of a field; `None` if the message is malformed.
    fn bytes(self, number: u64) -> Option<Vec<&'a [u8]>> {
        let fields = self.collect::<Option<Vec<_>>>()?;
        let wanted = fields.into_iter().filter(|(field, _)| *field == number);
        wanted
            .map(|(_, value)| match value {
                Value::Bytes(bytes) => Some(bytes),
                Value::Number(_) => None,
            })
            .collect()
    }

    fn number(self, number: u64) -> Option<u64> {
        let fields = self.collect::<Option<Vec<_>>>()?;
        fields.into_iter().find_map(|(field, value)| match value {
            Value::Number(value) if field == number => Some(value),
            _ => None,
        })
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for at in 0..10 {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f).checked_shl(7 * at)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}

/// Ends with `None` inside where the message is malformed.
impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sha256_bank_is_read_and_what_is_cut_is_nothing() {
        // quotes { pcrs { hash: 11, pcrs { 0: [7], 10: [8] } } }
        let message = [
            0x12, 0x12, 0x1a, 0x10, 0x08, 0x0b, 0x12, 0x03, 0x12, 0x01, 0x07, 0x12, 0x05, 0x08, 0x0a, 0x12,
            0x01, 0x08, 0x30, 0x00,
        ];
        let expected = BTreeMap::from([(0, vec![7]), (10, vec![8])]);
        assert_eq!(sha256_pcrs(&message), Some(expected));
        for length in 0..18 {
            assert_eq!(sha256_pcrs(&message[..length]), None, "{length} bytes");
        }
    }
}
