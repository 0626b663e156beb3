//! One request while it decodes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use candle_core::Tensor;
use zeroize::Zeroizing;

use super::prefix::{Known, PrefixCache, PrefixScope};
use crate::admission::{Cancellation, Permit, Tenant};
use crate::constraint::Matching;
use crate::decoder::Interrupt;
use crate::decoder::batch::{Part, Wanted};
use crate::decoder::block_pool::BlockPool;
use crate::decoder::kv_cache::KvCache;
use crate::error::InferenceError;
use crate::generation::{FinishReason, Piece, TokenLogProbability, TokenProbability};
use crate::model::Model;
use crate::sampler::{LogProbabilities, Sampler};
use crate::secret::{SecretText, SecretTokens};
use crate::text::{Detokenizer, Special, StopStrings};

/// What the caller's end receives of each completion, in order: what was found, pieces, the last of which says so, or one `Failed`.
pub(crate) enum Event {
    /// So many tokens of the prompt were found computed.
    Found(usize),
    Piece(Piece),
    Failed(InferenceError),
}

/// What a request brings along.
pub(super) struct SequenceParts {
    /// Which completion of its request.
    pub(super) choice: usize,
    pub(super) prompt: Arc<SecretTokens>,
    pub(super) completion_tokens_max: usize,
    pub(super) sampler: Sampler,
    pub(super) stops: StopStrings,
    pub(super) matching: Option<Matching>,
    pub(super) special: Special,
    pub(super) log_probabilities: Option<usize>,
    pub(super) events: Sender<Event>,
    pub(super) cancellation: Cancellation,
    pub(super) permit: Permit,
    /// Cache blocks that it needs at most.
    pub(super) blocks_max: usize,
    /// Where beginnings of its prompt may have been kept, if it asks for that.
    pub(super) prefixes: Option<PrefixScope>,
}

/// A request with its progress. Dropping it wipes its cache and frees its place.
///
/// The channel to the caller has no bound of its own: it holds at most one piece per token, so
/// `completion_tokens_max` bounds it, and a slow reader keeps no slot.
pub(super) struct Sequence {
    parts: SequenceParts,
    detokenizer: Detokenizer,
    /// Made with the first turn: a waiting request holds none, or no more than its tokens.
    computation: Option<Computation>,
    /// Turns since it became active.
    turns: usize,
    completion_tokens: usize,
    tokens_since_piece: usize,
    /// Log probabilities of tokens whose text has not begun to show, each with the bytes before it.
    pending: VecDeque<(usize, TokenLogProbability)>,
    /// Bytes and characters of the text so far, shown or held back, and bytes shown.
    text_bytes: usize,
    text_characters: usize,
    shown_bytes: usize,
}

/// Tokens and what is computed of them: the cache holds the first [`KvCache::len`] of the tokens, and the rest is still to
/// be fed. A prompt is a long rest, a chosen token a rest of one.
struct Computation {
    tokens: SecretTokens,
    /// None while it is set back.
    cache: Option<KvCache>,
    /// How far others can find what is computed; `None` when no more of it can be kept.
    known: Option<Known>,
}

impl Computation {
    fn computed(&self) -> usize {
        self.cache.as_ref().map_or(0, KvCache::len)
    }
}

/// Whether there is more to do.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Progress {
    More,
    Done,
}

impl Sequence {
    pub(super) fn new(parts: SequenceParts) -> Self {
        Self {
            detokenizer: Detokenizer::new(parts.special),
            parts,
            computation: None,
            turns: 0,
            completion_tokens: 0,
            tokens_since_piece: 0,
            pending: VecDeque::new(),
            text_bytes: 0,
            text_characters: 0,
            shown_bytes: 0,
        }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.parts.cancellation.is_interrupted()
    }

    pub(super) fn tenant(&self) -> &Tenant {
        self.parts.permit.tenant()
    }

    /// Cache blocks that it needs at most.
    pub(super) fn blocks_max(&self) -> usize {
        self.parts.blocks_max
    }

    /// Turns since it became active.
    pub(super) fn turns(&self) -> usize {
        self.turns
    }

