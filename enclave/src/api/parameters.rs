//! Bodies of `/v1/chat/completions` and `/v1/completions`, as OpenAI publishes them.
//!
//! 1. [`table`]: every name is looked up; what cannot be honoured is refused by name when it asks for something, and so
//!    is what is not known. What cannot change the answer is ignored.
//! 2. The honoured parameters are read into types, and checked.
//!
//! Limits that depend on the engine (tokens of the vocabulary, functions, schemas) are checked there.

mod asks;
pub(crate) mod conversation;
pub(crate) mod form;
pub(crate) mod table;
pub(crate) mod values;

use core::time::Duration;

use inference::Sampling;
use serde::Deserialize;
use serde_json::error::Category;
use wire::ProblemCode;
use zeroize::Zeroizing;

use self::{
    conversation::{Message, MessageValue},
    form::{Form, Forms, ResponseFormat, StructuredOutputs},
    table::Endpoint,
    values::{Biases, Json, LogProbs, PromptValue, Strings},
};
use super::{ApiError, text::Text};

/// Stop strings of one request, as published.
const STOP_MAX: usize = 4;
/// Default of `max_tokens` at `/v1/completions`, as published.
const TEXT_COMPLETION_TOKENS: usize = 16;
/// Alternatives at `/v1/completions`, as published.
const TEXT_LOGPROBS_MAX: u64 = 5;
/// Alternatives of chats, as published.
const TOP_LOGPROBS_MAX: u64 = inference::limits::TOP_LOGPROBS_MAX as u64;
/// Letters of `reasoning_effort`; the known words are shorter.
const EFFORT_BYTES_MAX: usize = 16;
/// Bytes of `prompt_cache_key`.
const CACHE_KEY_BYTES_MAX: usize = 256;

/// What to compute and how to answer.
pub(crate) struct Parameters {
    /// The model asked for.
    pub(crate) model: String,
    /// What to continue.
    pub(crate) input: Input,
    /// How to choose tokens.
    pub(crate) sampling: Sampling,
    /// Biases of tokens.
    pub(crate) logit_bias: Zeroizing<Vec<(u32, f32)>>,
    /// Where to stop.
    pub(crate) stop: Vec<Text>,
    /// At most this many tokens.
    pub(crate) completion_tokens_max: Option<usize>,
    /// How many completions.
    pub(crate) choices: usize,
    /// Log probabilities, with this many alternatives.
    pub(crate) log_probabilities: Option<usize>,
    /// Whether the prompt comes first.
    pub(crate) echo: bool,
    /// What the answer has to match, and which parameter asked.
    pub(crate) form: Option<(Form, &'static str)>,
    /// Functions that may be called.
    pub(crate) tools: Option<OfferedTools>,
    /// For the template.
    pub(crate) reasoning_effort: Option<Text>,
    /// Under what the computed prompt is kept for the tenant's later requests.
    pub(crate) prompt_cache_key: Option<Text>,
    /// How long the client wants to wait.
    pub(crate) timeout: Option<Duration>,
    /// Whether to stream.
    pub(crate) stream: bool,
    /// Whether a stream ends with a usage chunk.
    pub(crate) include_usage: bool,
}

/// Functions that may be called.
pub(crate) struct OfferedTools {
    /// `tools` as it is written.
    pub(crate) definitions: Text,
    /// Whether one must be.
    pub(crate) choice: ToolChoice,
    /// Whether several may be.
    pub(crate) parallel: bool,
}

/// Whether a function must be called.
pub(crate) enum ToolChoice {
    /// The model decides.
    Auto,
    /// One or several.
    Required,
    /// This one.
    Function(Text),
}

/// The prompt in one of its forms.
pub(crate) enum Input {
    /// A conversation.
    Messages(Vec<Message>),
    /// Text to continue.
    Text(Text),
    /// Tokens to continue.
    Tokens(Zeroizing<Vec<u32>>),
}

impl Input {
    /// Bytes of text in it.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Messages(messages) => messages.iter().map(Message::bytes).sum(),
            Self::Text(text) => text.expose().len(),
            Self::Tokens(tokens) => tokens.len(),
        }
    }

    fn has_nul(&self) -> bool {
        let nul = |text: &Text| text.expose().contains('\0');
        match self {
            Self::Messages(messages) => messages.iter().flat_map(Message::texts).any(nul),
            Self::Text(text) => nul(text),
            Self::Tokens(_) => false,
        }
    }
}

