//! Finds calls in what a model says, as it says it.
//!
//! Text that can still become a mark is held back; a call is handed on when it is whole. What looks like a call and
//! is none (JSON that does not parse) is text, and is handed on as it was said.

use serde_json::Value;

use super::ToolSyntax;
use super::harmony::HarmonyReader;
use crate::secret::SecretText;
use crate::secret_json::SecretJson;
use crate::text::longest_overlap;

/// A part of an answer.
pub enum Said {
    /// For the person.
    Content(SecretText),
    /// What the model thought before it answered (gpt-oss).
    Reasoning(SecretText),
    /// A call.
    Call(ToolCall),
}

/// A call of a function, as the model wrote it. Whether the function was offered and the arguments fit its schema is
/// certain only when the request forced the call.
pub struct ToolCall {
    /// Which function.
    pub name: SecretText,
    /// JSON.
    pub arguments: SecretText,
}

/// Reads one completion.
pub struct AnswerReader {
    syntax: ToolSyntax,
    state: State,
    /// Whether calls after the first are dropped.
    single: bool,
    calls: usize,
}

enum State {
    Marked(MarkedReader),
    Llama(LlamaReader),
    Harmony(HarmonyReader),
}

impl AnswerReader {
    /// A reader of that syntax. With `parallel` unset, calls after the first are dropped.
    pub(crate) fn new(syntax: ToolSyntax, parallel: bool) -> Self {
        let state = match syntax {
            ToolSyntax::Hermes => State::Marked(MarkedReader::new("<tool_call>", Some("</tool_call>"))),
            ToolSyntax::MistralList | ToolSyntax::MistralArgs => {
                State::Marked(MarkedReader::new("[TOOL_CALLS]", None))
            }
            ToolSyntax::Llama => State::Llama(LlamaReader::default()),
            ToolSyntax::Harmony => State::Harmony(HarmonyReader::default()),
        };
        Self {
            syntax,
            state,
            single: !parallel,
            calls: 0,
        }
    }

    /// The syntax that it reads.
    pub fn syntax(&self) -> ToolSyntax {
        self.syntax
    }

    /// Adds text of the completion; gives what is certain.
    pub fn push(&mut self, text: &str) -> Vec<Said> {
        let said = match &mut self.state {
            State::Marked(reader) => reader.push(text),
            State::Llama(reader) => reader.push(text),
            State::Harmony(reader) => reader.push(text),
        };
        self.count(said)
    }

    /// Gives what was held back when the completion has ended.
    pub fn finish(&mut self) -> Vec<Said> {
        let said = match &mut self.state {
            State::Marked(reader) => reader.finish(),
            State::Llama(reader) => reader.finish(),
            State::Harmony(reader) => reader.finish(),
        };
        self.count(said)
    }

    /// How many calls it gave.
    pub fn calls(&self) -> usize {
        self.calls
    }

    fn count(&mut self, mut said: Vec<Said>) -> Vec<Said> {
        said.retain(|said| match said {
            Said::Call(_) => {
                let first = self.calls == 0;
                if first || !self.single {
                    self.calls += 1;
                }
                first || !self.single
            }
            Said::Content(text) | Said::Reasoning(text) => !text.is_empty(),
        });
        said
    }
}

/// Calls behind a mark: Hermes ends them with another, Mistral with the completion.
struct MarkedReader {
    begin: &'static str,
    end: Option<&'static str>,
    inside: bool,
    /// A call came last: white space is not text yet.
    after_call: bool,
    held: SecretText,
}

impl MarkedReader {
    fn new(begin: &'static str, end: Option<&'static str>) -> Self {
        Self {
            begin,
            end,
            inside: false,
            after_call: false,
            held: SecretText::new(String::new()),
        }
    }

    fn push(&mut self, text: &str) -> Vec<Said> {
        self.held.push_str(text);
        let mut said = Vec::new();
        loop {
            // Between Mistral's calls stands the mark of the next one.
            let border = if self.inside {
                self.end.unwrap_or(self.begin)
            } else {
                self.begin
            };
            let Some(at) = self.held.expose_text().find(border) else {
                break;
            };
            let before = self.held.take_front(at);
            drop(self.held.take_front(border.len()));
            if self.inside {
                self.call(&before, true, &mut said);
                self.inside = self.end.is_none();
            } else {
                self.content(&before, &mut said);
                self.inside = true;
            }
        }
        if !self.inside {
            let held = self.held.expose_text();
            let ready = held.len() - longest_overlap(held, self.begin);
            let text = self.held.take_front(ready);
            self.content(&text, &mut said);
        }
        said
    }

