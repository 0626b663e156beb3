//! Bodies of `/v1/chat/completions` and `/v1/completions`, as OpenAI publishes them.
//!
//! Honoured: `model`, `messages` or `prompt`, `max_tokens`, `max_completion_tokens`, `temperature`, `top_p`, `top_k`
//! (an extension that other servers have), `seed`, `stop`, `stream`, `stream_options.include_usage`.
//! Refused by name when they ask for something: `n`, tools, functions, structured output, log probabilities, biases
//! and penalties, audio, `echo`, `suffix`, `best_of`. Ignored: what does not change the answer (`user`, `store`,
//! `metadata`, …) and what this version does not know.

use inference::{Role, Sampling};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::error::Category;
use wire::ProblemCode;

use super::{ApiError, text::Text};

/// Stop strings of one request, as published.
const STOP_MAX: usize = 4;
/// Default of `max_tokens` at `/v1/completions`, as published.
const TEXT_COMPLETION_TOKENS: usize = 16;

/// What to compute and how to answer.
pub(crate) struct Parameters {
    /// The model asked for.
    pub(crate) model: String,
    /// What to continue.
    pub(crate) input: Input,
    /// How to choose tokens.
    pub(crate) sampling: Sampling,
    /// Where to stop.
    pub(crate) stop: Vec<Text>,
    /// At most this many tokens.
    pub(crate) completion_tokens_max: Option<usize>,
    /// Whether to stream.
    pub(crate) stream: bool,
    /// Whether a stream ends with a usage chunk.
    pub(crate) include_usage: bool,
}

/// The prompt in one of its forms.
pub(crate) enum Input {
    /// A conversation.
    Messages(Vec<(Role, Text)>),
    /// Text to continue.
    Text(Text),
}

impl Input {
    /// Bytes of text in it.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Messages(messages) => messages.iter().map(|(_, text)| text.expose().len()).sum(),
            Self::Text(text) => text.expose().len(),
        }
    }

    fn has_nul(&self) -> bool {
        match self {
            Self::Messages(messages) => messages.iter().any(|(_, text)| text.expose().contains('\0')),
            Self::Text(text) => text.expose().contains('\0'),
        }
    }
}

impl Parameters {
    /// Parameters of a chat completion.
    pub(crate) fn chat(body: &[u8]) -> Result<Self, ApiError> {
        let body: Body = parse(body)?;
        refuse_unsupported(&body)?;
        let messages = body.messages.as_ref().map_or(0, Vec::len);
        if !(1..=inference::limits::MESSAGES_MAX).contains(&messages) || body.prompt.is_some() {
            return Err(ApiError::parameter("messages"));
        }
        let limit = match (body.max_completion_tokens, body.max_tokens) {
            (Some(limit), _) => positive(Some(limit), "max_completion_tokens")?,
            (None, limit) => positive(limit, "max_tokens")?,
        };
        body.finish(limit, "messages", |body| {
            let messages = body.messages.take().unwrap_or_default();
            messages
                .into_iter()
                .map(Message::into_parts)
                .collect::<Result<_, _>>()
                .map(Input::Messages)
        })
    }

    /// Parameters of a text completion.
    pub(crate) fn text(body: &[u8]) -> Result<Self, ApiError> {
        let body: Body = parse(body)?;
        refuse_unsupported(&body)?;
        if body.messages.is_some() {
            return Err(ApiError::parameter("messages"));
        }
        let limit = positive(body.max_tokens, "max_tokens")?.or(Some(TEXT_COMPLETION_TOKENS));
        body.finish(limit, "prompt", |body| match body.prompt.take() {
            Some(Strings::One(text)) => Ok(Input::Text(text)),
            Some(Strings::Many(mut texts)) if texts.len() == 1 => Ok(Input::Text(texts.remove(0))),
            _ => Err(ApiError::parameter("prompt")),
        })
    }
}

fn parse(body: &[u8]) -> Result<Body, ApiError> {
    let text = std::str::from_utf8(body).map_err(|_| ProblemCode::InvalidUtf8)?;
    // The reader's own message may quote the body; only its kind is used.
    serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Data => ProblemCode::InvalidParameter.into(),
        _ => ProblemCode::MalformedRequest.into(),
    })
}

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    messages: Option<Vec<Message>>,
    prompt: Option<Strings>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<i64>,
    seed: Option<i64>,
    stop: Option<Strings>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    n: Option<u64>,
    best_of: Option<u64>,
    #[serde(default)]
    tools: Asks,
    #[serde(default)]
    tool_choice: Asks,
    #[serde(default)]
    functions: Asks,
    #[serde(default)]
    function_call: Asks,
    #[serde(default)]
    response_format: Asks,
    #[serde(default)]
    logprobs: Asks,
    #[serde(default)]
    top_logprobs: Asks,
    #[serde(default)]
    logit_bias: Asks,
    #[serde(default)]
    frequency_penalty: Asks,
    #[serde(default)]
    presence_penalty: Asks,
    #[serde(default)]
    modalities: Asks,
    #[serde(default)]
    audio: Asks,
    #[serde(default)]
    prediction: Asks,
    #[serde(default)]
    web_search_options: Asks,
    #[serde(default)]
    echo: Asks,
    #[serde(default)]
    suffix: Asks,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: Option<Content>,
    #[serde(default)]
    tool_calls: Asks,
    #[serde(default)]
    function_call: Asks,
}

