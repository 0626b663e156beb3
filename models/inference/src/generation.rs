//! The caller's end of a request.

use std::sync::mpsc::Receiver;

use crate::engine::{Event, GenerationCancellation};
use crate::error::InferenceError;
use crate::secret::SecretText;

/// Some whole characters of a completion.
pub struct Piece {
    /// The text; empty only in a last piece that counts tokens without text.
    pub text: SecretText,
    /// How many tokens it took since the last piece.
    pub tokens: usize,
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
    /// Tokens of the pieces received, the end-of-text token included.
    pub completion_tokens: usize,
}

/// A running request: an iterator of pieces. `Send`; dropping it cancels the request, whose slot and cache
/// are free when the layer being computed is done.
pub struct Generation {
    events: Receiver<Event>,
    cancellation: GenerationCancellation,
    usage: Usage,
    ended: bool,
    finish_reason: Option<FinishReason>,
}

impl Generation {
    pub(crate) fn new(
        events: Receiver<Event>,
        cancellation: GenerationCancellation,
        prompt_tokens: usize,
    ) -> Self {
        let usage = Usage {
            prompt_tokens,
            completion_tokens: 0,
        };
        Self {
            events,
            cancellation,
            usage,
            ended: false,
            finish_reason: None,
        }
    }

    /// Token counts; complete once the iterator has ended.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Why it ended; `None` while it runs, and after an error.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finish_reason
    }
}

impl Iterator for Generation {
    type Item = Result<Piece, InferenceError>;

    /// Blocks until the next piece. After `Err` or `None` it stays at `None`; a completion is whole only when
    /// [`Generation::finish_reason`] then says why it ended.
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.events.recv() {
            Ok(Event::Piece(piece)) => {
                self.usage.completion_tokens += piece.tokens;
                Some(Ok(piece))
            }
            Ok(Event::Finished(reason)) => {
                self.ended = true;
                self.finish_reason = Some(reason);
                None
            }
            Ok(Event::Failed(error)) => {
                self.ended = true;
                Some(Err(error))
            }
            Err(_) => {
                self.ended = true;
                Some(Err(InferenceError::EngineStopped))
            }
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.cancellation.cancel();
    }
}