    /// Takes a slot.
    pub(super) fn activate(&mut self) {
        self.turns = 0;
        self.parts.permit.set_active(true);
    }

    /// Gives up slot and cache; its tokens stay, to be computed again.
    pub(super) fn set_back(&mut self) {
        if let Some(computation) = &mut self.computation {
            computation.cache = None;
        }
        self.parts.permit.set_active(false);
    }

    /// The first part of a turn: makes what is missing to compute with.
    pub(super) fn begin(
        &mut self,
        model: &Model,
        pool: &BlockPool,
        prefixes: &mut PrefixCache,
    ) -> Result<Progress, InferenceError> {
        self.turns += 1;
        // The last token is returned and never fed back: there needs to be no room for it.
        let capacity = self.parts.prompt.len() + self.parts.completion_tokens_max - 1;
        let computation = self.computation.get_or_insert_with(|| Computation {
            tokens: self.parts.prompt.with_room_for(capacity),
            cache: None,
            known: None,
        });
        if computation.cache.is_none() {
            let mut cache = KvCache::with_pool(model.decoder().config(), capacity, pool);
            if let Some(scope) = &self.parts.prefixes {
                // Without the last token there would be nothing to compute logits from.
                let tokens = computation.tokens.expose_tokens();
                let (known, columns) = prefixes.find(scope, &tokens[..tokens.len() - 1]);
                cache.begin_with(&columns).map_err(compute_failed)?;
                computation.known = Some(known);
                if self.completion_tokens == 0 {
                    let _ = self.parts.events.send(Event::Found(cache.len()));
                }
            }
            computation.cache = Some(cache);
        }
        Ok(Progress::More)
    }

    /// Keeps the blocks that a pass has filled, where others of its tenant can find them.
    pub(super) fn keep(&mut self, prefixes: &mut PrefixCache) {
        let (Some(scope), Some(computation)) = (&self.parts.prefixes, &mut self.computation) else {
            return;
        };
        let Computation {
            tokens,
            cache: Some(cache),
            known,
        } = computation
        else {
            return;
        };
        let (blocks, _) = tokens.expose_tokens().as_chunks();
        while let Some(before) = *known
            && let Some(tokens) = blocks.get(before.blocks)
            && let Some(column) = cache.column(before.blocks)
        {
            *known = prefixes.keep(scope, before, tokens, column);
        }
    }

    /// Tokens that its cache holds.
    pub(super) fn computed(&self) -> usize {
        self.computation.as_ref().map_or(0, Computation::computed)
    }

    /// Tokens that could be fed now: the rest of the prompt, or the one that was chosen last.
    pub(super) fn pending(&self) -> usize {
        self.computation
            .as_ref()
            .map_or(0, |computation| computation.tokens.len() - computation.computed())
    }

    pub(super) fn cancellation(&self) -> Cancellation {
        self.parts.cancellation.clone()
    }

