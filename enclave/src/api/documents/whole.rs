//! A whole answer: every completion gathered, then one document.

use exchange::Completion;
use inference::{SecretText, TokenLogProbability, Usage};
use serde::Serialize;

use super::{Answer, LogProbabilities, Shape, TextChoice, ToolCallDocument};
use crate::{
    api::secret_buffer::SecretBuffer,
    engine::{Delta, Finish, Said},
};

/// What was said so far.
pub(crate) struct WholeAnswer {
    choices: Vec<Gathered>,
}

#[derive(Default)]
struct Gathered {
    content: SecretBuffer,
    reasoning: SecretBuffer,
    calls: Vec<GatheredCall>,
    log_probabilities: Vec<TokenLogProbability>,
    finish: Option<Finish>,
}

struct GatheredCall {
    id: String,
    name: SecretText,
    arguments: SecretText,
}

#[derive(Serialize)]
struct ChatChoice<'a> {
    index: usize,
    message: ChatMessage<'a>,
    logprobs: Option<LogProbabilities<'a>>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize)]
struct ChatMessage<'a> {
    role: &'static str,
    /// Null where only functions are called.
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    refusal: Option<()>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCallDocument<'a>>,
}

impl WholeAnswer {
    pub(super) fn new(choices: usize) -> Self {
        Self {
            choices: (0..choices).map(|_| Gathered::default()).collect(),
        }
    }

    /// Takes more of a completion.
    pub(crate) fn push(&mut self, delta: Delta) {
        let Some(gathered) = self.choices.get_mut(delta.choice) else {
            return;
        };
        for said in delta.said {
            match said {
                Said::Content(text) => gathered.content.push(text.expose_text().as_bytes()),
                Said::Reasoning(text) => gathered.reasoning.push(text.expose_text().as_bytes()),
                Said::Call {
                    id, name, arguments, ..
                } => gathered.calls.push(GatheredCall { id, name, arguments }),
            }
        }
        gathered.log_probabilities.extend(delta.log_probabilities);
        gathered.finish = gathered.finish.or(delta.finish);
    }

    /// The document.
    pub(crate) fn document(&self, answer: &Answer<'_>, usage: Usage) -> Completion {
        let mut out = SecretBuffer::new();
        let usage = Some(Some(usage.into()));
        let choices = self.choices.iter().enumerate();
        match answer.shape {
            Shape::Chat => {
                let choices: Vec<_> = choices.map(|(index, gathered)| gathered.chat(index)).collect();
                answer.write(&mut out, "chat.completion", &choices, usage);
            }
            Shape::Text => {
                let choices: Vec<_> = choices.map(|(index, gathered)| gathered.text(index)).collect();
                answer.write(&mut out, "text_completion", &choices, usage);
            }
        }
        out.into_completion()
    }
}

impl Gathered {
    fn chat(&self, index: usize) -> ChatChoice<'_> {
        let content = Some(text(&self.content)).filter(|text| !text.is_empty() || self.calls.is_empty());
        let calls = self.calls.iter().map(|call| {
            ToolCallDocument::new(
                None,
                &call.id,
                call.name.expose_text(),
                call.arguments.expose_text(),
            )
        });
        ChatChoice {
            index,
            message: ChatMessage {
                role: "assistant",
                content,
                reasoning_content: Some(text(&self.reasoning)).filter(|text| !text.is_empty()),
                refusal: None,
                tool_calls: calls.collect(),
            },
            logprobs: self.logprobs(Shape::Chat),
            finish_reason: self.finish.map(Finish::as_str),
        }
    }

    fn text(&self, index: usize) -> TextChoice<'_> {
        TextChoice {
            text: text(&self.content),
            index,
            logprobs: self.logprobs(Shape::Text),
            finish_reason: self.finish.map(Finish::as_str),
        }
    }

    fn logprobs(&self, shape: Shape) -> Option<LogProbabilities<'_>> {
        let tokens = self.log_probabilities.as_slice();
        (!tokens.is_empty()).then(|| LogProbabilities::new(shape, tokens))
    }
}

fn text(buffer: &SecretBuffer) -> &str {
    std::str::from_utf8(buffer.expose()).expect("only whole strings were pushed")
}
