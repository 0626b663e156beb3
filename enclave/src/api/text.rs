//! Text of a request, wiped when dropped.
//!
//! The JSON reader keeps a scratch buffer of its own for strings with escapes; that one is freed without being
//! wiped. It lives in the enclave's memory only.

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};
use zeroize::Zeroizing;

/// A string that implements neither Debug, Clone, Display nor Serialize.
pub(crate) struct Text(Zeroizing<String>);

impl Text {
    /// Takes ownership; wiped when dropped.
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text. Do not copy it anywhere that is not wiped.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Several texts as one, a line end between them.
    pub(crate) fn join(parts: Vec<Text>) -> Self {
        let bytes = parts.iter().map(|part| part.0.len() + 1).sum();
        let mut joined = Zeroizing::new(String::with_capacity(bytes)); // never grows, so leaves nothing behind
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                joined.push('\n');
            }
            joined.push_str(&part.0);
        }
        Self(joined)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = Text;
            fn expecting(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                formatter.write_str("a string")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text::new(text.to_owned()))
            }
            fn visit_string<E: Error>(self, text: String) -> Result<Text, E> {
                Ok(Text::new(text))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static_assertions::assert_not_impl_any!(
        Text: core::fmt::Debug, core::fmt::Display, Clone, serde::Serialize
    );

    #[test]
    fn parts_are_joined_by_line_ends() {
        let joined = Text::join(vec![Text::new("a".to_owned()), Text::new("b".to_owned())]);
        assert_eq!(joined.expose(), "a\nb");
        assert_eq!(Text::join(Vec::new()).expose(), "");
    }
}
