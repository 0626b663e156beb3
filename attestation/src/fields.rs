//! The fields of a structure, for a person who inspects it and for whoever drafts a policy from it.
//!
//! Nothing here is checked beyond its shape: a field says what the bytes claim.

use alloc::borrow::Cow;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

/// One field, named as its specification names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The specification's name.
    pub name: Cow<'static, str>,
    /// Offset in the structure, where it has a fixed one.
    pub offset: Option<usize>,
    /// What it holds.
    pub value: FieldValue,
    /// What that means, in words; empty where the value says it all.
    pub meaning: String,
}

/// The value of a [`Field`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldValue {
    /// Bytes, shown as hexadecimal digits.
    Bytes(Vec<u8>),
    /// A number, shown as `0x…`.
    Number(u64),
    /// Text or a version, shown as it is.
    Text(String),
}

impl FieldValue {
    /// The bytes, also of a text that consists of hexadecimal digits.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        match self {
            FieldValue::Bytes(bytes) => Some(bytes.clone()),
            FieldValue::Text(text) => hex::decode(text).ok(),
            FieldValue::Number(_) => None,
        }
    }
}

impl fmt::Display for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldValue::Bytes(bytes) if bytes.len() >= 16 && bytes.iter().all(|byte| *byte == 0) => {
                f.write_str("zero")
            }
            FieldValue::Bytes(bytes) => f.write_str(&hex::encode(bytes)),
            FieldValue::Number(number) => write!(f, "{number:#x}"),
            FieldValue::Text(text) => f.write_str(text),
        }
    }
}

/// Collects fields in order.
#[derive(Default)]
pub(crate) struct Fields(Vec<Field>);

impl Fields {
    pub(crate) fn bytes(&mut self, name: &'static str, offset: usize, bytes: &[u8]) -> &mut Self {
        self.push(
            name,
            Some(offset),
            FieldValue::Bytes(bytes.to_vec()),
            String::new(),
        )
    }

    pub(crate) fn number(
        &mut self,
        name: &'static str,
        offset: usize,
        number: u64,
        meaning: impl Into<String>,
    ) -> &mut Self {
        self.push(name, Some(offset), FieldValue::Number(number), meaning.into())
    }

    pub(crate) fn text(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        offset: Option<usize>,
        text: impl fmt::Display,
    ) -> &mut Self {
        self.push(name, offset, FieldValue::Text(text.to_string()), String::new())
    }

    fn push(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        offset: Option<usize>,
        value: FieldValue,
        meaning: String,
    ) -> &mut Self {
        self.0.push(Field {
            name: name.into(),
            offset,
            value,
            meaning,
        });
        self
    }

    pub(crate) fn into_vec(self) -> Vec<Field> {
        self.0
    }
}

/// The names of the bits that are set, and the numbers of those without a name.
pub(crate) fn bits(value: u64, names: &[(u32, &str)]) -> String {
    let mut words: Vec<String> = Vec::new();
    for bit in 0..64 {
        if value >> bit & 1 == 1 {
            let name = names.iter().find(|(of, _)| *of == bit);
            words.push(name.map_or_else(|| alloc::format!("bit {bit}"), |(_, name)| (*name).to_string()));
        }
    }
    words.join(", ")
}
