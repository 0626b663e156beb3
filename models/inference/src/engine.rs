//! The running engine: one thread, several requests.

use crate::error::InferenceError;
use crate::generation::Generation;
use crate::request::GenerateRequest;

/// Limits of an engine. Every queue and buffer is sized from them.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Requests that decode at the same time. Default 4.
    pub max_concurrent: usize,
    /// Requests that wait for a slot; one more is refused with `overloaded`. Default 16.
    pub max_waiting: usize,
    /// Prompt and completion together; at most what the model was made for. `None`: the model's own limit.
    pub context_tokens_max: Option<usize>,
    /// Completion limit of a request that names none or a higher one. Default 4096.
    pub completion_tokens_max: usize,
    /// Bytes of a prompt, before and after the chat template. Default 1 MiB.
    pub prompt_bytes_max: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            max_concurrent: 4,
            max_waiting: 16,
            context_tokens_max: None,
            completion_tokens_max: 4096,
            prompt_bytes_max: 1 << 20,
        }
    }
}

/// How busy an engine is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EngineLoad {
    /// Requests that hold a slot.
    pub active: usize,
    /// Requests that wait for one.
    pub waiting: usize,
}

/// A running engine. `Send + Sync`; dropping it stops the thread and ends every request with `engine-stopped`.
pub struct Engine {
    _private: (),
}

impl Engine {
    /// Renders, tokenises and queues a request. Blocks only for these, not for a slot.
    pub fn generate(&self, _request: GenerateRequest<'_>) -> Result<Generation, InferenceError> {
        todo!()
    }

    /// How many requests it holds at the moment.
    pub fn load(&self) -> EngineLoad {
        todo!()
    }

    /// Tokens of prompt and completion together.
    pub fn context_tokens_max(&self) -> usize {
        todo!()
    }
}
