//! What the client reads: the JSON of the OpenAI API, written straight into wiped buffers.

mod log_probabilities;
mod whole;

use exchange::Completion;
use inference::Usage;
use serde::Serialize;

use self::log_probabilities::LogProbabilities;
pub(crate) use self::whole::WholeAnswer;
use super::secret_buffer::SecretBuffer;
use crate::engine::{Delta, Finish, Said};

/// Which of the two endpoints answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/completions`
    Text,
}

/// What all documents of one answer have in common.
pub(crate) struct Answer<'a> {
    shape: Shape,
    id: String,
    created: u64,
    model: &'a str,
    system_fingerprint: &'a str,
    choices: usize,
    include_usage: bool,
}

/// How an answer is to be written.
pub(crate) struct AnswerOptions<'a> {
    /// Which endpoint.
    pub(crate) shape: Shape,
    /// Of this answer only.
    pub(crate) random: [u8; 16],
    /// Seconds since 1970.
    pub(crate) created: u64,
    /// The model's id.
    pub(crate) model: &'a str,
    /// What the weights are.
    pub(crate) system_fingerprint: &'a str,
    /// How many completions.
    pub(crate) choices: usize,
    /// Whether a stream ends with a usage chunk.
    pub(crate) include_usage: bool,
}

#[derive(Serialize)]
struct Document<'a, C: Serialize> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'a str,
    choices: &'a [C],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<UsageDocument>>,
}

#[derive(Serialize, Clone, Copy)]
struct UsageDocument {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Option<PromptTokensDocument>,
}

/// There when something was found under the request's `prompt_cache_key`.
#[derive(Serialize, Clone, Copy)]
struct PromptTokensDocument {
    cached_tokens: usize,
}

#[derive(Serialize)]
struct ChatChunkChoice<'a> {
    index: usize,
    delta: DeltaDocument<'a>,
    logprobs: Option<LogProbabilities<'a>>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize, Default)]
struct DeltaDocument<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[ToolCallDocument<'a>; 1]>,
}

#[derive(Serialize)]
struct ToolCallDocument<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    id: &'a str,
    r#type: &'static str,
    function: FunctionDocument<'a>,
}

#[derive(Serialize)]
struct FunctionDocument<'a> {
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize)]
struct TextChoice<'a> {
    text: &'a str,
    index: usize,
    logprobs: Option<LogProbabilities<'a>>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize)]
struct Nothing {}

impl<'a> Answer<'a> {
    /// An answer with a random id.
    pub(crate) fn new(options: AnswerOptions<'a>) -> Self {
        let prefix = match options.shape {
            Shape::Chat => "chatcmpl-",
            Shape::Text => "cmpl-",
        };
        Self {
            shape: options.shape,
            id: format!("{prefix}{}", hex::encode(options.random)),
            created: options.created,
            model: options.model,
            system_fingerprint: options.system_fingerprint,
            choices: options.choices,
            include_usage: options.include_usage,
        }
    }

    /// Gathers the whole answer.
    pub(crate) fn gather(&self) -> WholeAnswer {
        WholeAnswer::new(self.choices)
    }

    /// The first events of a stream: the role of each completion. Text completions have none.
    pub(crate) fn opening(&self) -> Completion {
        let mut out = SecretBuffer::new();
        if self.shape == Shape::Chat {
            for index in 0..self.choices {
                let delta = DeltaDocument {
                    role: Some("assistant"),
                    content: Some(""),
                    ..DeltaDocument::default()
                };
                self.chat_chunk(&mut out, index, delta, None, None);
            }
        }
        out.into_completion()
    }

    /// Events with more of one completion: one for each kind of what was said, one for how it ended.
    pub(crate) fn delta(&self, delta: &Delta) -> Completion {
        let mut out = SecretBuffer::new();
        let mut told = (!delta.log_probabilities.is_empty()).then_some(delta.log_probabilities.as_slice());
        for said in &delta.said {
            let logprobs = told.take().map(|told| LogProbabilities::new(self.shape, told));
            match self.shape {
                Shape::Chat => {
                    self.chat_chunk(&mut out, delta.choice, DeltaDocument::of(said), logprobs, None);
                }
                Shape::Text => {
                    if let Said::Content(text) = said {
                        self.text_chunk(&mut out, delta.choice, text.expose_text(), logprobs, None);
                    }
                }
            }
        }
        if let Some(finish) = delta.finish {
            let logprobs = told.take().map(|told| LogProbabilities::new(self.shape, told));
            self.last_chunk(&mut out, delta.choice, logprobs, finish);
        }
        out.into_completion()
    }

    /// The last events of a stream: usage if it was asked for, and the mark of the end.
    pub(crate) fn closing(&self, usage: Usage) -> Completion {
        let mut out = SecretBuffer::new();
        if self.include_usage {
            self.event(&mut out, &[] as &[Nothing], Some(Some(usage.into())));
        }
        out.push(b"data: [DONE]\n\n");
        out.into_completion()
    }

