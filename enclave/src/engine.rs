//! Between the engine's blocking iterator and a request's task: one thread for each running request, a bounded
//! channel, cancellation by dropping.

use inference::{
    ChatMessage, Engine, FinishReason, GenerateRequest, InferenceError, PromptInput, SecretText, Usage,
};
use tokio::{sync::mpsc, task::JoinHandle};
use wire::ProblemCode;

use crate::api::{
    ApiError,
    parameters::{Input, Parameters},
};

/// Pieces that wait for the request's task at most; then the thread waits too.
const PIECES_MAX: usize = 32;

/// What the engine says next.
pub(crate) enum Progress {
    /// More text.
    Piece(SecretText),
    /// The end.
    End {
        /// Why.
        finish: FinishReason,
        /// Token counts.
        usage: Usage,
    },
    /// It failed.
    Failed(ApiError),
}

/// A running generation. Dropping it cancels: the thread ends at its next piece and frees the slot.
pub(crate) struct Running {
    /// Tokens of the prompt.
    pub(crate) prompt_tokens: usize,
    progress: mpsc::Receiver<Progress>,
    thread: JoinHandle<()>,
}

impl Running {
    #[cfg(test)]
    pub(crate) fn new(
        prompt_tokens: usize,
        progress: mpsc::Receiver<Progress>,
        thread: JoinHandle<()>,
    ) -> Self {
        Self {
            prompt_tokens,
            progress,
            thread,
        }
    }

    /// What comes next. A thread that went without a word is a fault of ours.
    pub(crate) async fn next(&mut self) -> Progress {
        self.progress
            .recv()
            .await
            .unwrap_or(Progress::Failed(ProblemCode::Internal.into()))
    }

    /// Cancels what still runs and waits until its place is free: one step of the engine at most.
    pub(crate) async fn end(self) {
        drop(self.progress);
        let _ = self.thread.await; // a panic there was told as a fault
    }

    /// What is there already.
    pub(crate) fn try_next(&mut self) -> Option<Progress> {
        self.progress.try_recv().ok()
    }
}

/// Tokenises and starts. `slot` is held until the engine is done with the request, cancelled ones included, and is
/// free before the end is told: whoever has an answer can ask again.
pub(crate) async fn start(
    engine: &std::sync::Arc<Engine>,
    parameters: Parameters,
    prompt_tokens_max: usize,
    slot: tokio::sync::OwnedSemaphorePermit,
) -> Result<Running, ApiError> {
    let (started, start) = tokio::sync::oneshot::channel();
    let (sender, progress) = mpsc::channel(PIECES_MAX);
    let engine = std::sync::Arc::clone(engine);
    let thread = tokio::task::spawn_blocking(move || {
        let generation = match generation(&engine, &parameters) {
            Ok(generation) => generation,
            Err(error) => {
                drop(slot);
                let _ = started.send(Err(api_error(&error))); // the request may be gone
                return;
            }
        };
        drop(parameters); // the prompt is wiped before the first token
        let prompt_tokens = generation.usage().prompt_tokens;
        if prompt_tokens > prompt_tokens_max {
            drop((generation, slot));
            let _ = started.send(Err(ProblemCode::PromptTooLong.into()));
            return;
        }
        if started.send(Ok(prompt_tokens)).is_err() {
            return;
        }
        let last = forward(generation, &sender);
        drop(slot);
        if let Some(last) = last {
            let _ = sender.blocking_send(last); // the request may be gone
        }
    });
    let prompt_tokens = start.await.map_err(|_| ProblemCode::Internal)??;
    Ok(Running {
        prompt_tokens,
        progress,
        thread,
    })
}

fn generation(engine: &Engine, parameters: &Parameters) -> Result<inference::Generation, InferenceError> {
    let stop: Vec<&str> = parameters.stop.iter().map(|text| text.expose()).collect();
    let mut messages = Vec::new();
    let prompt = match &parameters.input {
        Input::Text(text) => PromptInput::Text(text.expose()),
        Input::Messages(chat) => {
            messages.extend(chat.iter().map(|(role, text)| ChatMessage {
                role: *role,
                content: text.expose(),
            }));
            PromptInput::Messages(&messages)
        }
    };
    engine.generate(GenerateRequest {
        prompt,
        sampling: parameters.sampling.clone(),
        stop: &stop,
        completion_tokens_max: parameters.completion_tokens_max,
    })
}

/// Moves pieces and gives what is to be told last. `None` when nobody takes them: dropping the generation cancels it.
fn forward(mut generation: inference::Generation, sender: &mpsc::Sender<Progress>) -> Option<Progress> {
    for piece in generation.by_ref() {
        match piece {
            Ok(piece) => sender.blocking_send(Progress::Piece(piece.text)).ok()?,
            Err(error) => return Some(Progress::Failed(api_error(&error))),
        }
    }
    let usage = generation.usage();
    let finish = generation.finish_reason()?;
    Some(Progress::End { finish, usage })
}

/// What the client is told of an engine's fault.
fn api_error(error: &InferenceError) -> ApiError {
    match error {
        InferenceError::RequestInvalid { parameter, .. } => ApiError::parameter(parameter),
        InferenceError::ChatTemplateMissing
        | InferenceError::ChatTemplateRefused
        | InferenceError::TokenizerFailed => ApiError::parameter("messages"),
        InferenceError::PromptEmpty => ApiError::parameter("prompt"),
        InferenceError::PromptTooLong { .. } | InferenceError::ContextExceeded { .. } => {
            ProblemCode::PromptTooLong.into()
        }
        InferenceError::Overloaded => ProblemCode::Overloaded.into(),
        InferenceError::EngineStopped => ProblemCode::Stopping.into(),
        _ => ProblemCode::Internal.into(),
    }
}
