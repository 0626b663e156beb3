//! A loaded model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::architecture::{Architecture, CONFIG_FILE, TokenIds, from_json};
use crate::checkpoint::Checkpoint;
use crate::constraint::ConstraintCompiler;
use crate::decoder::{Decoder, Head};
use crate::engine::{Engine, EngineConfig};
use crate::error::InferenceError;
use crate::gguf::{self, GgufModel};
use crate::place::Place;
use crate::text::{ChatTemplate, Special, TextTokenizer, TokenizerFiles, Vocabulary};
use crate::tools::ToolSyntax;

const GGUF_SUFFIX: &str = ".gguf";
const GENERATION_CONFIG_FILE: &str = "generation_config.json";

/// The bytes of a checkpoint directory by file name, borrowed.
#[derive(Default)]
pub struct ModelFiles<'a> {
    files: BTreeMap<&'a str, &'a [u8]>,
}

/// A model in GGUF form, in one file or in numbered ones.
struct GgufFiles<'a> {
    /// The name of the first.
    first: &'a str,
    /// Of all, in their order.
    contents: Vec<&'a [u8]>,
}

impl<'a> ModelFiles<'a> {
    /// No files yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file. Names have no folder part, except those of embedding models (`1_Pooling/config.json`). Files
    /// that a model does not need are never read.
    pub fn insert(&mut self, name: &'a str, bytes: &'a [u8]) {
        self.files.insert(name, bytes);
    }

    pub(crate) fn optional(&self, name: &str) -> Option<&'a [u8]> {
        self.files.get(name).copied()
    }

    /// The files in GGUF form, if the model is in that form.
    fn gguf(&self) -> Result<Option<GgufFiles<'a>>, InferenceError> {
        let files = self.files.iter().filter(|(name, _)| name.ends_with(GGUF_SUFFIX));
        let (names, contents): (Vec<&str>, Vec<&[u8]>) = files.map(|(name, bytes)| (*name, *bytes)).unzip();
        let Some(&first) = names.first() else {
            return Ok(None);
        };
        // They are in the order of their names, so that of their numbers.
        let stem = gguf::place_of(first).map(|(stem, ..)| stem);
        let stray = names.iter().enumerate().skip(1).find(|(index, name)| {
            let place = gguf::place_of(name);
            stem.is_none() || place != stem.map(|stem| (stem, index + 1, names.len()))
        });
        match stray {
            None => Ok(Some(GgufFiles { first, contents })),
            Some((_, stray)) => Err(InferenceError::Unsupported {
                what: "a second GGUF file",
                found: stray.chars().take(200).collect(),
                supported: "a model in one file, or in all of NAME-00001-of-0000N.gguf",
            }),
        }
    }

    pub(crate) fn required(&self, name: &str) -> Result<&'a [u8], InferenceError> {
        let missing = || InferenceError::FileMissing {
            name: name.chars().take(200).collect(),
        };
        self.optional(name).ok_or_else(missing)
    }
}

impl<'a> FromIterator<(&'a str, &'a [u8])> for ModelFiles<'a> {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a [u8])>>(files: I) -> Self {
        Self {
            files: files.into_iter().collect(),
        }
    }
}

/// A validated model: weights, tokenizer, chat template. Cheap to clone, nothing in it changes.
#[derive(Clone)]
pub struct Model {
    parts: Arc<Parts>,
}

struct Parts {
    decoder: Decoder,
    tokenizer: TextTokenizer,
    chat_template: Option<ChatTemplate>,
    end_tokens: BTreeSet<u32>,
    /// Built when the first request needs it.
    vocabulary: OnceLock<Option<Vocabulary>>,
    /// The same.
    constraints: OnceLock<Option<ConstraintCompiler>>,
}

/// The field of `generation_config.json` that is read; its sampling defaults are the caller's business.
#[derive(Deserialize, Default)]
struct GenerationConfig {
    #[serde(default)]
    eos_token_id: TokenIds,
}

impl Model {
    /// Validates and loads. The weights are copied and converted: `files` is not needed afterwards.
    ///
    /// Read are `config.json`, `tokenizer.json`, `model.safetensors` (or `model.safetensors.index.json` and its
    /// shards), and where they exist `tokenizer_config.json`, `chat_template.jinja`, `generation_config.json`. A
    /// single file whose name ends in `.gguf` has all of it, and so have all of `NAME-00001-of-0000N.gguf`.
    pub fn load(files: &ModelFiles<'_>) -> Result<Self, InferenceError> {
        Self::load_at(files, &Place::cpu())
    }

