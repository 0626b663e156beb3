//! Tokens in, tokens out: one decoder for many families, its tokenizer, its sampler and its scheduler; and texts
//! in, vectors out ([`Embedder`]).
//!
//! The data flow, in the order of the modules:
//!
//! 1. [`ModelFiles`] borrows the bytes of a checkpoint; [`Model::load`] validates every header and shape
//!    itself before the tensor library sees a byte, and converts the weights once.
//! 2. [`Model::engine`] starts one thread that owns the decoding; [`Engine::generate`] renders the chat
//!    template, tokenises (both on the caller's thread, both bounded) and queues a sequence.
//! 3. Each turn advances all active sequences in one pass; each of them samples one token among those that its
//!    constraint allows, turns tokens into whole characters, holds back what could become a stop string, and sends
//!    the rest.
//! 4. [`Generation`] iterates over the pieces. Dropping it cancels: the slot and the KV cache are free at
//!    the next turn.
//!
//! The crate knows nothing of HTTP, files or logs. Prompts, tokens and completions live in types that wipe
//! themselves and implement neither `Debug` nor `Clone` nor `Display`.
#![forbid(unsafe_code)]

mod admission;
mod architecture;
mod checkpoint;
mod config;
mod constraint;
mod decoder;
mod embedding;
mod engine;
mod error;
mod generation;
mod gguf;
pub mod limits;
mod model;
mod place;
mod request;
mod sampler;
mod secret;
mod secret_json;
mod text;
mod tools;

pub use admission::EngineLoad;
pub use embedding::{Embedder, Embedding, EmbeddingPlace, SharedEmbedder};
pub use engine::{Engine, EngineConfig};
pub use error::InferenceError;
pub use generation::{
    CancelHandle, FinishReason, Generation, Piece, TokenLogProbability, TokenProbability, Usage,
};
pub use model::{Model, ModelFiles};
pub use place::Place;
pub use request::{
    ChatMessage, Constraint, GenerateRequest, MessageToolCall, PromptInput, Role, Sampling, ToolChoice, Tools,
};
pub use secret::{SecretText, SecretTokens};
pub use tools::{AnswerReader, Said, ToolCall, ToolSyntax};
