//! Templates with functions against transformers, on what `scripts/oracle-templates` made.

use serde_json::Value;

use super::tests::template;
use super::*;
use crate::request::{MessageToolCall, Role, ToolChoice, Tools};

/// A message of the fixture, owned.
struct Owned {
    role: Role,
    content: String,
    calls: Vec<[String; 3]>,
    tool_call_id: Option<String>,
    name: Option<String>,
}

impl Owned {
    fn read(message: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let calls = message["tool_calls"].as_array().into_iter().flatten();
        Self {
            role: Role::parse(message["role"].as_str().unwrap_or_default()).expect("a known role"),
            content: text(&message["content"]).unwrap_or_default(),
            calls: calls
                .map(|call| {
                    let function = &call["function"];
                    [&call["id"], &function["name"], &function["arguments"]]
                        .map(|value| text(value).unwrap_or_else(|| value.to_string()))
                })
                .collect(),
            tool_call_id: text(&message["tool_call_id"]),
            name: text(&message["name"]),
        }
    }

    fn calls(&self) -> Vec<MessageToolCall<'_>> {
        self.calls
            .iter()
            .map(|[id, name, arguments]| MessageToolCall { id, name, arguments })
            .collect()
    }
}

#[test]
fn templates_render_as_transformers_renders_them() {
    let fixture: Value = serde_json::from_slice(include_bytes!("../../../tests/fixtures/templates.json"))
        .expect("the fixture is JSON");
    let definitions = fixture["tools"].to_string();
    let functions = Functions::read(&Tools {
        definitions: &definitions,
        choice: ToolChoice::Auto,
        parallel: true,
    })
    .expect("they are functions");
    let cases = fixture["cases"].as_array().expect("a list");
    assert!(cases.len() >= 16);
    for case in cases {
        let name = case["name"].as_str().expect("a name");
        let source = fixture["templates"][name].as_str().expect("a template");
        let owned: Vec<Owned> = case["messages"]
            .as_array()
            .expect("a list")
            .iter()
            .map(Owned::read)
            .collect();
        let calls: Vec<Vec<MessageToolCall<'_>>> = owned.iter().map(Owned::calls).collect();
        let messages: Vec<ChatMessage<'_>> = owned
            .iter()
            .zip(&calls)
            .map(|(message, calls)| ChatMessage {
                role: message.role,
                content: &message.content,
                tool_calls: calls,
                tool_call_id: message.tool_call_id.as_deref(),
                name: message.name.as_deref(),
            })
            .collect();
        let with_tools = case["tools"] == true;
        let conversation = Conversation {
            messages: &messages,
            functions: with_tools.then_some(&functions),
            time: fixture["time"].as_u64(),
            reasoning_effort: None,
        };
        let text = template(source)
            .and_then(|template| template.render(&conversation, 1 << 16))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            Some(text.expose_text()),
            case["text"].as_str(),
            "{name}, functions: {with_tools}"
        );
    }
}

#[test]
fn the_published_shapes_tell_their_syntax() {
    let fixture: Value = serde_json::from_slice(include_bytes!("../../../tests/fixtures/templates.json"))
        .expect("the fixture is JSON");
    for (name, syntax) in [
        ("hermes", ToolSyntax::Hermes),
        ("llama", ToolSyntax::Llama),
        ("mistral", ToolSyntax::MistralList),
        ("harmony", ToolSyntax::Harmony),
    ] {
        let source = fixture["templates"][name].as_str().expect("a template");
        assert_eq!(ToolSyntax::of_template(source), Some(syntax), "{name}");
    }
}