    /// As [`Self::load`], computed at `place`.
    pub fn load_at(files: &ModelFiles<'_>, place: &Place) -> Result<Self, InferenceError> {
        let (architecture, checkpoint, tokenizer_files, more_ends) = match files.gguf()? {
            Some(files) => {
                let gguf = GgufModel::open(files.first, &files.contents)?;
                (
                    gguf.architecture,
                    gguf.checkpoint,
                    gguf.tokenizer,
                    gguf.end_tokens,
                )
            }
            None => {
                let architecture = Architecture::parse(files.required(CONFIG_FILE)?)?;
                let tokenizer_files = TokenizerFiles::read(files)?;
                (
                    architecture,
                    Checkpoint::open(files)?,
                    tokenizer_files,
                    Vec::new(),
                )
            }
        };
        let vocabulary = architecture.decoder.vocabulary;
        let tokenizer = TextTokenizer::load(&tokenizer_files, vocabulary)?;
        let chat_template = ChatTemplate::load(&tokenizer_files)?;
        let mut end_tokens = end_tokens(
            files,
            architecture.end_tokens,
            &tokenizer_files,
            &tokenizer,
            vocabulary,
        )?;
        end_tokens.extend(more_ends);
        let decoder = Decoder::load(architecture.decoder, checkpoint.at(place), Head::Logits)?;
        Ok(Self {
            parts: Arc::new(Parts {
                decoder,
                tokenizer,
                chat_template,
                end_tokens,
                vocabulary: OnceLock::new(),
                constraints: OnceLock::new(),
            }),
        })
    }

    /// Tokens the model was made for.
    pub fn context_tokens_max(&self) -> usize {
        self.decoder().config().context_tokens_max
    }

    /// Whether [`PromptInput::Messages`](crate::PromptInput::Messages) can be rendered.
    pub fn has_chat_template(&self) -> bool {
        self.parts.chat_template.is_some()
    }

    /// How the model writes calls of functions; `None` when its template shows no syntax that is known here.
    pub fn tool_syntax(&self) -> Option<ToolSyntax> {
        self.chat_template().and_then(ChatTemplate::tool_syntax)
    }

    /// How many tokens `text` has, without a begin-of-text token. More than `bytes_max` bytes are refused.
    pub fn count_tokens(&self, text: &str, bytes_max: usize) -> Result<usize, InferenceError> {
        self.tokenizer()
            .encode(text, false, bytes_max)
            .map(|tokens| tokens.len())
    }

    /// Starts an engine on its own thread.
    pub fn engine(&self, config: EngineConfig) -> Result<Engine, InferenceError> {
        Engine::start(self.clone(), config)
    }

    pub(crate) fn decoder(&self) -> &Decoder {
        &self.parts.decoder
    }

    pub(crate) fn tokenizer(&self) -> &TextTokenizer {
        &self.parts.tokenizer
    }

    pub(crate) fn chat_template(&self) -> Option<&ChatTemplate> {
        self.parts.chat_template.as_ref()
    }

    /// The bytes of every token. `None` when they do not stand for bytes.
    pub(crate) fn vocabulary(&self) -> Option<&Vocabulary> {
        let build = || {
            let ends: Vec<u32> = self.parts.end_tokens.iter().copied().collect();
            self.tokenizer().vocabulary(&ends)
        };
        self.parts.vocabulary.get_or_init(build).as_ref()
    }

    /// The bytes of a token's text.
    pub(crate) fn token_bytes(&self, token: u32) -> Zeroizing<Vec<u8>> {
        let bytes = match self.vocabulary() {
            Some(vocabulary) => vocabulary.bytes(token).0.to_vec(),
            None => {
                let text = self.tokenizer().decode(&[token], Special::Kept);
                text.map(|text| text.as_bytes().to_vec()).unwrap_or_default()
            }
        };
        Zeroizing::new(bytes)
    }

    pub(crate) fn constraints(&self) -> Result<&ConstraintCompiler, InferenceError> {
        let build = || ConstraintCompiler::new(self.vocabulary()?);
        let compiler = self.parts.constraints.get_or_init(build).as_ref();
        compiler.ok_or(InferenceError::ConstraintUnsupported)
    }

    pub(crate) fn is_end_token(&self, token: u32) -> bool {
        self.parts.end_tokens.contains(&token)
    }
}

/// Those of `generation_config.json`, or else of `config.json`; and the tokenizer's own.
fn end_tokens(
    files: &ModelFiles<'_>,
    of_config: Vec<u32>,
    tokenizer_files: &TokenizerFiles<'_>,
    tokenizer: &TextTokenizer,
    vocabulary: usize,
) -> Result<BTreeSet<u32>, InferenceError> {
    let generation: GenerationConfig = match files.optional(GENERATION_CONFIG_FILE) {
        Some(bytes) => from_json(GENERATION_CONFIG_FILE, bytes)?,
        None => GenerationConfig::default(),
    };
    let mut tokens: BTreeSet<u32> = generation.eos_token_id.into_vec().into_iter().collect();
    if tokens.is_empty() {
        tokens.extend(of_config);
    }
    tokens.extend(tokenizer_files.end_token().and_then(|text| tokenizer.token(text)));
    if let Some(token) = tokens.iter().find(|token| **token as usize >= vocabulary) {
        let reason = format!("eos_token_id {token} is beyond the vocabulary");
        return Err(InferenceError::FileMalformed {
            file: CONFIG_FILE.to_owned(),
            reason,
        });
    }
    Ok(tokens)
}
