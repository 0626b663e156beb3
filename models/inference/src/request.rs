//! What a caller asks for. Everything is borrowed: the engine keeps its own wiped copies.

/// Who speaks in a chat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Role {
    /// Instructions of the operator.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// The answer of a tool.
    Tool,
}

impl Role {
    /// The word that chat templates compare with.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }

    /// The role of that name; `developer` is the newer word for `system`.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "system" | "developer" => Some(Self::System),
            "user" => Some(Self::User),
            "assistant" => Some(Self::Assistant),
            "tool" => Some(Self::Tool),
            _ => None,
        }
    }
}

/// One message of a chat.
pub struct ChatMessage<'a> {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: &'a str,
}

/// The prompt in one of its two forms.
pub enum PromptInput<'a> {
    /// Rendered with the model's chat template, then tokenised.
    Messages(&'a [ChatMessage<'a>]),
    /// Tokenised as it is, with the tokenizer's own begin-of-text token.
    Text(&'a str),
}

/// How the next token is chosen from the logits.
#[derive(Clone, PartialEq, Debug)]
pub struct Sampling {
    /// 0 is greedy; at most 2. Default 1.
    pub temperature: f32,
    /// Keep the smallest set of tokens whose probability reaches this; in (0, 1]. Default 1 (all).
    pub top_p: f32,
    /// Keep the most probable this many tokens. `None` keeps all.
    pub top_k: Option<usize>,
    /// Equal seeds and equal requests give equal completions. `None` draws one from the system.
    pub seed: Option<u64>,
}

impl Sampling {
    /// Always the most probable token.
    pub fn greedy() -> Self {
        Self {
            temperature: 0.0,
            ..Self::default()
        }
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_p: 1.0,
            top_k: None,
            seed: None,
        }
    }
}

/// One request to the engine.
pub struct GenerateRequest<'a> {
    /// What to continue.
    pub prompt: PromptInput<'a>,
    /// How to choose tokens.
    pub sampling: Sampling,
    /// Generation ends before the first of these strings; at most
    /// [`STOP_STRINGS_MAX`](crate::limits::STOP_STRINGS_MAX), none empty.
    pub stop: &'a [&'a str],
    /// At most this many tokens. `None`: as many as the context (and the engine's own limit) leaves.
    pub completion_tokens_max: Option<usize>,
}

impl<'a> GenerateRequest<'a> {
    /// A request with the default sampling and no stop strings.
    pub fn new(prompt: PromptInput<'a>) -> Self {
        Self {
            prompt,
            sampling: Sampling::default(),
            stop: &[],
            completion_tokens_max: None,
        }
    }
}
