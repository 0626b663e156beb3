//! Between the embedding model and a request's task: one thread for each request, which ends at the next layer once
//! nobody waits any more.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use inference::{Embedding, EmbeddingPlace, InferenceError};
use wire::ProblemCode;

use crate::api::{ApiError, parameters::values::EmbeddingInput};

/// Set when the request's task is gone.
struct Unwanted(Arc<AtomicBool>);

impl Drop for Unwanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// The vectors of `inputs`, in order. Dropping the future cancels; the place is free once the thread has noticed.
pub(crate) async fn embed(
    place: EmbeddingPlace,
    inputs: Vec<EmbeddingInput>,
    tokens_max: usize,
) -> Result<Vec<Embedding>, ApiError> {
    let unwanted = Unwanted(Arc::default());
    let flag = Arc::clone(&unwanted.0);
    let thread = tokio::task::spawn_blocking(move || {
        let wanted = || !flag.load(Ordering::Acquire);
        let embedded = inputs
            .into_iter()
            .map(|input| one(&place, &input, tokens_max, &wanted));
        embedded.collect()
    });
    thread.await.map_err(|_| ProblemCode::Internal)?
}

fn one(
    place: &EmbeddingPlace,
    input: &EmbeddingInput,
    tokens_max: usize,
    wanted: &dyn Fn() -> bool,
) -> Result<Embedding, ApiError> {
    let embedding = match input {
        EmbeddingInput::Text(text) => place.embed_while(text.expose(), wanted),
        EmbeddingInput::Tokens(tokens) => place.embed_tokens(tokens, wanted),
    };
    let embedding = embedding.map_err(|error| match error {
        InferenceError::ContextExceeded { .. } => ApiError {
            code: ProblemCode::ContextExceeded,
            param: Some("input"),
        },
        InferenceError::PromptTooLong { .. } => ApiError {
            code: ProblemCode::PromptTooLong,
            param: Some("input"),
        },
        InferenceError::RequestInvalid { .. }
        | InferenceError::PromptEmpty
        | InferenceError::TokenizerFailed => ApiError::parameter("input"),
        _ => ProblemCode::Internal.into(),
    })?;
    if embedding.tokens() > tokens_max {
        return Err(ProblemCode::PromptTooLong.into());
    }
    Ok(embedding)
}
