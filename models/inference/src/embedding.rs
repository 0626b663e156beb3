//! Texts to vectors: BERT and its relatives, nomic, and decoders such as Qwen3-Embedding, pooled as
//! sentence-transformers pools them.
//!
//! 1. the text, trimmed and behind the model's default prompt, becomes tokens with the tokenizer's own special ones
//! 2. an encoder (or a decoder without its head) gives a state per token
//! 3. `modules.json` says how the states become one vector, and whether it is normalised
//!
//! A text that is longer than the model reads is refused; sentence-transformers would cut it without a word.

mod encoder;
mod encoder_config;
mod modules;
mod shared;

use std::sync::Arc;

use zeroize::Zeroizing;

pub use self::shared::{EmbeddingPlace, SharedEmbedder};

use self::encoder::Encoder;
use self::modules::{Modules, Pooling};
use crate::architecture::fields::Fields;
use crate::architecture::{Architecture, CONFIG_FILE};
use crate::checkpoint::Checkpoint;
use crate::decoder::batch::{Part, Wanted};
use crate::decoder::ops::values_of;
use crate::decoder::{Decoder, Head, Interrupt};
use crate::error::InferenceError;
use crate::limits::EMBEDDING_TEXT_BYTES_MAX;
use crate::model::ModelFiles;
use crate::place::Place;
use crate::secret::SecretTokens;
use crate::text::{TextTokenizer, TokenizerFiles};

/// A validated embedding model. Cheap to clone, nothing in it changes; `Send + Sync`.
#[derive(Clone)]
pub struct Embedder {
    parts: Arc<Parts>,
}

struct Parts {
    network: Network,
    tokenizer: TextTokenizer,
    modules: Modules,
    tokens_max: usize,
}

enum Network {
    Encoder(Encoder),
    Decoder(Decoder),
}

/// The vector of one text. It tells of the text: wiped when dropped, and neither `Debug` nor `Clone`.
pub struct Embedding {
    vector: Zeroizing<Vec<f32>>,
    tokens: usize,
}

impl Embedding {
    /// The numbers. Whoever copies them is responsible for the copy.
    pub fn expose_vector(&self) -> &[f32] {
        &self.vector
    }

    /// How many tokens the text had, special ones included.
    pub fn tokens(&self) -> usize {
        self.tokens
    }
}

impl Embedder {
    /// Whether the files are those of an embedding model: an encoder, or what `modules.json` describes.
    pub fn recognises(files: &ModelFiles<'_>) -> bool {
        let named = |fields: &mut Fields| fields.take::<String>("model_type").ok().flatten();
        let config = files
            .optional(CONFIG_FILE)
            .and_then(|json| Fields::parse(json).ok());
        files.optional(modules::MODULES_FILE).is_some()
            || config.is_some_and(|mut fields| {
                named(&mut fields).is_some_and(|name| encoder_config::MODEL_TYPES.contains(&name.as_str()))
            })
    }

    /// Validates and loads. Read are `config.json`, `tokenizer.json`, the safetensors files, and where they exist
    /// `modules.json`, the pooling module's `config.json`, `sentence_bert_config.json` and
    /// `config_sentence_transformers.json`. `files` is not needed afterwards.
    pub fn load(files: &ModelFiles<'_>) -> Result<Self, InferenceError> {
        Self::load_at(files, &Place::cpu())
    }

    /// As [`Self::load`], computed at `place`. Encoders are computed by the CPU only.
    pub fn load_at(files: &ModelFiles<'_>, place: &Place) -> Result<Self, InferenceError> {
        let modules = Modules::read(files)?;
        let json = files.required(CONFIG_FILE)?;
        let model_type: Option<String> = Fields::parse(json)?.take("model_type")?;
        let is_encoder = model_type.is_some_and(|name| encoder_config::MODEL_TYPES.contains(&name.as_str()));
        let checkpoint = Checkpoint::open(files)?;
        let (network, vocabulary, context, hidden) = if is_encoder {
            if place.device().is_some() {
                return Err(InferenceError::Unsupported {
                    what: "the place of an encoder",
                    found: "a device".to_owned(),
                    supported: "the CPU",
                });
            }
            let encoder = Encoder::load(json, checkpoint)?;
            let (vocabulary, context, hidden) =
                (encoder.vocabulary(), encoder.tokens_max(), encoder.hidden());
            (Network::Encoder(encoder), vocabulary, context, hidden)
        } else {
            let config = Architecture::parse(json)?.decoder;
            let (vocabulary, context, hidden) = (config.vocabulary, config.context_tokens_max, config.hidden);
            let decoder = Decoder::load(config, checkpoint.at(place), Head::None)?;
            (Network::Decoder(decoder), vocabulary, context, hidden)
        };
        modules.check_dimensions(hidden)?;
        let tokenizer = TextTokenizer::load(&TokenizerFiles::read(files)?, vocabulary)?;
        Ok(Self {
            parts: Arc::new(Parts {
                network,
                tokenizer,
                tokens_max: modules.tokens_max().map_or(context, |max| max.min(context)),
                modules,
            }),
        })
    }

