//! What the client reads: the JSON of the OpenAI API, written straight into wiped buffers.

use exchange::Completion;
use inference::{FinishReason, Usage};
use serde::Serialize;

use super::secret_buffer::SecretBuffer;

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
    include_usage: bool,
}

#[derive(Serialize)]
struct Document<'a, C: Serialize> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: &'a [C],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<UsageDocument>>,
}

#[derive(Serialize, Clone, Copy)]
struct UsageDocument {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
}

#[derive(Serialize)]
struct ChatChoice<'a> {
    index: u32,
    message: ChatMessage<'a>,
    logprobs: Option<()>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct ChatMessage<'a> {
    role: &'static str,
    content: &'a str,
    refusal: Option<()>,
}

#[derive(Serialize)]
struct ChatChunkChoice<'a> {
    index: u32,
    delta: Delta<'a>,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize, Default)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

#[derive(Serialize)]
struct TextChoice<'a> {
    text: &'a str,
    index: u32,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize)]
struct Nothing {}

impl<'a> Answer<'a> {
    /// An answer with a random id.
    pub(crate) fn new(
        shape: Shape,
        random: &[u8; 16],
        created: u64,
        model: &'a str,
        include_usage: bool,
    ) -> Self {
        let prefix = match shape {
            Shape::Chat => "chatcmpl-",
            Shape::Text => "cmpl-",
        };
        Self {
            shape,
            id: format!("{prefix}{}", hex::encode(random)),
            created,
            model,
            include_usage,
        }
    }

    /// The whole answer as one document. `text` is UTF-8, as the engine's pieces are.
    pub(crate) fn whole(&self, text: &CompletionText, finish: FinishReason, usage: Usage) -> Completion {
        let mut out = SecretBuffer::new();
        let (text, finish_reason) = (text.expose(), finish.as_str());
        let usage = Some(Some(usage.into()));
        match self.shape {
            Shape::Chat => {
                let message = ChatMessage {
                    role: "assistant",
                    content: text,
                    refusal: None,
                };
                let choice = ChatChoice {
                    index: 0,
                    message,
                    logprobs: None,
                    finish_reason,
                };
                self.write(&mut out, "chat.completion", &[choice], usage);
            }
            Shape::Text => {
                let choice = TextChoice {
                    text,
                    index: 0,
                    logprobs: None,
                    finish_reason: Some(finish_reason),
                };
                self.write(&mut out, "text_completion", &[choice], usage);
            }
        }
        out.into_completion()
    }

    /// The first event of a stream: the role. A text completion has none.
    pub(crate) fn opening(&self) -> Completion {
        let mut out = SecretBuffer::new();
        if self.shape == Shape::Chat {
            self.chunk(
                &mut out,
                Delta {
                    role: Some("assistant"),
                    content: Some(""),
                },
                None,
            );
        }
        out.into_completion()
    }

    /// One event with a piece of the completion.
    pub(crate) fn piece(&self, text: &CompletionText) -> Completion {
        let mut out = SecretBuffer::new();
        match self.shape {
            Shape::Chat => self.chunk(
                &mut out,
                Delta {
                    role: None,
                    content: Some(text.expose()),
                },
                None,
            ),
            Shape::Text => self.text_chunk(&mut out, text.expose(), None),
        }
        out.into_completion()
    }

    /// The last events of a stream: why it ended, usage if it was asked for, and the mark of the end.
    pub(crate) fn closing(&self, finish: FinishReason, usage: Usage) -> Completion {
        let mut out = SecretBuffer::new();
        match self.shape {
            Shape::Chat => self.chunk(&mut out, Delta::default(), Some(finish.as_str())),
            Shape::Text => self.text_chunk(&mut out, "", Some(finish.as_str())),
        }
        if self.include_usage {
            self.event(
                &mut out,
                self.chunk_object(),
                &[] as &[Nothing],
                Some(Some(usage.into())),
            );
        }
        out.push(b"data: [DONE]\n\n");
        out.into_completion()
    }

    fn chunk(&self, out: &mut SecretBuffer, delta: Delta<'_>, finish_reason: Option<&'static str>) {
        let choice = ChatChunkChoice {
            index: 0,
            delta,
            logprobs: None,
            finish_reason,
        };
        self.event(out, self.chunk_object(), &[choice], self.no_usage_yet());
    }

    fn text_chunk(&self, out: &mut SecretBuffer, text: &str, finish_reason: Option<&'static str>) {
        let choice = TextChoice {
            text,
            index: 0,
            logprobs: None,
            finish_reason,
        };
        self.event(out, self.chunk_object(), &[choice], self.no_usage_yet());
    }

    fn chunk_object(&self) -> &'static str {
        match self.shape {
            Shape::Chat => "chat.completion.chunk",
            Shape::Text => "text_completion",
        }
    }

    /// With `include_usage` every chunk but the last says `"usage":null`.
    fn no_usage_yet(&self) -> Option<Option<UsageDocument>> {
        self.include_usage.then_some(None)
    }

    fn event<C: Serialize>(
        &self,
        out: &mut SecretBuffer,
        object: &'static str,
        choices: &[C],
        usage: Option<Option<UsageDocument>>,
    ) {
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
            choices,
            usage,
        };
        serde_json::to_writer(out, &document).expect("strings and numbers are always JSON");
    }
}

