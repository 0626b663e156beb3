//! Between text and tokens: tokenizer, chat template, whole characters, stop strings.

mod chat_template;
mod detokenizer;
mod python;
mod stop;
mod tokenizer;
mod vocabulary;

pub(crate) use chat_template::{ChatTemplate, Conversation};
pub(crate) use detokenizer::Detokenizer;
pub(crate) use stop::{StopStrings, longest_overlap};
pub(crate) use tokenizer::{Special, TextTokenizer, TokenizerFiles};
pub(crate) use vocabulary::Vocabulary;
