//! The bytes of every token: what constraints walk through, and what log probabilities show.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use llguidance::toktrie::{TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use tokenizers::Tokenizer;

/// Largest vocabulary, and most bytes in it altogether, that constraints are offered for.
const VOCABULARY_MAX: usize = 1 << 20;
const BYTES_MAX: usize = 4 << 20;
/// Longer tokens are never chosen under a constraint (the trie has a limit of its own, 1,024).
const TOKEN_BYTES_MAX: usize = 512;

/// How the text of a token in `tokenizer.json` stands for bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// GPT-2: each character is a byte.
    ByteLevel,
    /// SentencePiece: `▁` is a space, `<0x0A>` a byte.
    Pieces,
}

/// A trie of the vocabulary, shared by all constraints of a model.
pub(crate) struct Vocabulary {
    environment: TokEnv,
    /// The token of the byte 0xff, which no text has and which the trie takes for the mark of special tokens.
    last_byte: Option<u32>,
}

impl Vocabulary {
    /// `None` for tokenizers whose tokens do not stand for bytes (WordPiece), and beyond the bounds.
    pub(crate) fn build(tokenizer: &Tokenizer, vocabulary: usize, ends: &[u32]) -> Option<Self> {
        let spelling = spelling(tokenizer)?;
        if vocabulary > VOCABULARY_MAX {
            return None;
        }
        let mut words: Vec<Vec<u8>> = (0..vocabulary as u32)
            .map(|token| spell(tokenizer, token, spelling))
            .collect();
        let added = tokenizer.get_added_tokens_decoder();
        for (token, added) in &added {
            if let Some(word) = words.get_mut(*token as usize) {
                word.clear();
                if added.special {
                    word.push(TokTrie::SPECIAL_TOKEN_MARKER);
                }
                word.extend_from_slice(added.content.as_bytes());
            }
        }
        let mark = [TokTrie::SPECIAL_TOKEN_MARKER];
        let last_byte = words.iter().position(|word| **word == mark);
        for word in words
            .iter_mut()
            .filter(|word| word.len() > TOKEN_BYTES_MAX || **word == mark)
        {
            word.clear();
        }
        // One place more, for a model that has no end token: it can be allowed and never be sampled.
        words.push([&[TokTrie::SPECIAL_TOKEN_MARKER][..], b"<no end>"].concat());
        if words.iter().map(Vec::len).sum::<usize>() > BYTES_MAX {
            return None;
        }
        let ends: Vec<TokenId> = match ends {
            [] => vec![vocabulary as u32],
            ends => ends.to_vec(),
        };
        let info = TokRxInfo::new(words.len() as u32, ends[0]);
        // The trie asserts limits of its own.
        let build = || TokTrie::from(&info, &words).with_eos_tokens(&ends);
        let trie = catch_unwind(AssertUnwindSafe(build)).ok()?;
        Some(Self {
            environment: Arc::new(Environment { trie }),
            last_byte: last_byte.map(|token| token as u32),
        })
    }

    /// What constraints are compiled against.
    pub(crate) fn environment(&self) -> &TokEnv {
        &self.environment
    }

    /// The bytes of a token, and whether it is a special one.
    pub(crate) fn bytes(&self, token: u32) -> (&[u8], bool) {
        let trie = self.environment.tok_trie();
        if self.last_byte == Some(token) {
            return (&[0xff], false);
        }
        if token as usize >= trie.vocab_size() {
            return (&[], false);
        }
        match trie.token(token) {
            [TokTrie::SPECIAL_TOKEN_MARKER, text @ ..] => (text, true),
            bytes => (bytes, false),
        }
    }
}

/// Tokens are only ever sampled, never forced, so no text has to be cut the way the tokenizer would.
struct Environment {
    trie: TokTrie,
}

impl TokenizerEnv for Environment {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.trie.greedy_tokenize(bytes)
    }

    fn tokenize_is_canonical(&self) -> bool {
        false
    }
}

