//! The caller's end of a request.

use std::sync::mpsc::Receiver;

use zeroize::Zeroizing;

use crate::admission::Cancellation;
use crate::engine::Event;
use crate::error::InferenceError;
use crate::secret::SecretText;

/// Some whole characters of a completion.
pub struct Piece {
    /// Which completion, counted from 0.
    pub choice: usize,
    /// The text; empty only in a last piece.
    pub text: SecretText,
    /// How many tokens it took since the last piece.
    pub tokens: usize,
    /// Log probabilities of tokens whose text has begun to show, where they were asked for. End tokens and tokens of
    /// a stop string have none.
    pub log_probabilities: Vec<TokenLogProbability>,
    /// Why the completion ended, in its last piece.
    pub finish: Option<FinishReason>,
}

/// A token, how probable the model held it, and what else it held probable.
pub struct TokenLogProbability {
    /// The chosen token.
    pub chosen: TokenProbability,
    /// The most probable ones, most probable first; the chosen one may be among them.
    pub top: Vec<TokenProbability>,
    /// Characters of the completion before the token.
    pub text_offset: usize,
}

/// One token with the natural logarithm of its probability.
pub struct TokenProbability {
    /// Bytes of its text, which may be a part of a character.
    pub bytes: Zeroizing<Vec<u8>>,
    /// At most 0.
    pub log_probability: f32,
}

/// Why a completion ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FinishReason {
    /// The model ended its turn, or a stop string was reached. OpenAI: `stop`.
    Stop,
    /// The token limit was reached. OpenAI: `length`.
    Length,
}

impl FinishReason {
    /// The word of the OpenAI API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// Token counts of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Tokens of the prompt, template included.
    pub prompt_tokens: usize,
    /// Of these, those whose computation an earlier request had left: of the completion that begins last.
    pub cached_tokens: usize,
    /// Tokens of the pieces received, the end-of-text token included.
    pub completion_tokens: usize,
}

/// A running request: an iterator of pieces. `Send`; dropping it cancels the request, whose slots and caches
/// are free when the turn being computed is done.
pub struct Generation {
    events: Receiver<Event>,
    cancellation: Cancellation,
    usage: Usage,
    /// Completions that have not ended.
    running: usize,
    finish_reason: Option<FinishReason>,
}

impl Generation {
    pub(crate) fn new(
        events: Receiver<Event>,
        cancellation: Cancellation,
        prompt_tokens: usize,
        choices: usize,
    ) -> Self {
        let usage = Usage {
            prompt_tokens,
            cached_tokens: 0,
            completion_tokens: 0,
        };
        Self {
            events,
            cancellation,
            usage,
            running: choices,
            finish_reason: None,
        }
    }

    /// What cancels it from elsewhere.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle(self.cancellation.clone())
    }

    /// Token counts, of all completions together; complete once the iterator has ended.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Why the completion that ended last did so; `None` while any runs, and after an error.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finish_reason
    }
}

/// Cancels a [`Generation`] that another thread waits for: it ends there with an error.
pub struct CancelHandle(Cancellation);

impl CancelHandle {
    /// Slots and caches are free when the turn being computed is done.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

impl Iterator for Generation {
    type Item = Result<Piece, InferenceError>;

    /// Blocks until the next piece. After `Err` or `None` it stays at `None`; a completion is whole only when
    /// one of its pieces said why it ended.
    fn next(&mut self) -> Option<Self::Item> {
        if self.running == 0 {
            return None;
        }
        let event = loop {
            match self.events.recv() {
                Ok(Event::Found(tokens)) => self.usage.cached_tokens = tokens,
                Ok(event) => break event,
                Err(_) => break Event::Failed(InferenceError::EngineStopped),
            }
        };
        match event {
            Event::Found(_) => None,
            Event::Piece(piece) => {
                self.usage.completion_tokens += piece.tokens;
                if piece.finish.is_some() {
                    self.running -= 1;
                }
                if self.running == 0 {
                    self.finish_reason = piece.finish;
                }
                Some(Ok(piece))
            }
            Event::Failed(error) => {
                // The other completions of the request are of no use alone.
                self.running = 0;
                self.cancellation.cancel();
                Some(Err(error))
            }
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.cancellation.cancel();
    }
}
