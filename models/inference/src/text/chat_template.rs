//! Messages to the one text the model was trained on, by the template that the model ships.
//!
//! The environment is that of transformers: Jinja with `trim_blocks` and `lstrip_blocks`, Python's string and
//! list methods, `tojson` as Python writes it, `raise_exception`, `{% generation %}` without effect. `strftime_now` reads
//! the time that the request carries, and is not there when it carries none: nothing here reads a clock.

use std::io::{self, Write};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use zeroize::Zeroize;

use super::python;
use super::tokenizer::TokenizerFiles;
use crate::error::InferenceError;
use crate::limits::MESSAGES_MAX;
use crate::request::ChatMessage;
use crate::secret::SecretText;
use crate::secret_json::SecretJson;
use crate::tools::{Functions, ToolSyntax};

/// Instructions of the template engine per rendering: a hundred per message at [`MESSAGES_MAX`], and to spare.
const FUEL: u64 = 1_000_000;
const NAME: &str = "chat";

/// A compiled template.
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    begin_token: String,
    end_token: String,
    tool_syntax: Option<ToolSyntax>,
}

/// What a template renders.
pub(crate) struct Conversation<'a> {
    pub(crate) messages: &'a [ChatMessage<'a>],
    pub(crate) functions: Option<&'a Functions>,
    /// Seconds since 1970.
    pub(crate) time: Option<u64>,
    pub(crate) reasoning_effort: Option<&'a str>,
}

impl ChatTemplate {
    /// `None` when the model has no template.
    pub(crate) fn load(files: &TokenizerFiles<'_>) -> Result<Option<Self>, InferenceError> {
        let Some(template) = files.chat_template() else {
            return Ok(None);
        };
        let mut environment = Environment::new();
        environment.set_syntax(syntax());
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_filter("tojson", python::to_json);
        environment
            .add_template_owned(NAME, without_generation_marks(template))
            .map_err(|error| InferenceError::FileMalformed {
                file: "chat_template".to_owned(),
                reason: format!("line {}", error.line().unwrap_or(0)),
            })?;
        Ok(Some(Self {
            environment,
            begin_token: files.begin_token().unwrap_or_default().to_owned(),
            end_token: files.end_token().unwrap_or_default().to_owned(),
            tool_syntax: ToolSyntax::of_template(template),
        }))
    }

    /// How the model writes calls of functions, if the template shows it.
    pub(crate) fn tool_syntax(&self) -> Option<ToolSyntax> {
        self.tool_syntax
    }

    /// Renders up to `bytes_max` bytes, ending where the assistant begins to speak.
    pub(crate) fn render(
        &self,
        conversation: &Conversation<'_>,
        bytes_max: usize,
    ) -> Result<SecretText, InferenceError> {
        if conversation.messages.len() > MESSAGES_MAX {
            return Err(InferenceError::RequestInvalid {
                parameter: "messages",
                expected: "at most 4096",
            });
        }
        let bytes = conversation.messages.iter().map(bytes_of).sum();
        if bytes > bytes_max {
            return Err(InferenceError::PromptTooLong { bytes, bytes_max });
        }
        let messages: Vec<Value> = conversation.messages.iter().map(message).collect();
        let tools = conversation
            .functions
            .map(|functions| Value::from(Serde(functions.expose())));
        let mut context = vec![
            ("messages", Value::from(messages)),
            // transformers passes both, as None when there are none.
            ("tools", tools.unwrap_or_else(|| Value::from(()))),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(true)),
            ("bos_token", Value::from(self.begin_token.as_str())),
            ("eos_token", Value::from(self.end_token.as_str())),
        ];
        if let Some(time) = conversation.time {
            let now = move |format: String| python::strftime(&format, time);
            context.push(("strftime_now", Value::from_function(now)));
        }
        if let Some(effort) = conversation.reasoning_effort {
            context.push(("reasoning_effort", Value::from(effort)));
        }
        let context = Value::from_pairs(context);
        let mut output = BoundedOutput {
            bytes: Vec::with_capacity(2 * bytes + 1024),
            bytes_max,
            refused: None,
        };
        let template = self
            .environment
            .get_template(NAME)
            .map_err(|_| InferenceError::ChatTemplateMissing)?;
        let rendered = template.render_captured_to(context, &mut output).is_ok();
        if let Some(bytes) = output.refused {
            return Err(InferenceError::PromptTooLong { bytes, bytes_max });
        }
        if !rendered {
            return Err(InferenceError::ChatTemplateRefused);
        }
        let text = String::from_utf8(std::mem::take(&mut output.bytes));
        text.map(SecretText::new)
            .map_err(|_| InferenceError::ChatTemplateRefused)
    }
}

