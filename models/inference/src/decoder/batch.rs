//! Several sequences in one pass: their tokens are the rows of every product, and each attends to its own cache.
//!
//! A row's result does not depend on the rows beside it, so that a batch equals its sequences one by one, bit
//! for bit.

use std::borrow::Cow;

use candle_core::{Result, bail};

use super::kv_cache::KvCache;
use crate::config::DecoderConfig;

/// One sequence of a batch.
pub(crate) struct Part<'a> {
    /// What comes next in it; at least one token.
    pub(crate) tokens: &'a [u32],
    /// What it holds. When a pass fails or is interrupted, the caches of its parts are unfinished and must be dropped.
    pub(crate) cache: &'a mut KvCache,
    /// Which logits are wanted.
    pub(crate) logits: Wanted,
}

/// After which tokens of a part the logits are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    /// None: there is more of the prompt to come.
    None,
    /// The last one: (vocabulary).
    Last,
    /// Each: (tokens, vocabulary).
    #[allow(dead_code, reason = "log-probabilities of a prompt; tests use it today")]
    All,
}

/// The rows of a pass, by sequence.
pub(super) struct Rows<'p, 'a> {
    sequences: Vec<Sequence<'p, 'a>>,
    len: usize,
}

struct Sequence<'p, 'a> {
    tokens: Cow<'a, [u32]>,
    first_row: usize,
    part: &'p mut Part<'a>,
}

/// One sequence as attention needs it.
pub(super) struct SequenceRows<'c> {
    pub(super) first_row: usize,
    pub(super) tokens: usize,
    pub(super) cache: &'c mut KvCache,
}

/// As [`SequenceRows`], once its keys and values are written.
pub(super) struct SharedRows<'c> {
    pub(super) first_row: usize,
    pub(super) tokens: usize,
    pub(super) cache: &'c KvCache,
}

impl<'p, 'a> Rows<'p, 'a> {
    /// Checks every token and takes the room for all of them.
    pub(super) fn new(parts: &'p mut [Part<'a>], config: &DecoderConfig) -> Result<Self> {
        let (mut sequences, mut len) = (Vec::with_capacity(parts.len()), 0);
        for part in parts {
            part.cache.check_room(part.tokens.len())?;
            if part
                .tokens
                .iter()
                .any(|token| *token as usize >= config.vocabulary)
            {
                bail!("a token is beyond the vocabulary");
            }
            let (held, new) = (part.cache.len(), part.tokens.len());
            let changes = config
                .ropes
                .iter()
                .any(|rope| rope.changes_between(held, held + new));
            let tokens = match part.cache.history() {
                Some(history) if changes => Cow::Owned([history, part.tokens].concat()),
                _ => Cow::Borrowed(part.tokens),
            };
            if let Cow::Owned(_) = tokens {
                part.cache.rewind();
            }
            part.cache.reserve(tokens.len())?;
            let first_row = len;
            len += tokens.len();
            sequences.push(Sequence {
                tokens,
                first_row,
                part,
            });
        }
        if len == 0 {
            bail!("the batch is empty");
        }
        Ok(Self { sequences, len })
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All tokens, row by row.
    pub(super) fn tokens(&self) -> Vec<u32> {
        let tokens = self.sequences.iter().flat_map(|sequence| sequence.tokens.iter());
        tokens.copied().collect()
    }

    /// Of each sequence: the position of its first row, its rows, and its length after the pass.
    pub(super) fn positions(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        self.sequences.iter().map(|sequence| {
            let (past, tokens) = (sequence.part.cache.len(), sequence.tokens.len());
            (past, tokens, past + tokens)
        })
    }

    pub(super) fn sequences(&mut self) -> impl Iterator<Item = SequenceRows<'_>> {
        self.sequences.iter_mut().map(|sequence| SequenceRows {
            first_row: sequence.first_row,
            tokens: sequence.tokens.len(),
            cache: sequence.part.cache,
        })
    }

    /// The same, to read only.
    pub(super) fn shared_sequences(&self) -> impl Iterator<Item = SharedRows<'_>> {
        self.sequences.iter().map(|sequence| SharedRows {
            first_row: sequence.first_row,
            tokens: sequence.tokens.len(),
            cache: sequence.part.cache,
        })
    }

    /// The rows whose logits each part wants. Of tokens computed again only the new ones count.
    pub(super) fn wanted(&self) -> Vec<std::ops::Range<usize>> {
        let wanted = |sequence: &Sequence<'_, '_>| {
            let end = sequence.first_row + sequence.tokens.len();
            match sequence.part.logits {
                Wanted::None => end..end,
                Wanted::Last => end - 1..end,
                Wanted::All => end - sequence.part.tokens.len()..end,
            }
        };
        self.sequences.iter().map(wanted).collect()
    }

    /// Called once all layers have written.
    pub(super) fn advance(self) {
        for sequence in self.sequences {
            sequence.part.cache.advance(&sequence.tokens);
            if let Cow::Owned(mut tokens) = sequence.tokens {
                zeroize::Zeroize::zeroize(&mut tokens);
            }
        }
    }
}