    fn finish(&mut self) -> Vec<Said> {
        let mut said = Vec::new();
        let rest = self.held.take_front(self.held.len());
        if self.inside {
            self.call(&rest, false, &mut said);
        } else {
            self.content(&rest, &mut said);
        }
        said
    }

    fn content(&mut self, text: &SecretText, said: &mut Vec<Said>) {
        let text = text.expose_text();
        let text = if self.after_call { text.trim_start() } else { text };
        if !text.is_empty() {
            self.after_call = false;
            said.push(Said::Content(SecretText::new(text.to_owned())));
        }
    }

    fn call(&mut self, text: &SecretText, ended: bool, said: &mut Vec<Said>) {
        match calls(text.expose_text()) {
            Some(calls) => {
                self.after_call = true;
                said.extend(calls.into_iter().map(Said::Call));
            }
            None => {
                let end = if ended { self.end.unwrap_or_default() } else { "" };
                let verbatim = [self.begin, text.expose_text(), end].concat();
                said.push(Said::Content(SecretText::new(verbatim)));
            }
        }
    }
}

/// Llama 3: an answer that begins as a call is one to its end.
#[derive(Default)]
struct LlamaReader {
    kind: LlamaAnswer,
    held: Option<SecretText>,
}

#[derive(Default, PartialEq, Eq)]
enum LlamaAnswer {
    #[default]
    Unknown,
    Text,
    Calls,
}

/// Before a call, in the models that were told of an interpreter.
const PYTHON_TAG: &str = "<|python_tag|>";

impl LlamaReader {
    fn push(&mut self, text: &str) -> Vec<Said> {
        if self.kind == LlamaAnswer::Text {
            return vec![Said::Content(SecretText::new(text.to_owned()))];
        }
        let held = self.held.get_or_insert_with(|| SecretText::new(String::new()));
        held.push_str(text);
        if self.kind == LlamaAnswer::Unknown {
            let begin = held.expose_text().trim_start();
            if begin.starts_with('{') || begin.starts_with(PYTHON_TAG) {
                self.kind = LlamaAnswer::Calls;
            } else if !PYTHON_TAG.starts_with(begin) {
                self.kind = LlamaAnswer::Text;
                return vec![Said::Content(held.take_front(held.len()))];
            }
        }
        Vec::new()
    }

    fn finish(&mut self) -> Vec<Said> {
        let Some(held) = self.held.take() else {
            return Vec::new();
        };
        let text = held.expose_text().trim_start();
        match calls(text.strip_prefix(PYTHON_TAG).unwrap_or(text)) {
            Some(calls) if self.kind == LlamaAnswer::Calls => calls.into_iter().map(Said::Call).collect(),
            _ => vec![Said::Content(held)],
        }
    }
}

/// `{"name", "arguments"}` once or several times with `;`, `,` or space between, a list of them, or `name[ARGS]{…}`.
fn calls(text: &str) -> Option<Vec<ToolCall>> {
    let mut rest = text.trim();
    if !rest.starts_with(['{', '[']) {
        return named(rest).map(|call| vec![call]);
    }
    let mut found = Vec::new();
    while !rest.is_empty() {
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        let value = SecretJson::new(values.next()?.ok()?);
        rest = rest
            .get(values.byte_offset()..)?
            .trim_start_matches([';', ',', ' ', '\n', '\r', '\t']);
        match value.expose() {
            Value::Array(list) => {
                for call in list {
                    found.push(of_object(call)?);
                }
            }
            call => found.push(of_object(call)?),
        }
    }
    (!found.is_empty()).then_some(found)
}

fn of_object(call: &Value) -> Option<ToolCall> {
    let call = call
        .get("function")
        .filter(|function| function.is_object())
        .unwrap_or(call);
    let name = call.get("name")?.as_str()?;
    let arguments = call.get("arguments").or_else(|| call.get("parameters"));
    let arguments = match arguments {
        None | Some(Value::Null) => "{}".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    Some(ToolCall {
        name: SecretText::new(name.to_owned()),
        arguments: SecretText::new(arguments),
    })
}

/// `name[ARGS]{…}`, `name[CALL_ID]id[ARGS]{…}` and `name{…}`
fn named(text: &str) -> Option<ToolCall> {
    let (head, arguments) = text.split_at(text.find('{')?);
    let name = head.split('[').next()?.trim();
    let known = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    let whole = SecretJson::parse(arguments).is_some_and(|value| value.expose().is_object());
    (known && whole).then(|| ToolCall {
        name: SecretText::new(name.to_owned()),
        arguments: SecretText::new(arguments.trim().to_owned()),
    })
}

#[cfg(test)]
mod tests;
