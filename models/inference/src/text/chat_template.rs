//! Messages to the one text the model was trained on, by the template that the model ships.
//!
//! The environment is that of transformers: Jinja with `trim_blocks` and `lstrip_blocks`, Python's string and
//! list methods, `tojson` without HTML escapes, `raise_exception`. `strftime_now` is left out on purpose:
//! nothing here reads a clock, and published templates carry a fixed date for that case.

use std::io::{self, Write};

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use zeroize::Zeroize;

use super::tokenizer::TokenizerFiles;
use crate::error::InferenceError;
use crate::limits::MESSAGES_MAX;
use crate::request::ChatMessage;
use crate::secret::SecretText;

/// Instructions of the template engine per rendering: a hundred per message at [`MESSAGES_MAX`], and to spare.
const FUEL: u64 = 1_000_000;
const NAME: &str = "chat";

/// A compiled template.
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    begin_token: String,
    end_token: String,
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
        environment.add_filter("tojson", to_json);
        environment
            .add_template_owned(NAME, template.to_owned())
            .map_err(|error| InferenceError::FileMalformed {
                file: "chat_template".to_owned(),
                reason: format!("line {}", error.line().unwrap_or(0)),
            })?;
        Ok(Some(Self {
            environment,
            begin_token: files.begin_token().unwrap_or_default().to_owned(),
            end_token: files.end_token().unwrap_or_default().to_owned(),
        }))
    }

    /// Renders up to `bytes_max` bytes, ending where the assistant begins to speak.
    pub(crate) fn render(
        &self,
        messages: &[ChatMessage<'_>],
        bytes_max: usize,
    ) -> Result<SecretText, InferenceError> {
        if messages.len() > MESSAGES_MAX {
            return Err(InferenceError::RequestInvalid {
                parameter: "messages",
                expected: "at most 4096",
            });
        }
        let bytes = messages.iter().map(|message| message.content.len()).sum();
        if bytes > bytes_max {
            return Err(InferenceError::PromptTooLong { bytes, bytes_max });
        }
        let messages: Vec<Value> = messages
            .iter()
            .map(|message| context! { role => message.role.as_str(), content => message.content })
            .collect();
        let context = context! {
            messages => messages,
            add_generation_prompt => true,
            bos_token => self.begin_token.as_str(),
            eos_token => self.end_token.as_str(),
        };
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

/// Python's `json.dumps`, not the HTML-safe form that the template engine has.
fn to_json(value: Value) -> Result<Value, Error> {
    let json = serde_json::to_string(&value);
    json.map(Value::from_safe_string)
        .map_err(|_| Error::new(ErrorKind::BadSerialization, "tojson"))
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
mod tests {
    use super::*;
    use crate::model::ModelFiles;
    use crate::request::Role;

    fn template(source: &str) -> Result<ChatTemplate, InferenceError> {
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

    fn render(source: &str, messages: &[(Role, &str)]) -> Result<String, InferenceError> {
        let messages: Vec<_> = messages
            .iter()
            .map(|(role, content)| ChatMessage { role: *role, content })
            .collect();
        template(source)?
            .render(&messages, 4096)
            .map(|text| text.expose_text().to_owned())
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
    fn blocks_are_trimmed_and_json_is_plain() {
        let source = "{% for m in messages %}\n  {% if loop.first %}\n{{ m | tojson }}\n  {% endif %}\n{% endfor %}\n{% if add_generation_prompt %}A:{% endif %}";
        let text = render(source, &[(Role::User, "a<b>'é")]).expect("it renders");
        assert_eq!(text, "{\"role\":\"user\",\"content\":\"a<b>'é\"}\nA:");
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
    fn a_broken_template_is_found_at_load() {
        let error = template("{% for %}").err().expect("it is broken");
        assert_eq!(error.code(), "model-file-malformed");
    }
}
