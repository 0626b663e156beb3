//! One request while it decodes.

use std::sync::mpsc::Sender;

use zeroize::Zeroizing;

use super::admission::{Cancellation, Permit};
use crate::decoder::Interrupt;
use crate::decoder::batch::{Part, Wanted};
use crate::decoder::kv_cache::KvCache;
use crate::error::InferenceError;
use crate::generation::{FinishReason, Piece};
use crate::model::Model;
use crate::sampler::Sampler;
use crate::secret::SecretTokens;
use crate::text::{Detokenizer, StopStrings};

/// What the caller's end receives, in order: pieces, then one `Finished` or `Failed`.
pub(crate) enum Event {
    Piece(Piece),
    Finished(FinishReason),
    Failed(InferenceError),
}

/// What a request brings along.
pub(super) struct SequenceParts {
    pub(super) prompt: SecretTokens,
    pub(super) completion_tokens_max: usize,
    pub(super) sampler: Sampler,
    pub(super) stops: StopStrings,
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
            parts,
            detokenizer: Detokenizer::new(),
            cache: None,
            last_token: Zeroizing::new(0),
            completion_tokens: 0,
            tokens_since_piece: 0,
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
        let Some(logits) = self.compute(model)? else {
            // Interrupted, or more of the prompt to come.
            return Ok(if self.is_cancelled() {
                Progress::Done
            } else {
                Progress::More
            });
        };
        let token = self.parts.sampler.sample(&logits)?;
        self.accept(token, model)
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
        let text = self.detokenizer.push(token, model.tokenizer())?;
        let passed = self.parts.stops.push(text.expose_text());
        if !passed.text.is_empty() {
            self.send_text(passed.text);
        }
        if passed.stopped {
            self.end(FinishReason::Stop);
            return Ok(Progress::Done);
        }
        if self.completion_tokens == self.parts.completion_tokens_max {
            return self.finish(FinishReason::Length, model);
        }
        Ok(Progress::More)
    }

    /// Sends what was held back, unless it turns out to hold a stop string after all.
    fn finish(&mut self, reason: FinishReason, model: &Model) -> Result<Progress, InferenceError> {
        let rest = self.detokenizer.finish(model.tokenizer())?;
        let passed = self.parts.stops.push(rest.expose_text());
        if !passed.text.is_empty() {
            self.send_text(passed.text);
        }
        if passed.stopped {
            self.end(FinishReason::Stop);
            return Ok(Progress::Done);
        }
        let held = self.parts.stops.finish();
        if !held.is_empty() {
            self.send_text(held);
        }
        self.end(reason);
        Ok(Progress::Done)
    }

    fn send_text(&mut self, text: crate::secret::SecretText) {
        let tokens = std::mem::take(&mut self.tokens_since_piece);
        self.send(Event::Piece(Piece { text, tokens }));
    }

    /// Tokens without text (an end token) are counted in an empty last piece.
    fn end(&mut self, reason: FinishReason) {
        if self.tokens_since_piece > 0 {
            self.send_text(crate::secret::SecretText::new(String::new()));
        }
        self.send(Event::Finished(reason));
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
