//! One request while it decodes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use zeroize::Zeroizing;

use super::admission::{Cancellation, Permit};
use crate::constraint::Matching;
use crate::decoder::Interrupt;
use crate::decoder::batch::{Part, Wanted};
use crate::decoder::kv_cache::KvCache;
use crate::error::InferenceError;
use crate::generation::{FinishReason, Piece, TokenLogProbability, TokenProbability};
use crate::model::Model;
use crate::sampler::{LogProbabilities, Sampler};
use crate::secret::{SecretText, SecretTokens};
use crate::text::{Detokenizer, Special, StopStrings};

/// What the caller's end receives of each completion, in order: pieces, the last of which says so, or one `Failed`.
pub(crate) enum Event {
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
    pub(super) prefill_tokens_per_turn: usize,
}

/// A request with its progress. Dropping it wipes its cache and frees its place.
///
/// The channel to the caller has no bound of its own: it holds at most one piece per token, so
/// `completion_tokens_max` bounds it, and a slow reader keeps no slot.
pub(super) struct Sequence {
    parts: SequenceParts,
    detokenizer: Detokenizer,
    /// Made with the first step: a waiting request holds no cache.
    cache: Option<KvCache>,
    last_token: Zeroizing<u32>,
    completion_tokens: usize,
    tokens_since_piece: usize,
    /// Log probabilities of tokens whose text has not begun to show, each with the bytes before it.
    pending: VecDeque<(usize, TokenLogProbability)>,
    /// Bytes and characters of the text so far, shown or held back, and bytes shown.
    text_bytes: usize,
    text_characters: usize,
    shown_bytes: usize,
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
            cache: None,
            last_token: Zeroizing::new(0),
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

    /// Takes a slot.
    pub(super) fn activate(&mut self) {
        self.parts.permit.activate();
    }

    /// A part of the prompt, or one token.
    pub(super) fn step(&mut self, model: &Model) -> Result<Progress, InferenceError> {
        if self.is_cancelled() {
            return Ok(Progress::Done);
        }
        let Some(mut logits) = self.compute(model)? else {
            // Interrupted, or more of the prompt to come.
            return Ok(if self.is_cancelled() {
                Progress::Done
            } else {
                Progress::More
            });
        };
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
    pub(super) fn fail(self, error: InferenceError) {
        self.send(Event::Failed(error));
    }

    /// The logits of the next token, or `None` when there are none yet.
    fn compute(&mut self, model: &Model) -> Result<Option<Zeroizing<Vec<f32>>>, InferenceError> {
        let decoder = model.decoder();
        let parts = &self.parts;
        let cache = match &mut self.cache {
            Some(cache) => cache,
            none => {
                // The last token is returned and never fed back: the cache needs no room for it.
                let capacity = parts.prompt.len() + parts.completion_tokens_max - 1;
                none.insert(KvCache::new(decoder.config(), capacity).map_err(compute_failed)?)
            }
        };
        let prompt = parts.prompt.expose_tokens();
        let last = [*self.last_token];
        let (tokens, logits) = match prompt.get(cache.len()..) {
            Some(rest) if rest.len() > parts.prefill_tokens_per_turn => {
                (&rest[..parts.prefill_tokens_per_turn], Wanted::None)
            }
            Some(rest) if !rest.is_empty() => (rest, Wanted::Last),
            _ => (&last[..], Wanted::Last),
        };
        let part = Part {
            tokens,
            cache,
            logits,
        };
        let logits = decoder
            .forward(&mut [part], &parts.cancellation)
            .map_err(compute_failed)?;
        let Some(logits) = logits.and_then(|mut of_parts| of_parts.pop().flatten()) else {
            return Ok(None);
        };
        logits
            .to_vec1()
            .map(|logits| Some(Zeroizing::new(logits)))
            .map_err(compute_failed)
    }

    /// Turns a token into text, and ends where it must.
    fn accept(&mut self, token: u32, model: &Model) -> Result<Progress, InferenceError> {
        self.completion_tokens += 1;
        self.tokens_since_piece += 1;
        *self.last_token = token;
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
        self.send(Event::Piece(Piece {
            choice: self.parts.choice,
            text,
            tokens,
            log_probabilities,
            finish,
        }));
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
