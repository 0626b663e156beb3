//! GGUF: metadata, tokenizer and weights in one file, or in numbered ones. Read by our own strict reader; what it gives is what the
//! Hugging Face files give elsewhere, an architecture, a checkpoint under Hugging Face's names, and a tokenizer.

mod architecture;
mod keys;
mod reader;
mod split;
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
pub(crate) use self::split::place_of;

/// Everything a model needs.
pub(crate) struct GgufModel<'a> {
    pub(crate) architecture: Architecture,
    pub(crate) checkpoint: Checkpoint<'a>,
    pub(crate) tokenizer: TokenizerFiles<'a>,
    /// Tokens that end a text beside the one of the tokenizer.
    pub(crate) end_tokens: Vec<u32>,
}

impl<'a> GgufModel<'a> {
    /// Validates the files in full and takes them apart. `name` is the first's.
    pub(crate) fn open(name: &str, files: &[&'a [u8]]) -> Result<Self, InferenceError> {
        let malformed = |reason: String| InferenceError::FileMalformed {
            file: name.chars().take(200).collect(),
            reason,
        };
        let gguf = Gguf::parse_files(files).map_err(malformed)?;
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
