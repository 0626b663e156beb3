//! The caller's end of a request.

use crate::error::InferenceError;
use crate::secret::SecretText;

/// Some whole characters of a completion.
pub struct Piece {
    /// The text; may be empty only in the last piece.
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
    /// Tokens generated so far, the end-of-text token included.
    pub completion_tokens: usize,
}

/// A running request: an iterator of pieces. Dropping it cancels the request.
pub struct Generation {
    _private: (),
}

impl Generation {
    /// Token counts; complete once the iterator has ended.
    pub fn usage(&self) -> Usage {
        todo!()
    }

    /// Why it ended; `None` while it runs, and after an error.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        todo!()
    }
}

impl Iterator for Generation {
    type Item = Result<Piece, InferenceError>;

    /// Blocks until the next piece. After `Err` or `None` it stays at `None`.
    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}