fn syntax() -> SyntaxConfig {
    let mut builder = SyntaxConfig::builder();
    builder.trim_blocks(true).lstrip_blocks(true);
    builder
        .build()
        .expect("the delimiters are the default ones, which do not collide")
}

/// transformers marks what the assistant said with a tag of its own; it renders as nothing.
fn without_generation_marks(template: &str) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, tag)) = rest.split_once("{%") {
        out.push_str(before);
        let Some((inside, after)) = tag.split_once("%}") else {
            out.push_str("{%");
            rest = tag;
            continue;
        };
        let word = inside.trim_matches(['-', '+', ' ', '\t', '\r', '\n']);
        if matches!(word, "generation" | "endgeneration") {
            // A comment keeps what the tag says about white space.
            let sign = |at: Option<char>| {
                at.filter(|sign| matches!(sign, '-' | '+'))
                    .map_or(String::new(), String::from)
            };
            out.push_str(&format!(
                "{{#{}{}#}}",
                sign(inside.chars().next()),
                sign(inside.chars().last())
            ));
            rest = after;
        } else {
            out.push_str("{%");
            rest = tag;
        }
    }
    out.push_str(rest);
    out
}

fn bytes_of(message: &ChatMessage<'_>) -> usize {
    let calls = message
        .tool_calls
        .iter()
        .map(|call| call.name.len() + call.arguments.len());
    message.content.len() + calls.sum::<usize>()
}

/// A message with the members that it has.
fn message(message: &ChatMessage<'_>) -> Value {
    let mut members = vec![
        ("role", Value::from(message.role.as_str())),
        ("content", Value::from(message.content)),
    ];
    if !message.tool_calls.is_empty() {
        let calls = message.tool_calls.iter().map(|call| {
            // Templates want the arguments as a mapping; what is none stays text.
            let arguments = SecretJson::parse(call.arguments).filter(|value| value.expose().is_object());
            let arguments = match &arguments {
                Some(arguments) => Value::from(Serde(arguments.expose())),
                None => Value::from(call.arguments),
            };
            context! { id => call.id, type => "function", function => context! { name => call.name, arguments => arguments } }
        });
        members.push(("tool_calls", calls.collect::<Vec<_>>().into()));
    }
    if let Some(id) = message.tool_call_id {
        members.push(("tool_call_id", Value::from(id)));
    }
    if let Some(name) = message.name {
        members.push(("name", Value::from(name)));
    }
    Value::from_pairs(members)
}

/// Collects what the template writes, up to a limit, and wipes it unless it is taken.
struct BoundedOutput {
    bytes: Vec<u8>,
    bytes_max: usize,
    refused: Option<usize>,
}