    /// Numbers of a vector.
    pub fn dimensions(&self) -> usize {
        match &self.parts.network {
            Network::Encoder(encoder) => encoder.hidden(),
            Network::Decoder(decoder) => decoder.config().hidden,
        }
    }

    /// Tokens of the longest text, special ones included.
    pub fn tokens_max(&self) -> usize {
        self.parts.tokens_max
    }

    /// How many tokens `text` has, special ones included.
    pub fn count_tokens(&self, text: &str) -> Result<usize, InferenceError> {
        self.tokens(text).map(|tokens| tokens.len())
    }

    /// The vector of `text`. Blocks until it is computed, on all cores.
    pub fn embed(&self, text: &str) -> Result<Embedding, InferenceError> {
        self.embed_while(text, &|| true)
    }

    /// As [`Self::embed`]; `wanted` is asked between layers, and `false` ends the work with `engine-stopped`.
    pub fn embed_while(&self, text: &str, wanted: &dyn Fn() -> bool) -> Result<Embedding, InferenceError> {
        let tokens = self.tokens(text)?;
        self.embed_tokens(tokens.expose_tokens(), wanted)
    }

    /// The vector of tokens as they are: nothing is added to them.
    pub fn embed_tokens(
        &self,
        tokens: &[u32],
        wanted: &dyn Fn() -> bool,
    ) -> Result<Embedding, InferenceError> {
        if tokens.is_empty() {
            return Err(InferenceError::PromptEmpty);
        }
        if tokens.len() > self.parts.tokens_max {
            return Err(InferenceError::ContextExceeded {
                prompt_tokens: tokens.len(),
                completion_tokens: 0,
                context_tokens_max: self.parts.tokens_max,
            });
        }
        let interrupt = Unless(wanted);
        let states = match &self.parts.network {
            Network::Encoder(encoder) => encoder.states(tokens, &interrupt),
            Network::Decoder(decoder) => decoder_states(decoder, tokens, &interrupt),
        };
        let states = states
            .map_err(|_| InferenceError::ComputeFailed)?
            .ok_or(InferenceError::EngineStopped)?;
        let vector = self.parts.modules.pool(&states, self.dimensions());
        if vector.iter().any(|x| !x.is_finite()) {
            return Err(InferenceError::ComputeFailed);
        }
        Ok(Embedding {
            vector,
            tokens: tokens.len(),
        })
    }

    fn tokens(&self, text: &str) -> Result<SecretTokens, InferenceError> {
        let prompt = self.parts.modules.default_prompt();
        let text = Zeroizing::new(format!("{prompt}{text}"));
        self.parts
            .tokenizer
            .encode(text.trim(), true, EMBEDDING_TEXT_BYTES_MAX)
    }
}

/// A row per token, normed.
fn decoder_states(
    decoder: &Decoder,
    tokens: &[u32],
    interrupt: &dyn Interrupt,
) -> candle_core::Result<Option<Zeroizing<Vec<f32>>>> {
    let mut cache = decoder.cache(tokens.len())?;
    let part = Part {
        tokens,
        cache: &mut cache,
        logits: Wanted::All,
    };
    let Some(Some((states, _))) = decoder.last_states(&mut [part], interrupt)? else {
        return Ok(None);
    };
    values_of(&states).map(|states| Some(Zeroizing::new(states)))
}

struct Unless<'a>(&'a dyn Fn() -> bool);

impl Interrupt for Unless<'_> {
    fn is_interrupted(&self) -> bool {
        !(self.0)()
    }
}

impl Modules {
    /// One vector of the states, which are (tokens, width).
    fn pool(&self, states: &[f32], width: usize) -> Zeroizing<Vec<f32>> {
        let mut vector = Zeroizing::new(vec![0.0_f32; width]);
        let rows = states.chunks_exact(width);
        match self.pooling() {
            Pooling::First => vector.copy_from_slice(&states[..width]),
            Pooling::Last => vector.copy_from_slice(&states[states.len() - width..]),
            Pooling::Mean => {
                let count = rows.len() as f32;
                for row in rows {
                    vector.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
                }
                vector.iter_mut().for_each(|sum| *sum /= count);
            }
        }
        if self.normalises() {
            // As torch.nn.functional.normalize: a vector of zeros stays one.
            let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
            vector.iter_mut().for_each(|x| *x /= norm);
        }
        vector
    }
}
