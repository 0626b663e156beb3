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
    /// What is said; empty where the assistant only calls tools.
    pub content: &'a str,
    /// Calls that the assistant made.
    pub tool_calls: &'a [MessageToolCall<'a>],
    /// Which call a tool answers.
    pub tool_call_id: Option<&'a str>,
    /// Name of the speaker, or of the tool that answers.
    pub name: Option<&'a str>,
}

impl<'a> ChatMessage<'a> {
    /// A message of text.
    pub fn text(role: Role, content: &'a str) -> Self {
        Self {
            role,
            content,
            tool_calls: &[],
            tool_call_id: None,
            name: None,
        }
    }
}

/// A call of a tool in an earlier message of the assistant.
pub struct MessageToolCall<'a> {
    /// As it was given with the call.
    pub id: &'a str,
    /// Which function.
    pub name: &'a str,
    /// JSON.
    pub arguments: &'a str,
}

/// The prompt in one of its forms.
pub enum PromptInput<'a> {
    /// Rendered with the model's chat template, then tokenised.
    Messages(&'a [ChatMessage<'a>]),
    /// Tokenised as it is, with the tokenizer's own begin-of-text token.
    Text(&'a str),
    /// Taken as they are.
    Tokens(&'a [u32]),
}

/// Functions that the model may call, in the model's own syntax.
pub struct Tools<'a> {
    /// The `tools` of the OpenAI API: a JSON array of objects with `type` and `function`.
    pub definitions: &'a str,
    /// Whether it must.
    pub choice: ToolChoice<'a>,
    /// Whether one answer may hold several calls.
    pub parallel: bool,
}

/// Whether the model calls a function.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ToolChoice<'a> {
    /// It decides.
    Auto,
    /// It calls at least one.
    Required,
    /// It calls this one.
    Function(&'a str),
}

/// What a completion has to match, enforced token by token.
pub enum Constraint<'a> {
    /// Any JSON object.
    JsonObject,
    /// A JSON value of this JSON Schema.
    JsonSchema(&'a str),
    /// A regular expression (the syntax of the Rust crate `regex`, without anchors), matched as a whole.
    Regex(&'a str),
    /// A grammar in the Lark dialect of llguidance.
    Grammar(&'a str),
    /// One of these texts.
    Choice(&'a [&'a str]),
}

/// How the next token is chosen from the logits. `src/sampler.rs` states the order.
#[derive(Clone, PartialEq, Debug)]
pub struct Sampling {
    /// 0 is greedy; at most 2. Default 1.
    pub temperature: f32,
    /// Keep the smallest set of tokens whose probability reaches this; in (0, 1]. Default 1 (all).
    pub top_p: f32,
    /// Keep the most probable this many tokens. `None` keeps all.
    pub top_k: Option<usize>,
    /// Keep tokens at least this many times as probable as the most probable; in [0, 1]. Default 0 (all).
    pub min_p: f32,
    /// Keep the tokens of most typical information whose probability reaches this; in (0, 1]. Default 1 (all).
    pub typical_p: f32,
    /// Divides positive logits, and multiplies negative ones, of tokens that prompt or completion have; in (0, 10].
    /// Default 1.
    pub repetition_penalty: f32,
    /// Taken from a token's logit for each time that the completion has it; in [-2, 2]. Default 0.
    pub frequency_penalty: f32,
    /// Taken from a token's logit once if the completion has it; in [-2, 2]. Default 0.
    pub presence_penalty: f32,
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
            min_p: 0.0,
            typical_p: 1.0,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            seed: None,
        }
    }
}

/// One request to the engine.
pub struct GenerateRequest<'a> {
    /// On whose account. Tenants take turns, each has a share of the places, and no cache block ever serves two of them
    /// without having been wiped. `None`: whoever owns the engine.
    pub tenant: Option<&'a str>,
    /// What to continue.
    pub prompt: PromptInput<'a>,
    /// What is computed of it is kept for later requests of the same tenant that name the same key, and theirs is used
    /// here: the completion is the same, its first token comes sooner, and whoever can name the key can tell by that
    /// which beginnings were sent before. `None` keeps and uses nothing.
    pub prompt_cache_key: Option<&'a str>,
    /// How to choose tokens.
    pub sampling: Sampling,
    /// Added to the logits of tokens; each from -100 to 100.
    pub logit_bias: &'a [(u32, f32)],
    /// Generation ends before the first of these strings; at most
    /// [`STOP_STRINGS_MAX`](crate::limits::STOP_STRINGS_MAX), none empty.
    pub stop: &'a [&'a str],
    /// At most this many tokens. `None`: as many as the context (and the engine's own limit) leaves.
    pub completion_tokens_max: Option<usize>,
    /// How many completions, from 1 to [`CHOICES_MAX`](crate::limits::CHOICES_MAX). Each takes a place of the engine.
    pub choices: usize,
    /// Log probabilities of each token and of this many alternatives, at most
    /// [`TOP_LOGPROBS_MAX`](crate::limits::TOP_LOGPROBS_MAX).
    pub log_probabilities: Option<usize>,
    /// What the completion has to match.
    pub constraint: Option<Constraint<'a>>,
    /// Functions that the model may call. Only with [`PromptInput::Messages`].
    pub tools: Option<Tools<'a>>,
    /// What the chat template may read as the time, in seconds since 1970. `None` hides the function from it.
    pub time: Option<u64>,
    /// What the chat template may read as `reasoning_effort`.
    pub reasoning_effort: Option<&'a str>,
}

impl<'a> GenerateRequest<'a> {
    /// A request with the default sampling and nothing else asked for.
    pub fn new(prompt: PromptInput<'a>) -> Self {
        Self {
            tenant: None,
            prompt,
            prompt_cache_key: None,
            sampling: Sampling::default(),
            logit_bias: &[],
            stop: &[],
            completion_tokens_max: None,
            choices: 1,
            log_probabilities: None,
            constraint: None,
            tools: None,
            time: None,
            reasoning_effort: None,
        }
    }
}
