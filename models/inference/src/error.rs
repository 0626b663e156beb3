//! What can go wrong, from the caller's side.

use thiserror::Error;

/// Every fault of this crate. No variant carries a word of a prompt or a completion.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InferenceError {
    /// A file that every model has is not there.
    #[error("the model has no {name}")]
    FileMissing {
        /// The name looked for.
        name: String,
    },
    /// A file of the model is not the structure it claims to be.
    #[error("{file} is malformed: {reason}")]
    FileMalformed {
        /// Which file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The model is well formed but needs something this engine does not have.
    #[error("unsupported model: {what} is {found}, supported: {supported}")]
    Unsupported {
        /// The property.
        what: &'static str,
        /// What the model asks for.
        found: String,
        /// What would be accepted.
        supported: &'static str,
    },
    /// A tensor the architecture needs is absent, or its shape or type differs from the config.
    #[error("tensor {tensor}: {reason}")]
    TensorMismatch {
        /// Name in the checkpoint.
        tensor: String,
        /// What differs.
        reason: String,
    },
    /// The caller's engine configuration cannot be honoured.
    #[error("engine configuration: {reason}")]
    EngineConfigInvalid {
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// There is no such device, or no driver for it.
    #[error("there is no such device: {reason}")]
    DeviceMissing {
        /// In the words of the driver.
        reason: String,
    },
    /// A device does not take weights, or a cache.
    #[error("the device does not take {bytes} bytes: {reason}")]
    DeviceRefused {
        /// How much it was to take at once.
        bytes: usize,
        /// In the words of the tensor library.
        reason: String,
    },
    /// A parameter of the request is out of range.
    #[error("{parameter} must be {expected}")]
    RequestInvalid {
        /// Name as in the OpenAI API.
        parameter: &'static str,
        /// The range.
        expected: &'static str,
    },
    /// The model ships no chat template, so messages cannot be rendered.
    #[error("the model has no chat template")]
    ChatTemplateMissing,
    /// The chat template refused the messages or could not be rendered within its budget.
    #[error("the chat template does not take these messages")]
    ChatTemplateRefused,
    /// The prompt has more bytes than the engine reads.
    #[error("the prompt has {bytes} bytes, the limit is {bytes_max}")]
    PromptTooLong {
        /// Bytes given.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The prompt has no tokens.
    #[error("the prompt is empty")]
    PromptEmpty,
    /// Prompt and completion do not fit the context window.
    #[error(
        "{prompt_tokens} prompt tokens and {completion_tokens} completion tokens exceed the context of {context_tokens_max}"
    )]
    ContextExceeded {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Tokens asked for (at least one).
        completion_tokens: usize,
        /// The window.
        context_tokens_max: usize,
    },
    /// The tokenizer could not encode the prompt.
    #[error("the tokenizer cannot encode the prompt")]
    TokenizerFailed,
    /// Functions are offered to a model whose template shows no syntax for them that is known here.
    #[error("the model's chat template has no known syntax for calls of functions")]
    ToolsUnsupported,
    /// The tokens of this model do not stand for bytes, so nothing can be enforced on them.
    #[error("the tokenizer of the model does not allow constraints")]
    ConstraintUnsupported,
    /// The schema, regular expression or grammar cannot be compiled within its bounds.
    #[error("the schema, regular expression or grammar cannot be used")]
    ConstraintInvalid,
    /// Nothing that the model could say matches, or finding out took too much work. The request is over.
    #[error("the completion cannot be kept to the schema, regular expression or grammar")]
    ConstraintFailed,
    /// All slots and all waiting places are taken.
    #[error("the engine is at its limit of concurrent requests")]
    Overloaded,
    /// The computation failed (a fault of the engine, not of the request). The request is over, the engine serves on.
    #[error("the engine could not compute a step")]
    ComputeFailed,
    /// The engine was shut down before the request ended.
    #[error("the engine has stopped")]
    EngineStopped,
}

