//! Reference values, as a part of a policy and as JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // a String takes everything
        text
    })
}

/// A table of a policy: keys with lists of accepted values, and what was not predicted.
#[derive(Debug, Default)]
pub struct References {
    table: String,
    comments: Vec<String>,
    words: Vec<(String, String)>,
    values: Vec<(String, Vec<String>)>,
    unknown: Vec<(String, String)>,
    details: Map<String, Value>,
}

impl References {
    /// An empty table called `table`.
    pub fn new(table: &str) -> Self {
        Self {
            table: table.to_owned(),
            ..Self::default()
        }
    }

    /// A line above the table: what was measured.
    pub fn comment(&mut self, line: impl Into<String>) {
        self.comments.push(line.into());
    }

    /// A key that is a word instead of values.
    pub fn word(&mut self, key: &str, word: &str) {
        self.words.push((key.to_owned(), word.to_owned()));
    }

    /// An accepted value of a key; more of the same key are alternatives.
    pub fn accept(&mut self, key: &str, value: &[u8]) {
        let value = hex(value);
        match self.values.iter_mut().find(|(known, _)| known == key) {
            Some((_, values)) if values.contains(&value) => {}
            Some((_, values)) => values.push(value),
            None => self.values.push((key.to_owned(), vec![value])),
        }
    }

    /// A key that these inputs do not determine.
    pub fn not_predicted(&mut self, key: &str, needs: &str) {
        self.unknown.push((key.to_owned(), needs.to_owned()));
    }

    /// Something that JSON alone shows.
    pub fn detail(&mut self, key: &str, value: impl Into<Value>) {
        self.details.insert(key.to_owned(), value.into());
    }

    /// As TOML that is pasted into a policy. Keys that are not predicted stand as comments, so that a policy with such
    /// a part is refused until somebody decides.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for line in &self.comments {
            text.push_str(&format!("# {line}\n"));
        }
        text.push_str(&format!("[{}]\n", self.table));
        for (key, word) in &self.words {
            text.push_str(&format!("{key} = \"{word}\"\n"));
        }
        for (key, values) in &self.values {
            let values: Vec<_> = values.iter().map(|value| format!("    \"{value}\",\n")).collect();
            text.push_str(&format!("{key} = [\n{}]\n", values.concat()));
        }
        for (key, needs) in &self.unknown {
            text.push_str(&format!("# {key}: not predicted, needs {needs}\n"));
        }
        text
    }

    /// The same as one JSON object, with details.
    pub fn to_json(&self) -> String {
        let map = |pairs: Vec<(String, Value)>| Value::Object(pairs.into_iter().collect());
        let words = self.words.iter().map(|(key, word)| (key.clone(), json!(word)));
        let values = self
            .values
            .iter()
            .map(|(key, values)| (key.clone(), json!(values)))
            .chain(words);
        let unknown = self
            .unknown
            .iter()
            .map(|(key, needs)| (key.clone(), json!(needs)));
        let text = json!({
            "table": self.table,
            "measured": self.comments,
            "reference_values": map(values.collect()),
            "not_predicted": map(unknown.collect()),
            "details": self.details,
        });
        format!("{text:#}\n")
    }
}