    /// The next `tokens` of those that are pending. Logits are wanted once none are left.
    pub(super) fn part(&mut self, tokens: usize) -> Result<Part<'_>, InferenceError> {
        let Some(Computation {
            tokens: known,
            cache: Some(cache),
            ..
        }) = &mut self.computation
        else {
            return Err(InferenceError::ComputeFailed);
        };
        let rest = known.expose_tokens().get(cache.len()..).unwrap_or_default();
        let next = rest.get(..tokens).ok_or(InferenceError::ComputeFailed)?;
        let logits = if next.len() == rest.len() {
            Wanted::Last
        } else {
            Wanted::None
        };
        Ok(Part {
            tokens: next,
            cache,
            logits,
        })
    }

    /// Chooses the next token from the logits of those before.
    pub(super) fn receive(&mut self, logits: &Tensor, model: &Model) -> Result<Progress, InferenceError> {
        if self.is_cancelled() {
            return Ok(Progress::Done);
        }
        let mut logits = Zeroizing::new(logits.to_vec1::<f32>().map_err(compute_failed)?);
        // What the model itself held probable, before anything changes the logits.
        let unchanged = self.parts.log_probabilities.map(|_| logits.clone());
        let matching = &mut self.parts.matching;
        let token = self.parts.sampler.sample(&mut logits, |logits| match matching {
            Some(matching) => matching.forbid(logits),
            None => Ok(()),
        })?;
        if let Some(logits) = unchanged
            && !model.is_end_token(token)
        {
            self.note_log_probabilities(&logits, token, model);
        }
        self.accept(token, model)
    }

    fn note_log_probabilities(&mut self, logits: &[f32], token: u32, model: &Model) {
        let found = LogProbabilities::of(logits, token, self.parts.log_probabilities.unwrap_or(0));
        let told = |token: u32, log_probability: f32| TokenProbability {
            bytes: model.token_bytes(token),
            log_probability,
        };
        let told = TokenLogProbability {
            chosen: told(token, found.chosen),
            top: found
                .top
                .iter()
                .map(|(token, value)| told(*token, *value))
                .collect(),
            text_offset: self.text_characters,
        };
        self.pending.push_back((self.text_bytes, told));
    }

    /// Sends the fault, which ends the request.
    pub(super) fn fail(mut self, error: InferenceError) {
        self.leave();
        self.send(Event::Failed(error));
    }

    /// Turns a token into text, and ends where it must.
    fn accept(&mut self, token: u32, model: &Model) -> Result<Progress, InferenceError> {
        self.completion_tokens += 1;
        self.tokens_since_piece += 1;
        if model.is_end_token(token) {
            return self.finish(FinishReason::Stop, model);
        }
        let whole = match &mut self.parts.matching {
            Some(matching) => matching.accept(token)?,
            None => false,
        };
        let text = self.detokenizer.push(token, model.tokenizer())?;
        if self.show(&text) {
            return Ok(Progress::Done);
        }
        if whole {
            return self.finish(FinishReason::Stop, model);
        }
        if self.completion_tokens == self.parts.completion_tokens_max {
            return self.finish(FinishReason::Length, model);
        }
        if let Some(computation) = &mut self.computation {
            computation.tokens.push_within_room(token)?;
        }
        Ok(Progress::More)
    }

    /// Sends what was held back, unless it turns out to hold a stop string after all.
    fn finish(&mut self, reason: FinishReason, model: &Model) -> Result<Progress, InferenceError> {
        let rest = self.detokenizer.finish(model.tokenizer())?;
        if self.show(&rest) {
            return Ok(Progress::Done);
        }
        let held = self.parts.stops.finish();
        self.shown_bytes += held.len();
        self.send_piece(held, Some(reason));
        Ok(Progress::Done)
    }

    /// Shows what no longer can be a part of a stop string; `true` when one has ended the completion.
    fn show(&mut self, text: &SecretText) -> bool {
        self.text_bytes += text.len();
        self.text_characters += text.expose_text().chars().count();
        let passed = self.parts.stops.push(text.expose_text());
        self.shown_bytes += passed.text.len();
        if passed.stopped {
            self.send_piece(passed.text, Some(FinishReason::Stop));
        } else if !passed.text.is_empty() {
            self.send_piece(passed.text, None);
        }
        passed.stopped
    }

    fn send_piece(&mut self, text: SecretText, finish: Option<FinishReason>) {
        let begun = self
            .pending
            .partition_point(|(before, _)| *before < self.shown_bytes);
        let log_probabilities = self.pending.drain(..begun).map(|(_, told)| told).collect();
        let tokens = std::mem::take(&mut self.tokens_since_piece);
        if finish.is_some() {
            self.leave();
        }
        self.send(Event::Piece(Piece {
            choice: self.parts.choice,
            text,
            tokens,
            log_probabilities,
            finish,
        }));
    }

    /// Frees place and cache before the end is told: whoever has an answer can ask again.
    fn leave(&mut self) {
        self.computation = None;
        self.parts.permit.leave();
    }

    fn send(&self, event: Event) {
        // A caller that is gone has cancelled; the next step sees it.
        let _ = self.parts.events.send(event);
    }
}

/// The message of the tensor library names shapes; a caller has no use for it.
fn compute_failed(_: candle_core::Error) -> InferenceError {
    InferenceError::ComputeFailed
}
