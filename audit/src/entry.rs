//! One record: canonical JSON, so that what is hashed is what anyone would write again.
//!
//! Canonical means RFC 8785 within the part of JSON that records need: object keys sorted by UTF-16 code units, no
//! white space, minimal escapes, and numbers that are integers within ±(2^53 - 1). Fractions are refused rather than
//! formatted, because two implementations that format one differently would disagree about a hash.

use serde::Serialize;
use serde_json::Value;

use crate::tree::{Hash, leaf_hash};
use crate::{AuditError, Result};

/// The longest entry accepted, in bytes. Records are content-free and small.
pub const ENTRY_BYTES_MAX: usize = 64 * 1024;

/// The largest integer that every JSON implementation reads exactly (RFC 7493 section 2.2).
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// One record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry(Vec<u8>);

impl Entry {
    /// Writes a record canonically.
    pub fn new(record: &impl Serialize) -> Result<Self> {
        let value =
            serde_json::to_value(record).map_err(|_| AuditError::NotCanonical("not expressible as JSON"))?;
        Self::from_value(&value)
    }

    /// Takes bytes that must already be canonical.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(AuditError::NotCanonical("too long"));
        }
        let value: Value = serde_json::from_slice(bytes).map_err(|_| AuditError::NotCanonical("not JSON"))?;
        let entry = Self::from_value(&value)?;
        if entry.0 != bytes {
            return Err(AuditError::NotCanonical("not the canonical form"));
        }
        Ok(entry)
    }

    fn from_value(value: &Value) -> Result<Self> {
        let mut out = Vec::new();
        write_value(value, &mut out)?;
        if out.len() > ENTRY_BYTES_MAX {
            return Err(AuditError::NotCanonical("too long"));
        }
        Ok(Self(out))
    }

    /// The canonical bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The leaf hash of RFC 6962 section 2.1.
    pub fn leaf_hash(&self) -> Hash {
        leaf_hash(&self.0)
    }
}

fn write_value(value: &Value, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => {
            let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            match magnitude {
                Some(magnitude) if magnitude <= INTEGER_MAX => {
                    out.extend_from_slice(number.to_string().as_bytes())
                }
                _ => return Err(AuditError::NotCanonical("a number that is not a safe integer")),
            }
        }
        Value::String(text) => write_string(text, out)?,
        Value::Array(items) => {
            out.push(b'[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write_value(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut keys: Vec<&String> = members.keys().collect();
            keys.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
            out.push(b'{');
            for (position, key) in keys.into_iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write_string(key, out)?;
                out.push(b':');
                write_value(&members[key], out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

/// The escapes of `serde_json` are those of RFC 8785 section 3.2.2.2.
fn write_string(text: &str, out: &mut Vec<u8>) -> Result<()> {
    let quoted =
        serde_json::to_string(text).map_err(|_| AuditError::NotCanonical("not expressible as JSON"))?;
    out.extend_from_slice(quoted.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_sorted_by_utf16_units() {
        // RFC 8785 section 3.2.3: U+1F600 is a surrogate pair and sorts before U+FB33.
        let entry =
            Entry::new(&json!({"\u{fb33}": 1, "\u{1f600}": 2, "b": [true, null, "\u{1}\n\"é"], "a": -3}))
                .unwrap();
        let text = std::str::from_utf8(entry.as_bytes()).unwrap();
        assert_eq!(
            text,
            "{\"a\":-3,\"b\":[true,null,\"\\u0001\\n\\\"é\"],\"\u{1f600}\":2,\"\u{fb33}\":1}"
        );
        assert_eq!(Entry::parse(entry.as_bytes()).unwrap(), entry);
    }

    #[test]
    fn any_other_spelling_is_refused() {
        for text in [
            "{\"b\":1,\"a\":2}",
            "{\"a\": 1}",
            "{\"a\":1,\"a\":1}",
            "{\"a\":\"\\u0041\"}",
            "{\"a\":1}\n",
            "{\"a\":1e2}",
            "{\"a\":-0}",
            "{\"a\":1",
            "",
        ] {
            assert_eq!(
                Entry::parse(text.as_bytes()).unwrap_err().code(),
                "entry-not-canonical",
                "{text:?}"
            );
        }
    }

    #[test]
    fn fractions_and_unsafe_integers_are_refused() {
        assert!(Entry::new(&json!({"a": 1.5})).is_err());
        assert!(Entry::new(&json!({"a": 1u64 << 53})).is_err());
        assert!(Entry::new(&json!({"a": (1u64 << 53) - 1})).is_ok());
        assert!(Entry::new(&json!({"a": -((1i64 << 53) - 1)})).is_ok());
    }

    #[test]
    fn length_is_bounded() {
        assert!(Entry::new(&"a".repeat(ENTRY_BYTES_MAX - 2)).is_ok());
        assert!(Entry::new(&"a".repeat(ENTRY_BYTES_MAX - 1)).is_err());
        assert!(Entry::parse(format!("\"{}\"", "a".repeat(ENTRY_BYTES_MAX - 1)).as_bytes()).is_err());
    }
}
