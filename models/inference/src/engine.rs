//! The running engine: requests are prepared on the caller's thread and decoded on one of its own.

mod admission;
mod scheduler;
mod sequence;
mod worker;

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use self::admission::{Admission, Cancellation};
use self::sequence::{Sequence, SequenceParts};
use self::worker::Inbox;
use crate::error::InferenceError;
use crate::generation::Generation;
use crate::model::Model;
use crate::request::{GenerateRequest, PromptInput};
use crate::sampler::Sampler;
use crate::secret::SecretTokens;
use crate::text::StopStrings;

pub(crate) use self::admission::Cancellation as GenerationCancellation;
pub(crate) use self::sequence::Event;

/// Limits of an engine. Every queue and buffer is sized from them.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Requests that decode at the same time. Default 4.
    pub max_concurrent: usize,
    /// Requests that wait for a slot; one more is refused with `overloaded`. Default 16.
    pub max_waiting: usize,
    /// Prompt and completion together; at most what the model was made for. `None`: the model's own limit.
    pub context_tokens_max: Option<usize>,
    /// Completion limit of a request that names none; one that names a higher limit is refused. Default 4096.
    pub completion_tokens_max: usize,
    /// Bytes of a prompt, before and after the chat template. Default 1 MiB.
    pub prompt_bytes_max: usize,
    /// Tokens of a prompt that are computed before other requests get their turn. Default 512.
    pub prefill_tokens_per_turn: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            max_concurrent: 4,
            max_waiting: 16,
            context_tokens_max: None,
            completion_tokens_max: 4096,
            prompt_bytes_max: 1 << 20,
            prefill_tokens_per_turn: 512,
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
    model: Model,
    config: EngineConfig,
    context_tokens_max: usize,
    admission: Arc<Admission>,
    inbox: Arc<Inbox>,
    worker: Option<JoinHandle<()>>,
}

impl Engine {
    pub(crate) fn start(model: Model, config: EngineConfig) -> Result<Self, InferenceError> {
        let invalid = |reason| Err(InferenceError::EngineConfigInvalid { reason });
        let context_tokens_max = config.context_tokens_max.unwrap_or(model.context_tokens_max());
        if !(2..=model.context_tokens_max()).contains(&context_tokens_max) {
            return invalid("context_tokens_max is below 2 or beyond the model");
        }
        if config.max_concurrent == 0 || config.max_concurrent.checked_add(config.max_waiting).is_none() {
            return invalid("max_concurrent is zero or overflows");
        }
        if config.completion_tokens_max == 0 || config.prompt_bytes_max == 0 {
            return invalid("a limit is zero");
        }
        if config.prefill_tokens_per_turn == 0 {
            return invalid("prefill_tokens_per_turn is zero");
        }
        let admission = Admission::new(config.max_concurrent + config.max_waiting);
        let inbox = Arc::new(Inbox::new());
        let worker = worker::spawn(model.clone(), &config, Arc::clone(&inbox))?;
        Ok(Self {
            model,
            config,
            context_tokens_max,
            admission,
            inbox,
            worker: Some(worker),
        })
    }

    /// Renders, tokenises and queues a request. Blocks only for these, not for a slot.
    pub fn generate(&self, request: GenerateRequest<'_>) -> Result<Generation, InferenceError> {
        // 1. A place, before any work is done for the request.
        let permit = self.admission.enter()?;
        // 2. Every parameter, before the prompt is read.
        let sampler = Sampler::new(request.sampling)?;
        let stops = StopStrings::new(request.stop)?;
        // 3. The prompt.
        let prompt = self.tokens(&request.prompt)?;
        let prompt_tokens = prompt.len();
        let completion_tokens_max = self.completion_tokens(prompt_tokens, request.completion_tokens_max)?;
        // 4. The queue.
        let (events, receiver) = mpsc::channel();
        let cancellation = Cancellation::default();
        let parts = SequenceParts {
            prompt,
            completion_tokens_max,
            sampler,
            stops,
            events,
            cancellation: cancellation.clone(),
            permit,
            prefill_tokens_per_turn: self.config.prefill_tokens_per_turn,
        };
        self.inbox.push(Sequence::new(parts))?;
        Ok(Generation::new(receiver, cancellation, prompt_tokens))
    }

    /// How many requests it holds at the moment.
    pub fn load(&self) -> EngineLoad {
        self.admission.load()
    }

    /// Tokens of prompt and completion together.
    pub fn context_tokens_max(&self) -> usize {
        self.context_tokens_max
    }

    /// The model it runs.
    pub fn model(&self) -> &Model {
        &self.model
    }

    fn tokens(&self, prompt: &PromptInput<'_>) -> Result<SecretTokens, InferenceError> {
        let bytes_max = self.config.prompt_bytes_max;
        let tokens = match prompt {
            PromptInput::Text(text) => self.model.tokenizer().encode(text, true, bytes_max)?,
            PromptInput::Messages(messages) => {
                let template = self
                    .model
                    .chat_template()
                    .ok_or(InferenceError::ChatTemplateMissing)?;
                let text = template.render(messages, bytes_max)?;
                self.model
                    .tokenizer()
                    .encode(text.expose_text(), false, bytes_max)?
            }
        };
        if tokens.is_empty() {
            return Err(InferenceError::PromptEmpty);
        }
        Ok(tokens)
    }

    /// How many tokens the completion may have. What is asked for must fit; what is not, is cut to fit.
    fn completion_tokens(&self, prompt_tokens: usize, asked: Option<usize>) -> Result<usize, InferenceError> {
        let (context_tokens_max, engine_max) = (self.context_tokens_max, self.config.completion_tokens_max);
        if let Some(asked) = asked
            && !(1..=engine_max).contains(&asked)
        {
            return Err(InferenceError::RequestInvalid {
                parameter: "max_tokens",
                expected: "at least 1 and at most the limit of the engine",
            });
        }
        let room = context_tokens_max.saturating_sub(prompt_tokens);
        let completion_tokens = asked.unwrap_or(1);
        if completion_tokens > room {
            return Err(InferenceError::ContextExceeded {
                prompt_tokens,
                completion_tokens,
                context_tokens_max,
            });
        }
        Ok(asked.unwrap_or(engine_max.min(room)))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.inbox.close();
        if let Some(worker) = self.worker.take() {
            // The worker catches panics of steps; one outside has ended it already, and ended is what we want.
            let _ = worker.join();
        }
    }
}