impl Parameters {
    /// Parameters of a chat completion.
    pub(crate) fn chat(body: &[u8]) -> Result<Self, ApiError> {
        let mut body: Body = parse(Endpoint::Chat, body)?;
        let messages = body.messages.take().unwrap_or_default();
        if !(1..=inference::limits::MESSAGES_MAX).contains(&messages.len()) {
            return Err(ApiError::parameter("messages"));
        }
        let messages = messages
            .into_iter()
            .map(Message::try_from)
            .collect::<Result<_, _>>()?;
        let limit = match (body.max_completion_tokens, body.max_tokens) {
            (Some(limit), _) => positive(Some(limit), "max_completion_tokens")?,
            (None, limit) => positive(limit, "max_tokens")?,
        };
        let log_probabilities = match (body.logprobs, body.top_logprobs.unwrap_or(0)) {
            (None | Some(LogProbs::Asked(false)), 0) => None,
            (Some(LogProbs::Asked(true)), top @ 0..=TOP_LOGPROBS_MAX) => Some(top as usize),
            (Some(LogProbs::Count(_)), _) => return Err(ApiError::parameter("logprobs")),
            _ => return Err(ApiError::parameter("top_logprobs")),
        };
        body.finish(Input::Messages(messages), "messages", limit, log_probabilities)
    }

    /// Parameters of a text completion.
    pub(crate) fn text(body: &[u8]) -> Result<Self, ApiError> {
        let mut body: Body = parse(Endpoint::Text, body)?;
        let input = match body.prompt.take() {
            Some(PromptValue::Texts(mut texts)) if texts.len() == 1 => Input::Text(texts.remove(0)),
            Some(PromptValue::Tokens(tokens)) if !tokens.is_empty() => Input::Tokens(tokens),
            _ => return Err(ApiError::parameter("prompt")),
        };
        let limit = positive(body.max_tokens, "max_tokens")?.or(Some(TEXT_COMPLETION_TOKENS));
        let log_probabilities = match body.logprobs {
            None | Some(LogProbs::Asked(false)) => None,
            Some(LogProbs::Count(count @ 0..=TEXT_LOGPROBS_MAX)) => Some(count as usize),
            _ => return Err(ApiError::parameter("logprobs")),
        };
        let echo = body.echo.unwrap_or(false);
        if echo && (log_probabilities.is_some() || !matches!(input, Input::Text(_))) {
            return Err(ApiError::parameter("echo"));
        }
        if body.best_of.is_some_and(|best_of| best_of != body.n.unwrap_or(1)) {
            return Err(ApiError::parameter("best_of"));
        }
        body.finish(input, "prompt", limit, log_probabilities)
    }
}

/// Both passes over a body.
pub(super) fn parse<'a, B: Deserialize<'a>>(endpoint: Endpoint, body: &'a [u8]) -> Result<B, ApiError> {
    let text = std::str::from_utf8(body).map_err(|_| ProblemCode::InvalidUtf8)?;
    // The reader's own message may quote the body; only its kind is used.
    let fault = |error: serde_json::Error| -> ApiError {
        match error.classify() {
            Category::Data => ProblemCode::InvalidParameter.into(),
            _ => ProblemCode::MalformedRequest.into(),
        }
    };
    table::check(endpoint, text).map_err(fault)??;
    serde_json::from_str(text).map_err(fault)
}