    fn last_chunk(
        &self,
        out: &mut SecretBuffer,
        index: usize,
        logprobs: Option<LogProbabilities<'_>>,
        finish: Finish,
    ) {
        let finish = Some(finish.as_str());
        match self.shape {
            Shape::Chat => self.chat_chunk(out, index, DeltaDocument::default(), logprobs, finish),
            Shape::Text => self.text_chunk(out, index, "", logprobs, finish),
        }
    }

    fn chat_chunk(
        &self,
        out: &mut SecretBuffer,
        index: usize,
        delta: DeltaDocument<'_>,
        logprobs: Option<LogProbabilities<'_>>,
        finish_reason: Option<&'static str>,
    ) {
        let choice = ChatChunkChoice {
            index,
            delta,
            logprobs,
            finish_reason,
        };
        self.event(out, &[choice], self.no_usage_yet());
    }

    fn text_chunk(
        &self,
        out: &mut SecretBuffer,
        index: usize,
        text: &str,
        logprobs: Option<LogProbabilities<'_>>,
        finish_reason: Option<&'static str>,
    ) {
        let choice = TextChoice {
            text,
            index,
            logprobs,
            finish_reason,
        };
        self.event(out, &[choice], self.no_usage_yet());
    }

    /// With `include_usage` every chunk but the last says `"usage":null`.
    fn no_usage_yet(&self) -> Option<Option<UsageDocument>> {
        self.include_usage.then_some(None)
    }

    fn event<C: Serialize>(
        &self,
        out: &mut SecretBuffer,
        choices: &[C],
        usage: Option<Option<UsageDocument>>,
    ) {
        let object = match self.shape {
            Shape::Chat => "chat.completion.chunk",
            Shape::Text => "text_completion",
        };
        out.push(b"data: ");
        self.write(out, object, choices, usage);
        out.push(b"\n\n");
    }

    fn write<C: Serialize>(
        &self,
        out: &mut SecretBuffer,
        object: &'static str,
        choices: &[C],
        usage: Option<Option<UsageDocument>>,
    ) {
        let document = Document {
            id: &self.id,
            object,
            created: self.created,
            model: self.model,
            system_fingerprint: self.system_fingerprint,
            choices,
            usage,
        };
        serde_json::to_writer(out, &document).expect("strings and numbers are always JSON");
    }
}

impl<'a> DeltaDocument<'a> {
    fn of(said: &'a Said) -> Self {
        let nothing = Self::default();
        match said {
            Said::Content(text) => Self {
                content: Some(text.expose_text()),
                ..nothing
            },
            Said::Reasoning(text) => Self {
                reasoning_content: Some(text.expose_text()),
                ..nothing
            },
            Said::Call {
                index,
                id,
                name,
                arguments,
            } => Self {
                tool_calls: Some([ToolCallDocument::new(
                    Some(*index),
                    id,
                    name.expose_text(),
                    arguments.expose_text(),
                )]),
                ..nothing
            },
        }
    }
}

impl<'a> ToolCallDocument<'a> {
    fn new(index: Option<usize>, id: &'a str, name: &'a str, arguments: &'a str) -> Self {
        Self {
            index,
            id,
            r#type: "function",
            function: FunctionDocument { name, arguments },
        }
    }
}

impl From<Usage> for UsageDocument {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.prompt_tokens + usage.completion_tokens,
            prompt_tokens_details: (usage.cached_tokens > 0).then_some(PromptTokensDocument {
                cached_tokens: usage.cached_tokens,
            }),
        }
    }
}

/// An error inside a stream that had begun; the stream ends after it.
pub(crate) fn error_event(code: wire::ProblemCode) -> Completion {
    let mut out = SecretBuffer::new();
    out.push(b"data: ");
    out.push(&code.openai_body(None));
    out.push(b"\n\n");
    out.into_completion()
}

#[derive(Serialize)]
struct ModelDocument<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

impl<'a> ModelDocument<'a> {
    fn new(id: &'a str, created: u64) -> Self {
        Self {
            id,
            object: "model",
            created,
            owned_by: "adyton",
        }
    }
}

/// `GET /v1/models`: the models that the token allows.
pub(crate) fn models(ids: &[&str], created: u64) -> Completion {
    #[derive(Serialize)]
    struct List<'a> {
        object: &'static str,
        data: Vec<ModelDocument<'a>>,
    }
    let data = ids.iter().map(|id| ModelDocument::new(id, created)).collect();
    let list = List { object: "list", data };
    Completion::new(serde_json::to_vec(&list).expect("strings and numbers are always JSON"))
}

/// `GET /v1/models/{id}`
pub(crate) fn model(id: &str, created: u64) -> Completion {
    let document = ModelDocument::new(id, created);
    Completion::new(serde_json::to_vec(&document).expect("strings and numbers are always JSON"))
}

#[cfg(test)]
mod tests;