/// What the tensor library says of a device: its first line, for a backtrace may follow.
pub(crate) fn words_of(error: &candle_core::Error) -> String {
    let words = error.to_string();
    words
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(200)
        .collect()
}

impl InferenceError {
    /// Stable identifier, the same for every instance of a variant.
    pub fn code(&self) -> &'static str {
        match self {
            Self::FileMissing { .. } => "model-file-missing",
            Self::FileMalformed { .. } => "model-file-malformed",
            Self::Unsupported { .. } => "model-unsupported",
            Self::TensorMismatch { .. } => "model-tensor-mismatch",
            Self::EngineConfigInvalid { .. } => "engine-config-invalid",
            Self::DeviceMissing { .. } => "device-missing",
            Self::DeviceRefused { .. } => "device-refused",
            Self::RequestInvalid { .. } => "request-invalid",
            Self::ChatTemplateMissing => "chat-template-missing",
            Self::ChatTemplateRefused => "chat-template-refused",
            Self::PromptTooLong { .. } => "prompt-too-long",
            Self::PromptEmpty => "prompt-empty",
            Self::ContextExceeded { .. } => "context-exceeded",
            Self::TokenizerFailed => "tokenizer-failed",
            Self::ToolsUnsupported => "tools-unsupported",
            Self::ConstraintUnsupported => "constraint-unsupported",
            Self::ConstraintInvalid => "constraint-invalid",
            Self::ConstraintFailed => "constraint-failed",
            Self::Overloaded => "overloaded",
            Self::ComputeFailed => "compute-failed",
            Self::EngineStopped => "engine-stopped",
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::FileMissing { .. } => {
                "give the whole Hugging Face directory (config.json, tokenizer.json, *.safetensors), or one GGUF file"
            }
            Self::FileMalformed { .. } => "download the checkpoint again and compare its checksums",
            Self::Unsupported { .. } => {
                "use a family, a form and options that models/inference/README.md lists"
            }
            Self::TensorMismatch { .. } => "config.json and the weights belong to different models",
            Self::EngineConfigInvalid { .. } => "correct the engine limits of the deployment",
            Self::DeviceMissing { .. } => "look whether nvidia-smi lists the GPU, or leave the device out",
            Self::DeviceRefused { .. } => {
                "use a smaller model or a smaller cache, or free the device's memory"
            }
            Self::RequestInvalid { .. } => "correct the parameter and send the request again",
            Self::ChatTemplateMissing => "send a plain completion, or add a chat_template to the model",
            Self::ChatTemplateRefused => {
                "check the order of the roles: most templates want user and assistant in turn"
            }
            Self::PromptTooLong { .. } | Self::ContextExceeded { .. } => {
                "shorten the prompt or ask for fewer completion tokens"
            }
            Self::PromptEmpty => "send at least one character",
            Self::TokenizerFailed => "send plain text",
            Self::ToolsUnsupported => {
                "send the request without tools, or use a model that was trained on them"
            }
            Self::ConstraintUnsupported => "send the request without a schema or grammar",
            Self::ConstraintInvalid => {
                "use the JSON Schema keywords, the regex syntax and the Lark dialect that docs/api.md lists"
            }
            Self::ConstraintFailed => "simplify the schema or grammar",
            Self::Overloaded => "try again in a moment",
            Self::ComputeFailed => "send the request again; if it stays, tell whoever runs the model",
            Self::EngineStopped => "connect again",
        }
    }

    /// Whether the request, not the model or the engine, is at fault.
    pub fn is_request_fault(&self) -> bool {
        matches!(
            self,
            Self::RequestInvalid { .. }
                | Self::ChatTemplateMissing
                | Self::ChatTemplateRefused
                | Self::PromptTooLong { .. }
                | Self::PromptEmpty
                | Self::ContextExceeded { .. }
                | Self::TokenizerFailed
                | Self::ToolsUnsupported
                | Self::ConstraintUnsupported
                | Self::ConstraintInvalid
                | Self::ConstraintFailed
        )
    }
}