/// The honoured parameters; a test compares their names with the table.
#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    messages: Option<Vec<MessageValue>>,
    prompt: Option<PromptValue>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<i64>,
    min_p: Option<f32>,
    typical_p: Option<f32>,
    repetition_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    presence_penalty: Option<f32>,
    logit_bias: Option<Biases>,
    seed: Option<i64>,
    stop: Option<Strings>,
    n: Option<u64>,
    best_of: Option<u64>,
    logprobs: Option<LogProbs>,
    top_logprobs: Option<u64>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    echo: Option<bool>,
    response_format: Option<ResponseFormat>,
    structured_outputs: Option<StructuredOutputs>,
    guided_json: Option<Json>,
    guided_regex: Option<Text>,
    guided_choice: Option<Vec<Text>>,
    guided_grammar: Option<Text>,
    tools: Option<Json>,
    tool_choice: Option<Json>,
    parallel_tool_calls: Option<bool>,
    reasoning_effort: Option<Text>,
    prompt_cache_key: Option<Text>,
    timeout_seconds: Option<u32>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

fn positive(value: Option<u64>, name: &'static str) -> Result<Option<usize>, ApiError> {
    match value {
        None => Ok(None),
        Some(0) => Err(ApiError::parameter(name)),
        Some(value) => Ok(Some(usize::try_from(value).unwrap_or(usize::MAX))),
    }
}

impl Body {
    fn finish(
        mut self,
        input: Input,
        input_name: &'static str,
        completion_tokens_max: Option<usize>,
        log_probabilities: Option<usize>,
    ) -> Result<Parameters, ApiError> {
        if input.has_nul() {
            return Err(ApiError::parameter(input_name));
        }
        let sampling = self.sampling()?;
        let choices = positive(self.n, "n")?.unwrap_or(1);
        if choices > inference::limits::CHOICES_MAX {
            return Err(ApiError::parameter("n"));
        }
        let stream = self.stream.unwrap_or(false);
        if self.stream_options.is_some() && !stream {
            return Err(ApiError::parameter("stream_options"));
        }
        if self.timeout_seconds == Some(0) {
            return Err(ApiError::parameter("timeout_seconds"));
        }
        let tools = self.offered_tools()?;
        let stop = stop(self.stop)?;
        let reasoning_effort = self.reasoning_effort.map(effort).transpose()?;
        let prompt_cache_key = self.prompt_cache_key.map(cache_key).transpose()?;
        let forms = Forms {
            response_format: self.response_format,
            structured_outputs: self.structured_outputs,
            guided_json: self.guided_json,
            guided_regex: self.guided_regex,
            guided_choice: self.guided_choice,
            guided_grammar: self.guided_grammar,
        };
        Ok(Parameters {
            model: self.model.ok_or(ApiError::parameter("model"))?,
            input,
            sampling,
            logit_bias: self.logit_bias.unwrap_or_default().0,
            stop,
            completion_tokens_max,
            choices,
            log_probabilities,
            echo: self.echo.unwrap_or(false),
            form: forms.one()?,
            tools,
            reasoning_effort,
            prompt_cache_key,
            timeout: self
                .timeout_seconds
                .map(|seconds| Duration::from_secs(seconds.into())),
            stream,
            include_usage: self
                .stream_options
                .and_then(|options| options.include_usage)
                .unwrap_or(false),
        })
    }

