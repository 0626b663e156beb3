//! `tokenizer.json` and what `tokenizer_config.json` adds to it.
//!
//! The word cache of the library is off: it would keep words of prompts in memory after their request, and a
//! hit would be faster than a miss, which another tenant could measure.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Deserialize;
use tokenizers::Tokenizer;
use zeroize::Zeroizing;

use crate::architecture::from_json;
use crate::error::InferenceError;
use crate::model::ModelFiles;
use crate::secret::SecretTokens;
use crate::text::Vocabulary;

const TOKENIZER_FILE: &str = "tokenizer.json";
const TOKENIZER_CONFIG_FILE: &str = "tokenizer_config.json";
const CHAT_TEMPLATE_FILE: &str = "chat_template.jinja";

/// What becomes of special tokens in decoded text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    LeftOut,
    /// Where marks of the model's syntax have to be read.
    Kept,
}

/// Encodes prompts and decodes completions.
pub(crate) struct TextTokenizer {
    tokenizer: Tokenizer,
    vocabulary: usize,
}

impl TextTokenizer {
    /// `vocabulary` is the model's: a token beyond it has no embedding.
    pub(crate) fn load(files: &TokenizerFiles<'_>, vocabulary: usize) -> Result<Self, InferenceError> {
        let malformed = || InferenceError::FileMalformed {
            file: TOKENIZER_FILE.to_owned(),
            reason: "it cannot be read as a tokenizer".to_owned(),
        };
        let prepare = || {
            let mut tokenizer = Tokenizer::from_bytes(&files.tokenizer).ok()?;
            tokenizer.with_truncation(None).ok()?;
            tokenizer.with_padding(None);
            let mut model = tokenizer.get_model().clone();
            model.resize_cache(0);
            tokenizer.with_model(model);
            Some(tokenizer)
        };
        // The library indexes by numbers it reads from the file.
        let tokenizer = catch_unwind(AssertUnwindSafe(prepare))
            .ok()
            .flatten()
            .ok_or_else(malformed)?;
        Ok(Self {
            tokenizer,
            vocabulary,
        })
    }

    /// `with_begin` adds what the tokenizer puts before a text (a chat template writes it itself).
    pub(crate) fn encode(
        &self,
        text: &str,
        with_begin: bool,
        bytes_max: usize,
    ) -> Result<SecretTokens, InferenceError> {
        if text.len() > bytes_max {
            return Err(InferenceError::PromptTooLong {
                bytes: text.len(),
                bytes_max,
            });
        }
        let encode = || self.tokenizer.encode_fast(text, with_begin).ok();
        let encoding = catch_unwind(AssertUnwindSafe(encode)).ok().flatten();
        let encoding = encoding.ok_or(InferenceError::TokenizerFailed)?;
        let tokens = SecretTokens::new(encoding.get_ids().to_vec());
        if tokens
            .expose_tokens()
            .iter()
            .any(|token| *token as usize >= self.vocabulary)
        {
            return Err(InferenceError::TokenizerFailed);
        }
        Ok(tokens)
    }

    /// The text of some tokens, special ones left out unless they are kept. Incomplete characters end in U+FFFD.
    pub(crate) fn decode(
        &self,
        tokens: &[u32],
        special: Special,
    ) -> Result<Zeroizing<String>, InferenceError> {
        let decode = || self.tokenizer.decode(tokens, special == Special::LeftOut).ok();
        let text = catch_unwind(AssertUnwindSafe(decode)).ok().flatten();
        text.map(Zeroizing::new).ok_or(InferenceError::ComputeFailed)
    }

    /// The bytes of every token of a model that ends with one of `ends`.
    pub(crate) fn vocabulary(&self, ends: &[u32]) -> Option<Vocabulary> {
        Vocabulary::build(&self.tokenizer, self.vocabulary, ends)
    }

    /// The identifier of a token by its text.
    pub(crate) fn token(&self, text: &str) -> Option<u32> {
        self.tokenizer
            .token_to_id(text)
            .filter(|token| (*token as usize) < self.vocabulary)
    }
}

/// The tokenizer's files with the parts that this crate reads itself.
pub(crate) struct TokenizerFiles<'a> {
    tokenizer: Cow<'a, [u8]>,
    config: TokenizerConfig,
    chat_template: Option<String>,
}

#[derive(Deserialize, Default)]
struct TokenizerConfig {
    bos_token: Option<TokenText>,
    eos_token: Option<TokenText>,
    chat_template: Option<Templates>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TokenText {
    Plain(String),
    Described { content: String },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

impl<'a> TokenizerFiles<'a> {
    /// `chat_template.jinja` wins over the field of `tokenizer_config.json`, as in transformers.
    pub(crate) fn read(files: &ModelFiles<'a>) -> Result<Self, InferenceError> {
        let tokenizer = files.required(TOKENIZER_FILE)?;
        let mut config = match files.optional(TOKENIZER_CONFIG_FILE) {
            Some(bytes) => from_json(TOKENIZER_CONFIG_FILE, bytes)?,
            None => TokenizerConfig::default(),
        };
        let chat_template = match files.optional(CHAT_TEMPLATE_FILE) {
            Some(bytes) => {
                Some(
                    String::from_utf8(bytes.to_vec()).map_err(|_| InferenceError::FileMalformed {
                        file: CHAT_TEMPLATE_FILE.to_owned(),
                        reason: "not UTF-8".to_owned(),
                    })?,
                )
            }
            None => match config.chat_template.take() {
                Some(Templates::One(template)) => Some(template),
                Some(Templates::Named(templates)) => templates
                    .into_iter()
                    .find(|named| named.name == "default")
                    .map(|named| named.template),
                None => None,
            },
        };
        Ok(Self {
            tokenizer: Cow::Borrowed(tokenizer),
            config,
            chat_template,
        })
    }

    /// Of another form, already read.
    pub(crate) fn built(
        tokenizer: Cow<'a, [u8]>,
        begin_token: Option<String>,
        end_token: Option<String>,
        chat_template: Option<String>,
    ) -> Self {
        let config = TokenizerConfig {
            bos_token: begin_token.map(TokenText::Plain),
            eos_token: end_token.map(TokenText::Plain),
            chat_template: None,
        };
        Self {
            tokenizer,
            config,
            chat_template,
        }
    }

    pub(crate) fn chat_template(&self) -> Option<&str> {
        self.chat_template.as_deref()
    }

    pub(crate) fn begin_token(&self) -> Option<&str> {
        self.config.bos_token.as_ref().map(TokenText::text)
    }

    pub(crate) fn end_token(&self) -> Option<&str> {
        self.config.eos_token.as_ref().map(TokenText::text)
    }
}

impl TokenText {
    fn text(&self) -> &str {
        match self {
            Self::Plain(text) | Self::Described { content: text } => text,
        }
    }
}
