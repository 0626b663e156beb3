//! The keys of one architecture, each taken by whoever honours it; what is left is refused by its name.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::reader::Gguf;
use super::values::Value;
use crate::architecture::fields::unsupported;
use crate::error::InferenceError;

/// Keys of an architecture that do not change what is computed.
const IRRELEVANT: [&str; 1] = ["rope.scaling.finetuned"];

/// Reads the keys of the architecture and remembers which.
pub(super) struct Keys<'g, 'a> {
    pub(super) gguf: &'g Gguf<'a>,
    prefix: &'a str,
    taken: RefCell<BTreeSet<String>>,
}

impl<'g, 'a> Keys<'g, 'a> {
    /// Those that begin with `prefix` and a dot.
    pub(super) fn new(gguf: &'g Gguf<'a>, prefix: &'a str) -> Self {
        Self {
            gguf,
            prefix,
            taken: RefCell::default(),
        }
    }

    /// A whole number that is not negative. Some writers repeat it for every layer.
    pub(super) fn whole(&self, key: &str) -> Result<Option<usize>, InferenceError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        let whole = match value {
            Value::Numbers(numbers) => {
                let mut all = numbers.iter().map(|value| value.whole());
                let first = all.next().flatten();
                if all.any(|other| other != first) {
                    return Err(unsupported(
                        "a key of the GGUF",
                        key,
                        "equal numbers for all layers",
                    ));
                }
                first
            }
            single => single.whole(),
        };
        whole
            .and_then(|value| usize::try_from(value).ok())
            .map(Some)
            .ok_or_else(|| malformed(&format!("{key} is no whole number")))
    }

    pub(super) fn required(&self, key: &str) -> Result<usize, InferenceError> {
        self.whole(key)?
            .ok_or_else(|| malformed(&format!("{key} is missing")))
    }

    pub(super) fn float(&self, key: &str) -> Result<Option<f32>, InferenceError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        value
            .float()
            .map(|value| Some(value as f32))
            .ok_or_else(|| malformed(&format!("{key} is no number")))
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, InferenceError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(malformed(&format!("{key} is no bool"))),
        }
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, InferenceError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(malformed(&format!("{key} is no text"))),
        }
    }

    pub(super) fn take(&self, key: &str) -> Option<&Value<'_>> {
        let key = format!("{}.{key}", self.prefix);
        let value = self.gguf.value(&key);
        self.taken.borrow_mut().insert(key);
        value
    }

    /// Refuses what nobody took.
    pub(super) fn finish(self) -> Result<(), InferenceError> {
        let taken = self.taken.into_inner();
        let left = self.gguf.keys().find(|key| {
            key.strip_prefix(self.prefix)
                .and_then(|key| key.strip_prefix('.'))
                .is_some_and(|key| !IRRELEVANT.contains(&key))
                && !taken.contains(*key)
        });
        match left {
            None => Ok(()),
            Some(key) => Err(unsupported("a key of the GGUF", key, "keys of the architecture")),
        }
    }
}

pub(super) fn malformed(reason: &str) -> InferenceError {
    InferenceError::FileMalformed {
        file: "the GGUF metadata".to_owned(),
        reason: reason.chars().take(200).collect(),
    }
}