impl From<Usage> for UsageDocument {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.prompt_tokens + usage.completion_tokens,
        }
    }
}

/// Text gathered from the engine's pieces: whole characters, wiped when dropped.
pub(crate) struct CompletionText(SecretBuffer);

impl CompletionText {
    /// No text yet.
    pub(crate) fn new() -> Self {
        Self(SecretBuffer::new())
    }

    /// Appends a piece.
    pub(crate) fn push(&mut self, piece: &str) {
        self.0.push(piece.as_bytes());
    }

    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.expose().is_empty()
    }

    fn expose(&self) -> &str {
        std::str::from_utf8(self.0.expose()).expect("only whole strings were pushed")
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
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const USAGE: Usage = Usage {
        prompt_tokens: 3,
        completion_tokens: 4,
    };

    fn text(text: &str) -> CompletionText {
        let mut buffer = CompletionText::new();
        buffer.push(text);
        buffer
    }

    fn events(completion: &Completion) -> Vec<Value> {
        let text = std::str::from_utf8(completion.expose()).unwrap_or_default();
        let events = text
            .split_terminator("\n\n")
            .map(|event| event.strip_prefix("data: ").unwrap_or_default());
        events
            .map(|event| serde_json::from_str(event).unwrap_or(Value::String(event.to_owned())))
            .collect()
    }

    #[test]
    fn a_whole_chat_is_the_published_document() {
        let answer = Answer::new(Shape::Chat, &[0xab; 16], 17, "m", false);
        let body = answer.whole(&text("say \"hi\"\n"), FinishReason::Stop, USAGE);
        let document: Value = serde_json::from_slice(body.expose()).unwrap_or_default();
        assert_eq!(
            document,
            json!({
                "id": "chatcmpl-abababababababababababababababab", "object": "chat.completion", "created": 17,
                "model": "m",
                "choices": [{"index": 0, "message": {"role": "assistant", "content": "say \"hi\"\n", "refusal": null},
                             "logprobs": null, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
            })
        );
    }

    #[test]
    fn a_chat_stream_is_role_pieces_reason_done() {
        let answer = Answer::new(Shape::Chat, &[0; 16], 17, "m", false);
        let opening = events(&answer.opening());
        assert_eq!(
            opening[0]["choices"][0]["delta"],
            json!({"role": "assistant", "content": ""})
        );
        assert_eq!(opening[0]["object"], "chat.completion.chunk");
        let piece = events(&answer.piece(&text("x")));
        assert_eq!(piece[0]["choices"][0]["delta"], json!({"content": "x"}));
        assert_eq!(piece[0]["choices"][0]["finish_reason"], Value::Null);
        assert!(piece[0].get("usage").is_none());
        let closing = events(&answer.closing(FinishReason::Length, USAGE));
        assert_eq!(closing[0]["choices"][0]["finish_reason"], "length");
        assert_eq!(closing[0]["choices"][0]["delta"], json!({}));
        assert_eq!(closing[1], Value::String("[DONE]".to_owned()));
    }

    #[test]
    fn usage_comes_last_when_it_is_asked_for() {
        let answer = Answer::new(Shape::Chat, &[0; 16], 17, "m", true);
        assert_eq!(
            events(&answer.piece(&text("x")))[0].get("usage"),
            Some(&Value::Null)
        );
        let closing = events(&answer.closing(FinishReason::Stop, USAGE));
        assert_eq!(closing[1]["choices"], json!([]));
        assert_eq!(closing[1]["usage"]["total_tokens"], 7);
        assert_eq!(closing.len(), 3);
    }

    #[test]
    fn a_text_completion_has_its_own_shape() {
        let answer = Answer::new(Shape::Text, &[0; 16], 17, "m", false);
        let document: Value =
            serde_json::from_slice(answer.whole(&text("x"), FinishReason::Stop, USAGE).expose())
                .unwrap_or_default();
        assert_eq!(document["object"], "text_completion");
        assert_eq!(document["choices"][0]["text"], "x");
        assert!(answer.opening().expose().is_empty());
        assert_eq!(events(&answer.piece(&text("y")))[0]["choices"][0]["text"], "y");
    }

    #[test]
    fn an_error_in_a_stream_is_an_error_object() {
        let event = events(&error_event(wire::ProblemCode::Internal));
        assert_eq!(event[0]["error"]["code"], "internal");
    }

    #[test]
    fn models_are_listed() {
        let list: Value = serde_json::from_slice(models(&["m"], 5).expose()).unwrap_or_default();
        assert_eq!(
            list,
            json!({"object": "list", "data": [{"id": "m", "object": "model", "created": 5, "owned_by": "adyton"}]})
        );
    }
}