fn refuse_unsupported(body: &Body) -> Result<(), ApiError> {
    let one = |count: Option<u64>| count.is_some_and(|count| count != 1);
    let asked = [
        ("n", one(body.n)),
        ("best_of", one(body.best_of)),
        ("tools", body.tools.0),
        ("tool_choice", body.tool_choice.0),
        ("functions", body.functions.0),
        ("function_call", body.function_call.0),
        ("response_format", body.response_format.0),
        ("logprobs", body.logprobs.0),
        ("top_logprobs", body.top_logprobs.0),
        ("logit_bias", body.logit_bias.0),
        ("frequency_penalty", body.frequency_penalty.0),
        ("presence_penalty", body.presence_penalty.0),
        ("modalities", body.modalities.0),
        ("audio", body.audio.0),
        ("prediction", body.prediction.0),
        ("web_search_options", body.web_search_options.0),
        ("echo", body.echo.0),
        ("suffix", body.suffix.0),
        (
            "stream_options",
            body.stream_options.is_some() && body.stream != Some(true),
        ),
    ];
    match asked.into_iter().find(|(_, asked)| *asked) {
        Some((name, _)) => Err(ApiError::parameter(name)),
        None => Ok(()),
    }
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
        completion_tokens_max: Option<usize>,
        input_name: &'static str,
        input: impl FnOnce(&mut Self) -> Result<Input, ApiError>,
    ) -> Result<Parameters, ApiError> {
        let input = input(&mut self)?;
        if input.has_nul() {
            return Err(ApiError::parameter(input_name));
        }
        let sampling = self.sampling()?;
        let stop = match self.stop {
            None => Vec::new(),
            Some(Strings::One(text)) => vec![text],
            Some(Strings::Many(texts)) => texts,
        };
        let too_long = |text: &Text| text.expose().len() > inference::limits::STOP_STRING_BYTES_MAX;
        if stop.len() > STOP_MAX || stop.iter().any(|text| text.expose().is_empty() || too_long(text)) {
            return Err(ApiError::parameter("stop"));
        }
        Ok(Parameters {
            model: self.model.ok_or(ApiError::parameter("model"))?,
            input,
            sampling,
            stop,
            completion_tokens_max,
            stream: self.stream.unwrap_or(false),
            include_usage: self
                .stream_options
                .and_then(|options| options.include_usage)
                .unwrap_or(false),
        })
    }

    fn sampling(&self) -> Result<Sampling, ApiError> {
        let temperature = self.temperature.unwrap_or(1.0);
        if !(0.0..=2.0).contains(&temperature) {
            return Err(ApiError::parameter("temperature"));
        }
        let top_p = self.top_p.unwrap_or(1.0);
        if !(0.0..=1.0).contains(&top_p) {
            return Err(ApiError::parameter("top_p"));
        }
        let top_k = match self.top_k {
            None | Some(-1 | 0) => None, // other servers write "all" so
            Some(top_k) => Some(usize::try_from(top_k).map_err(|_| ApiError::parameter("top_k"))?),
        };
        // The smallest nucleus holds one token; the engine takes no zero.
        let top_p = top_p.max(f32::MIN_POSITIVE);
        Ok(Sampling {
            temperature,
            top_p,
            top_k,
            seed: self.seed.map(i64::cast_unsigned),
        })
    }
}

impl Message {
    fn into_parts(self) -> Result<(Role, Text), ApiError> {
        let fault = ApiError::parameter("messages");
        if self.tool_calls.0 || self.function_call.0 {
            return Err(fault);
        }
        let role = Role::parse(&self.role).ok_or(fault)?;
        let text = match self.content.ok_or(fault)? {
            Content::Text(text) => text,
            Content::Parts(parts) => {
                let texts = parts
                    .into_iter()
                    .map(|part| if part.kind == "text" { part.text } else { None });
                Text::join(texts.collect::<Option<_>>().ok_or(fault)?)
            }
        };
        Ok((role, text))
    }
}

/// A string, or an array of strings.
enum Strings {
    One(Text),
    Many(Vec<Text>),
}

/// A string, or an array of parts.
enum Content {
    Text(Text),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<Text>,
}

/// Written out because an untagged enum would buffer the text in types that are not wiped.
struct OneOrMany<T>(core::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMany<T> {
    type Value = Result<Text, Vec<T>>;

    fn expecting(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("a string or an array")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Ok(Text::new(text.to_owned())))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(Ok(Text::new(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Err(items))
    }
}

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let strings = deserializer.deserialize_any(OneOrMany(core::marker::PhantomData))?;
        Ok(strings.map_or_else(Self::Many, Self::One))
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let content = deserializer.deserialize_any(OneOrMany(core::marker::PhantomData))?;
        Ok(content.map_or_else(Self::Parts, Self::Text))
    }
}

/// Whether a value asks for something: null, false, zero, the empty ones and the words for the default do not.
#[derive(Default)]
struct Asks(bool);

impl<'de> Deserialize<'de> for Asks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AsksVisitor).map(Self)
    }
}

struct AsksVisitor;

impl<'de> Visitor<'de> for AsksVisitor {
    type Value = bool;

    fn expecting(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
        Ok(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<bool, E> {
        Ok(value != 0)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<bool, E> {
        Ok(value != 0)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<bool, E> {
        Ok(value != 0.0)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<bool, E> {
        Ok(!matches!(value, "" | "none" | "auto" | "text"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<bool, A::Error> {
        let mut asks = false;
        while let Some(Asks(item)) = sequence.next_element()? {
            asks |= item;
        }
        Ok(asks)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut asks = false;
        while let Some((IgnoredAny, Asks(value))) = map.next_entry()? {
            asks |= value;
        }
        Ok(asks)
    }
}

#[cfg(test)]
mod tests;