fn spelling(tokenizer: &Tokenizer) -> Option<Spelling> {
    let decoder = serde_json::to_value(tokenizer.get_decoder()?).ok()?;
    let mut kinds = Vec::new();
    kinds_of(&decoder, &mut kinds);
    let has = |kind| kinds.iter().any(|found| found == kind);
    if has("ByteLevel") {
        Some(Spelling::ByteLevel)
    } else if has("ByteFallback") || has("Metaspace") {
        Some(Spelling::Pieces)
    } else {
        None
    }
}

/// The types of a decoder and of those it is a sequence of. The tokenizer was read from JSON of bounded depth.
fn kinds_of(decoder: &serde_json::Value, kinds: &mut Vec<String>) {
    if let Some(kind) = decoder.get("type").and_then(serde_json::Value::as_str) {
        kinds.push(kind.to_owned());
    }
    for part in decoder
        .get("decoders")
        .and_then(serde_json::Value::as_array)
        .into_iter()
        .flatten()
    {
        kinds_of(part, kinds);
    }
}

fn spell(tokenizer: &Tokenizer, token: u32, spelling: Spelling) -> Vec<u8> {
    let Some(text) = tokenizer.id_to_token(token) else {
        return Vec::new();
    };
    match spelling {
        Spelling::ByteLevel => {
            let bytes: Option<Vec<u8>> = text.chars().map(byte_of).collect();
            bytes.unwrap_or_default()
        }
        Spelling::Pieces => match byte_piece(&text) {
            Some(byte) => vec![byte],
            None => text.replace('▁', " ").into_bytes(),
        },
    }
}

/// `<0x0A>`
fn byte_piece(text: &str) -> Option<u8> {
    let hex = text.strip_prefix("<0x")?.strip_suffix('>')?;
    if hex.len() != 2 || hex.starts_with('+') {
        return None;
    }
    u8::from_str_radix(hex, 16).ok()
}

/// The alphabet of GPT-2: printable bytes of Latin-1 stand for themselves, the other 68 for U+0100 onwards.
fn byte_of(character: char) -> Option<u8> {
    let stands_for_itself = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let code = u32::from(character);
    match u8::try_from(code) {
        Ok(byte) => stands_for_itself(byte).then_some(byte),
        Err(_) => {
            let place = usize::try_from(code).ok()?.checked_sub(0x100)?;
            (0..=255_u8).filter(|byte| !stands_for_itself(*byte)).nth(place)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;

    #[test]
    fn the_byte_alphabet_is_that_of_the_tokenizer() {
        let mut bytes: Vec<u8> = ByteLevel::alphabet().into_iter().filter_map(byte_of).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!(byte_of('Ġ'), Some(b' '));
        assert_eq!(byte_of('Ċ'), Some(b'\n'));
        assert_eq!(byte_of('日'), None);
    }

    #[test]
    fn pieces_are_bytes_or_text() {
        assert_eq!(byte_piece("<0x0A>"), Some(10));
        assert_eq!(byte_piece("<0x0>"), None);
        assert_eq!(byte_piece("<0xZZ>"), None);
        assert_eq!(byte_piece("<0x+1>"), None);
    }

    #[test]
    fn every_token_of_the_fixture_decodes_to_its_bytes() {
        let json = include_bytes!("../../tests/fixtures/gqa-untied-f32/tokenizer.json");
        let tokenizer = Tokenizer::from_bytes(json).expect("the fixture is a tokenizer");
        let size = tokenizer.get_vocab_size(true);
        let vocabulary = Vocabulary::build(&tokenizer, size + 7, &[257]).expect("it is byte level");
        for token in 0..size as u32 {
            let (bytes, special) = vocabulary.bytes(token);
            let decoded = tokenizer.decode(&[token], false).expect("it decodes");
            assert_eq!(String::from_utf8_lossy(bytes), decoded, "{token}");
            assert_eq!(
                special,
                tokenizer.decode(&[token], true).expect("it decodes").is_empty()
            );
        }
        assert_eq!(vocabulary.bytes(size as u32 + 3), (&[][..], false));
        assert_eq!(vocabulary.bytes(u32::MAX), (&[][..], false));
    }
}
