//! JSON of a request, wiped when dropped.

use serde_json::Value;
use zeroize::Zeroize;

/// A JSON value whose strings and names are overwritten before they are freed. Neither `Debug` nor `Clone`. What the
/// template engine and the constraint compiler copy from it is theirs, and freed without being overwritten.
pub(crate) struct SecretJson(Value);

impl SecretJson {
    /// Reads JSON of bounded depth (128, the reader's own bound). The reader's message may quote the text, so it is
    /// not passed on.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self)
    }

    /// Takes ownership.
    pub(crate) fn new(value: Value) -> Self {
        Self(value)
    }

    /// The value. Whoever copies it is responsible for the copy.
    pub(crate) fn expose(&self) -> &Value {
        &self.0
    }

    /// The value, to change it in place.
    pub(crate) fn expose_mut(&mut self) -> &mut Value {
        &mut self.0
    }
}

impl Drop for SecretJson {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(map) => {
            for (mut name, mut value) in std::mem::take(map) {
                name.zeroize();
                wipe(&mut value);
            }
        }
        Value::Number(_) | Value::Bool(_) | Value::Null => *value = Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static_assertions::assert_not_impl_any!(SecretJson: std::fmt::Debug, Clone, serde::Serialize);

    #[test]
    fn wiping_leaves_no_text() {
        let mut value = serde_json::json!({"a": ["secret", {"b": 5}], "c": true});
        wipe(&mut value);
        assert_eq!(value, serde_json::json!({}));
        let mut text = serde_json::json!(["secret"]);
        wipe(&mut text);
        assert_eq!(text, serde_json::json!([""]));
    }

    #[test]
    fn depth_is_bounded() {
        assert!(SecretJson::parse(&"[".repeat(100_000)).is_none());
        assert!(SecretJson::parse("{\"a\":1}").is_some());
    }
}
