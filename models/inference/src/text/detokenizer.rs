//! Tokens to whole characters, as they come.
//!
//! A token may hold a part of a character, and some decoders write a token differently at the start of a
//! text. So the last tokens are decoded together with those before them, and only what is new and complete is
//! handed on.

use zeroize::{Zeroize, Zeroizing};

use super::tokenizer::{Special, TextTokenizer};
use crate::error::InferenceError;
use crate::secret::SecretText;

/// Tokens held back at most; a character has four bytes, so more than this is not an incomplete character.
const PENDING_TOKENS_MAX: usize = 16;
const REPLACEMENT: char = '\u{FFFD}';

/// The state of one completion.
pub(crate) struct Detokenizer {
    /// Context tokens, whose text is out, then pending ones.
    window: Zeroizing<Vec<u32>>,
    context: usize,
    special: Special,
}

impl Detokenizer {
    pub(crate) fn new(special: Special) -> Self {
        // Context and pending tokens are at most PENDING_TOKENS_MAX each: never reallocated.
        Self {
            window: Zeroizing::new(Vec::with_capacity(2 * PENDING_TOKENS_MAX + 2)),
            context: 0,
            special,
        }
    }

    /// The characters that `token` completes; often those of the token, sometimes none.
    pub(crate) fn push(
        &mut self,
        token: u32,
        tokenizer: &TextTokenizer,
    ) -> Result<SecretText, InferenceError> {
        self.window.push(token);
        let full = tokenizer.decode(&self.window, self.special)?;
        let pending = self.window.len() - self.context;
        if full.ends_with(REPLACEMENT) && pending < PENDING_TOKENS_MAX {
            return Ok(SecretText::new(String::new()));
        }
        let new = self.new_text(&full, tokenizer)?;
        if !new.is_empty() || pending >= PENDING_TOKENS_MAX {
            let context = self.context;
            self.window[..context].zeroize();
            self.window.drain(..context);
            self.context = self.window.len();
        }
        Ok(new)
    }

    /// What is left when the completion ends; an incomplete character is dropped.
    pub(crate) fn finish(&mut self, tokenizer: &TextTokenizer) -> Result<SecretText, InferenceError> {
        let full = tokenizer.decode(&self.window, self.special)?;
        let new = self.new_text(&full, tokenizer)?;
        self.context = self.window.len();
        Ok(SecretText::new(
            new.expose_text().trim_end_matches(REPLACEMENT).to_owned(),
        ))
    }

    fn new_text(&self, full: &str, tokenizer: &TextTokenizer) -> Result<SecretText, InferenceError> {
        let context = tokenizer.decode(&self.window[..self.context], self.special)?;
        // A decoder that rewrites earlier text gives nothing new rather than a part of a character.
        Ok(SecretText::new(
            full.get(context.len()..).unwrap_or_default().to_owned(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelFiles;
    use crate::text::TokenizerFiles;

    /// Nearly every byte is a token of its own: the hardest case.
    fn byte_tokenizer() -> TextTokenizer {
        let json = include_bytes!("../../tests/fixtures/gqa-untied-f32/tokenizer.json");
        let files: ModelFiles<'_> = [("tokenizer.json", &json[..])].into_iter().collect();
        let files = TokenizerFiles::read(&files).expect("the fixture is whole");
        TextTokenizer::load(&files, 1 << 16).expect("the fixture is a tokenizer")
    }

    fn tokens(tokenizer: &TextTokenizer, text: &str) -> Vec<u32> {
        tokenizer
            .encode(text, false, 4096)
            .expect("it encodes")
            .expose_tokens()
            .to_vec()
    }

    #[test]
    fn characters_come_whole_and_at_once() {
        let tokenizer = byte_tokenizer();
        let text = "the naïve 🙂 日本語\u{301}";
        let mut detokenizer = Detokenizer::new(Special::LeftOut);
        let mut shown = String::new();
        for token in tokens(&tokenizer, text) {
            let piece = detokenizer.push(token, &tokenizer).expect("it decodes");
            assert!(!piece.expose_text().contains(REPLACEMENT));
            shown.push_str(piece.expose_text());
            assert!(text.starts_with(&shown));
        }
        assert_eq!(shown, text, "nothing is left for the end");
    }

    #[test]
    fn an_incomplete_character_at_the_end_is_dropped() {
        let tokenizer = byte_tokenizer();
        let mut detokenizer = Detokenizer::new(Special::LeftOut);
        let tokens = tokens(&tokenizer, "a🙂");
        for token in &tokens[..tokens.len() - 1] {
            detokenizer.push(*token, &tokenizer).expect("it decodes");
        }
        assert_eq!(
            detokenizer.finish(&tokenizer).expect("it decodes").expose_text(),
            ""
        );
    }

    #[test]
    fn bytes_that_are_no_characters_do_not_pile_up() {
        let tokenizer = byte_tokenizer();
        let mut detokenizer = Detokenizer::new(Special::LeftOut);
        let stray = tokens(&tokenizer, "🙂")[1];
        for _ in 0..10 * PENDING_TOKENS_MAX {
            detokenizer.push(stray, &tokenizer).expect("it decodes");
            assert!(detokenizer.window.len() <= 2 * PENDING_TOKENS_MAX);
        }
        let after: String = tokens(&tokenizer, "ok é")
            .into_iter()
            .map(|token| {
                detokenizer
                    .push(token, &tokenizer)
                    .expect("it decodes")
                    .expose_text()
                    .to_owned()
            })
            .collect();
        assert!(after.ends_with("ok é"), "{after}");
    }
}