    fn sampling(&self) -> Result<Sampling, ApiError> {
        let default = Sampling::default();
        let within = |name, value: Option<f32>, range: core::ops::RangeInclusive<f32>, default| match value {
            None => Ok(default),
            Some(value) if range.contains(&value) => Ok(value),
            Some(_) => Err(ApiError::parameter(name)),
        };
        let top_k = match self.top_k {
            None | Some(-1 | 0) => None, // other servers write "all" so
            Some(top_k) => Some(usize::try_from(top_k).map_err(|_| ApiError::parameter("top_k"))?),
        };
        Ok(Sampling {
            temperature: within("temperature", self.temperature, 0.0..=2.0, default.temperature)?,
            // The smallest nucleus holds one token; the engine takes no zero.
            top_p: within("top_p", self.top_p, 0.0..=1.0, default.top_p)?.max(f32::MIN_POSITIVE),
            top_k,
            min_p: within("min_p", self.min_p, 0.0..=1.0, default.min_p)?,
            typical_p: within(
                "typical_p",
                self.typical_p,
                f32::MIN_POSITIVE..=1.0,
                default.typical_p,
            )?,
            repetition_penalty: within(
                "repetition_penalty",
                self.repetition_penalty,
                f32::MIN_POSITIVE..=10.0,
                default.repetition_penalty,
            )?,
            frequency_penalty: within("frequency_penalty", self.frequency_penalty, -2.0..=2.0, 0.0)?,
            presence_penalty: within("presence_penalty", self.presence_penalty, -2.0..=2.0, 0.0)?,
            seed: self.seed.map(i64::cast_unsigned),
        })
    }

    /// `tool_choice: none` and an empty list offer nothing.
    fn offered_tools(&mut self) -> Result<Option<OfferedTools>, ApiError> {
        let parallel = self.parallel_tool_calls.unwrap_or(true);
        let choice = match self.tool_choice.take() {
            None => Some(ToolChoice::Auto),
            Some(Json(text)) => ToolChoice::read(&text)?,
        };
        let asked = self.tools.take().map(|Json(text)| text);
        let Some(definitions) = asked.filter(|text| !is_empty_list(text.expose())) else {
            return match choice {
                None | Some(ToolChoice::Auto) => Ok(None),
                Some(_) => Err(ApiError::parameter("tool_choice")),
            };
        };
        Ok(choice.map(|choice| OfferedTools {
            definitions,
            choice,
            parallel,
        }))
    }
}

impl ToolChoice {
    /// A word, or `{"type": "function", "function": {"name": …}}`. `None` is the word `none`.
    fn read(text: &Text) -> Result<Option<Self>, ApiError> {
        #[derive(Deserialize)]
        struct Named {
            #[serde(rename = "type")]
            kind: String,
            function: Option<Function>,
        }
        #[derive(Deserialize)]
        struct Function {
            name: Text,
        }
        match text.expose() {
            "\"auto\"" => return Ok(Some(Self::Auto)),
            "\"required\"" => return Ok(Some(Self::Required)),
            "\"none\"" => return Ok(None),
            _ => {}
        }
        let named: Named =
            serde_json::from_str(text.expose()).map_err(|_| ApiError::parameter("tool_choice"))?;
        match named.function {
            Some(function) if named.kind == "function" => Ok(Some(Self::Function(function.name))),
            _ => Err(ApiError::parameter("tool_choice")),
        }
    }
}

fn is_empty_list(json: &str) -> bool {
    let inside = json.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inside.is_some_and(|inside| inside.trim().is_empty())
}

fn stop(stop: Option<Strings>) -> Result<Vec<Text>, ApiError> {
    let stop = match stop {
        None => Vec::new(),
        Some(Strings::One(text)) => vec![text],
        Some(Strings::Many(texts)) => texts,
    };
    let fits = |text: &Text| (1..=inference::limits::STOP_STRING_BYTES_MAX).contains(&text.expose().len());
    if stop.len() > STOP_MAX || !stop.iter().all(fits) {
        return Err(ApiError::parameter("stop"));
    }
    Ok(stop)
}

fn effort(word: Text) -> Result<Text, ApiError> {
    let letters = word.expose().bytes().all(|byte| byte.is_ascii_lowercase());
    if letters && (1..=EFFORT_BYTES_MAX).contains(&word.expose().len()) {
        Ok(word)
    } else {
        Err(ApiError::parameter("reasoning_effort"))
    }
}

fn cache_key(key: Text) -> Result<Text, ApiError> {
    if (1..=CACHE_KEY_BYTES_MAX).contains(&key.expose().len()) {
        Ok(key)
    } else {
        Err(ApiError::parameter("prompt_cache_key"))
    }
}

#[cfg(test)]
mod tests;
