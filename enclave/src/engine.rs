//! Between the engine's blocking iterator and a request's task: one thread for each running request, a bounded
//! channel, cancellation by dropping.

use inference::{
    ChatMessage, Engine, FinishReason, GenerateRequest, InferenceError, PromptInput, SecretText, Usage,
};
use tokio::sync::mpsc;
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
}

impl Running {
    /// What comes next. A thread that went without a word is a fault of ours.
    pub(crate) async fn next(&mut self) -> Progress {
        self.progress
            .recv()
            .await
            .unwrap_or(Progress::Failed(ProblemCode::Internal.into()))
    }

    /// What is there already.
    pub(crate) fn try_next(&mut self) -> Option<Progress> {
        self.progress.try_recv().ok()
    }
}

/// Tokenises and starts. `slot` is held until the engine is done with the request, cancelled ones included.
pub(crate) async fn start(
    engine: &std::sync::Arc<Engine>,
    parameters: Parameters,
    prompt_tokens_max: usize,
    slot: tokio::sync::OwnedSemaphorePermit,
) -> Result<Running, ApiError> {
    let (started, start) = tokio::sync::oneshot::channel();
    let (sender, progress) = mpsc::channel(PIECES_MAX);
    let engine = std::sync::Arc::clone(engine);
    tokio::task::spawn_blocking(move || {
        let _slot = slot;
        let generation = match generation(&engine, &parameters) {
            Ok(generation) => generation,
            Err(error) => {
                let _ = started.send(Err(api_error(&error))); // the request may be gone
                return;
            }
        };
        drop(parameters); // the prompt is wiped before the first token
        let prompt_tokens = generation.usage().prompt_tokens;
        if prompt_tokens > prompt_tokens_max {
            let _ = started.send(Err(ProblemCode::PromptTooLong.into()));
            return;
        }
        if started.send(Ok(prompt_tokens)).is_ok() {
            forward(generation, &sender);
        }
    });
    let prompt_tokens = start.await.map_err(|_| ProblemCode::Internal)??;
    Ok(Running {
        prompt_tokens,
        progress,
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

/// Moves pieces until the end, a fault, or until nobody takes them.
fn forward(mut generation: inference::Generation, sender: &mpsc::Sender<Progress>) {
    while let Some(piece) = generation.next() {
        let progress = match piece {
            Ok(piece) => Progress::Piece(piece.text),
            Err(error) => Progress::Failed(api_error(&error)),
        };
        if sender.blocking_send(progress).is_err() {
            return; // the request is gone: dropping the generation cancels it
        }
    }
    let usage = generation.usage();
    if let Some(finish) = generation.finish_reason() {
        let _ = sender.blocking_send(Progress::End { finish, usage }); // as above
    }
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
