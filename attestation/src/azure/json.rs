//! JSON (RFC 8259) in which no object has the same name twice: two readers of the same bytes must not
//! find different keys in them.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Members of one object, elements of one array.
const ITEMS_MAX: usize = 64;

/// A value. Numbers are kept only if they are whole: no claim here has another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    Null,
    Boolean(bool),
    Number(i64),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads all of `bytes` as one value.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub(crate) fn object(&self) -> Option<&[(String, Json)]> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// A member of an object.
    pub(crate) fn member(&self, name: &str) -> Option<&Json> {
        let members = self.object()?.iter();
        members
            .clone()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value)
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn boolean(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            _ => None,
        }
    }
}

/// As people read it, on one line.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(text) => f.write_str(text),
            Self::Array(elements) => f.debug_list().entries(elements.iter().map(Shown)).finish(),
            Self::Object(members) => {
                let members = members.iter().map(|(name, value)| (name, Shown(value)));
                f.debug_map().entries(members).finish()
            }
        }
    }
}

/// Shows nested values by their Display.
struct Shown<'a>(&'a Json);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0, f)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without doubled names")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Boolean(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        i64::try_from(value).map(Json::Number).map_err(E::custom)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = access.next_element()? {
            if elements.len() == ITEMS_MAX {
                return Err(A::Error::custom("too many elements"));
            }
            elements.push(element);
        }
        Ok(Json::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut members: Vec<(String, Json)> = Vec::new();
        while let Some((name, value)) = access.next_entry::<String, Json>()? {
            if members.len() == ITEMS_MAX || members.iter().any(|(other, _)| *other == name) {
                return Err(A::Error::custom("a doubled name, or too many"));
            }
            members.push((name, value));
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString as _;

    use super::Json;

    #[test]
    fn doubled_names_are_refused_at_every_depth() {
        assert!(Json::parse(br#"{"a":1,"b":{"a":[{"a":null}]}}"#).is_some());
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"b":{"a":1,"a":2}}"#,
            r#"[{"a":1,"\u0061":2}]"#,
            r#"{"a":1}{"#,
            r#"{"a":1} {}"#,
            r#"{"a":1.5}"#,
            r#"{"a":18446744073709551615}"#,
            "{\"a\":\"\u{1}\"}",
            "",
        ] {
            assert_eq!(Json::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Json::parse(b"\"\xff\""), None);
    }

    #[test]
    fn depth_and_length_have_bounds() {
        assert_eq!(Json::parse("[".repeat(8000).as_bytes()), None);
        let list = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        assert!(Json::parse(list(64).as_bytes()).is_some());
        assert_eq!(Json::parse(list(65).as_bytes()), None);
        let object = |count: usize| {
            let members = (0..count).map(|at| format!("\"{at}\":0"));
            format!("{{{}}}", members.collect::<alloc::vec::Vec<_>>().join(","))
        };
        assert!(Json::parse(object(64).as_bytes()).is_some());
        assert_eq!(Json::parse(object(65).as_bytes()), None);
    }

    #[test]
    fn values_are_shown_on_one_line() {
        let value = Json::parse(br#"{"a":[true,"x"],"b":7}"#).expect("JSON");
        assert_eq!(value.to_string(), r#"{"a": [true, x], "b": 7}"#);
    }
}
