//! A loaded model.

use std::collections::BTreeMap;

use crate::engine::{Engine, EngineConfig};
use crate::error::InferenceError;

/// The bytes of a checkpoint directory by file name, borrowed.
#[derive(Default)]
pub struct ModelFiles<'a> {
    files: BTreeMap<&'a str, &'a [u8]>,
}

impl<'a> ModelFiles<'a> {
    /// No files yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file; names have no folder part.
    pub fn insert(&mut self, name: &'a str, bytes: &'a [u8]) {
        self.files.insert(name, bytes);
    }
}

impl<'a> FromIterator<(&'a str, &'a [u8])> for ModelFiles<'a> {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a [u8])>>(files: I) -> Self {
        Self { files: files.into_iter().collect() }
    }
}

/// A validated model: weights, tokenizer, chat template. Cheap to clone, nothing in it changes.
#[derive(Clone)]
pub struct Model {
    _private: (),
}

impl Model {
    /// Validates and loads. The weights are copied and converted: `files` is not needed afterwards.
    pub fn load(_files: &ModelFiles<'_>) -> Result<Self, InferenceError> {
        todo!()
    }

    /// Tokens the model was made for.
    pub fn context_tokens_max(&self) -> usize {
        todo!()
    }

    /// Whether [`PromptInput::Messages`](crate::PromptInput::Messages) can be rendered.
    pub fn has_chat_template(&self) -> bool {
        todo!()
    }

    /// How many tokens `text` has, without a begin-of-text token. `bytes_max` is checked first.
    pub fn count_tokens(&self, _text: &str, _bytes_max: usize) -> Result<usize, InferenceError> {
        todo!()
    }

    /// Starts an engine on its own thread.
    pub fn engine(&self, _config: EngineConfig) -> Result<Engine, InferenceError> {
        todo!()
    }
}
