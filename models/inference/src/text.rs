//! Between text and tokens: tokenizer, chat template, whole characters, stop strings.

mod chat_template;
mod detokenizer;
mod stop;
mod tokenizer;

pub(crate) use chat_template::ChatTemplate;
pub(crate) use detokenizer::Detokenizer;
pub(crate) use stop::StopStrings;
pub(crate) use tokenizer::{TextTokenizer, TokenizerFiles};