impl Write for BoundedOutput {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        let needed = self.bytes.len() + part.len();
        if needed > self.bytes_max {
            self.refused = Some(needed);
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        if needed > self.bytes.capacity() {
            let mut grown = Vec::with_capacity(needed.next_power_of_two());
            grown.extend_from_slice(&self.bytes);
            self.bytes.zeroize();
            self.bytes = grown;
        }
        self.bytes.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for BoundedOutput {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

#[cfg(test)]
mod oracle_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelFiles;
    use crate::request::Role;

    pub(super) fn template(source: &str) -> Result<ChatTemplate, InferenceError> {
        let config = serde_json::json!({"bos_token": "<s>", "eos_token": {"content": "</s>"}, "chat_template": source});
        let config = config.to_string();
        let files: ModelFiles<'_> = [
            ("tokenizer.json", &b"{}"[..]),
            ("tokenizer_config.json", config.as_bytes()),
        ]
        .into_iter()
        .collect();
        let files = TokenizerFiles::read(&files)?;
        Ok(ChatTemplate::load(&files)?.expect("the config has a template"))
    }

    fn render_conversation(source: &str, conversation: &Conversation<'_>) -> Result<String, InferenceError> {
        template(source)?
            .render(conversation, 4096)
            .map(|text| text.expose_text().to_owned())
    }

    fn render(source: &str, messages: &[(Role, &str)]) -> Result<String, InferenceError> {
        let messages: Vec<_> = messages
            .iter()
            .map(|(role, content)| ChatMessage::text(*role, content))
            .collect();
        render_conversation(
            source,
            &Conversation {
                messages: &messages,
                functions: None,
                time: None,
                reasoning_effort: None,
            },
        )
    }

    #[test]
    fn the_template_of_llama_2_renders_as_published() {
        let source = "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
            {{ raise_exception('roles must alternate') }}{% endif %}{% if message['role'] == 'user' %}\
            {{ '[INST] ' + message['content'].strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}\
            {{ ' ' + message['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}";
        let messages = [
            (Role::User, " hi <&> "),
            (Role::Assistant, "hello"),
            (Role::User, "again"),
        ];
        assert_eq!(
            render(source, &messages).expect("it renders"),
            "<s>[INST] hi <&> [/INST] hello </s>[INST] again [/INST]"
        );
        let error = render(source, &[(Role::Assistant, "first")]).expect_err("the template refuses");
        assert_eq!(error.code(), "chat-template-refused");
    }

    #[test]
    fn blocks_are_trimmed_and_json_is_as_python_writes_it() {
        let source = "{% for m in messages %}\n  {% if loop.first %}\n{{ m | tojson }}\n  {% endif %}\n{% endfor %}\n{% if add_generation_prompt %}A:{% endif %}";
        let text = render(source, &[(Role::User, "a<b>'é")]).expect("it renders");
        assert_eq!(text, "{\"role\": \"user\", \"content\": \"a<b>'é\"}\nA:");
    }

    #[test]
    fn a_template_without_end_runs_out_of_fuel_or_room() {
        let loops = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
        assert_eq!(
            render(loops, &[]).expect_err("no fuel").code(),
            "chat-template-refused"
        );
        let writes = "{% for a in range(9999) %}xxxxxxxxxxxxxxxxxxxxxx{% endfor %}";
        assert_eq!(
            render(writes, &[]).expect_err("no room").code(),
            "prompt-too-long"
        );
    }

    #[test]
    fn calls_and_their_answers_reach_the_template() {
        let source = "{% for m in messages %}{{ m.role }}{% for c in m.tool_calls %} {{ c.id }} {{ c.function.name }} \
            {{ c.function.arguments | tojson }} {{ c.function.arguments is mapping }}{% endfor %} {{ m.tool_call_id }} {{ m.name }};{% endfor %}\
            {{ tools is none }} {{ strftime_now is defined }} {{ reasoning_effort is defined }}";
        let calls = [
            crate::request::MessageToolCall {
                id: "c1",
                name: "f",
                arguments: "{\"b\": 1, \"a\": [true, null]}",
            },
            crate::request::MessageToolCall {
                id: "c2",
                name: "g",
                arguments: "no json",
            },
        ];
        let asks = ChatMessage {
            tool_calls: &calls,
            ..ChatMessage::text(Role::Assistant, "")
        };
        let answers = ChatMessage {
            tool_call_id: Some("c1"),
            name: Some("f"),
            ..ChatMessage::text(Role::Tool, "5")
        };
        let messages = [asks, answers];
        let conversation = Conversation {
            messages: &messages,
            functions: None,
            time: None,
            reasoning_effort: None,
        };
        assert_eq!(
            render_conversation(source, &conversation).expect("it renders"),
            "assistant c1 f {\"b\": 1, \"a\": [true, null]} True c2 g \"no json\" False  ;tool c1 f;True False False"
        );
    }

    #[test]
    fn the_time_is_that_of_the_request() {
        let source = "{{ strftime_now('%d %b %Y') }} {{ reasoning_effort }}";
        let conversation = Conversation {
            messages: &[],
            functions: None,
            time: Some(784_111_777),
            reasoning_effort: Some("low"),
        };
        assert_eq!(
            render_conversation(source, &conversation).expect("it renders"),
            "06 Nov 1994 low"
        );
        assert_eq!(
            render(source, &[]).expect_err("no clock").code(),
            "chat-template-refused"
        );
    }

    #[test]
    fn marks_of_what_the_assistant_said_render_as_nothing() {
        let source = "a {%- generation -%} {{ 'b' }} {%- endgeneration %}{% if true %} c{% endif %}";
        assert_eq!(render(source, &[]).expect("it renders"), "ab c");
        assert_eq!(without_generation_marks("{% open"), "{% open");
    }

    #[test]
    fn a_broken_template_is_found_at_load() {
        let error = template("{% for %}").err().expect("it is broken");
        assert_eq!(error.code(), "model-file-malformed");
    }
}
