//! GGUF: one file with metadata, tokenizer and weights. Read by our own strict reader; what it gives is what the
//! Hugging Face files give elsewhere, an architecture, a checkpoint under Hugging Face's names, and a tokenizer.

mod architecture;
mod reader;
mod tensors;
mod tokenizer;
mod values;

#[cfg(test)]
mod tests;

use crate::architecture::Architecture;
use crate::checkpoint::Checkpoint;
use crate::error::InferenceError;
use crate::text::TokenizerFiles;

use self::reader::Gguf;

/// Everything a model needs, from one file.
pub(crate) struct GgufModel<'a> {
    pub(crate) architecture: Architecture,
    pub(crate) checkpoint: Checkpoint<'a>,
    pub(crate) tokenizer: TokenizerFiles<'a>,
    /// Tokens that end a text beside the one of the tokenizer.
    pub(crate) end_tokens: Vec<u32>,
}

impl<'a> GgufModel<'a> {
    /// Validates the whole file and takes it apart.
    pub(crate) fn open(name: &str, file: &'a [u8]) -> Result<Self, InferenceError> {
        let malformed = |reason: String| InferenceError::FileMalformed {
            file: name.chars().take(200).collect(),
            reason,
        };
        let gguf = Gguf::parse(file).map_err(malformed)?;
        let (decoder, family) = architecture::parse(&gguf)?;
        let (tokenizer, end_tokens) = tokenizer::build(&gguf)?;
        let checkpoint = tensors::checkpoint(&gguf, &decoder, family)?;
        Ok(Self {
            architecture: Architecture {
                decoder: decoder.validated()?,
                end_tokens: Vec::new(),
            },
            checkpoint,
            tokenizer,
            end_tokens,
        })
    }
}
