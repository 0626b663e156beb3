//! Calls of functions: forced ones by a model that knows nothing, in every syntax; what the template is given.

mod common;

use common::Files;
use inference::{
    ChatMessage, Constraint, Engine, EngineConfig, FinishReason, GenerateRequest, PromptInput, Role, Said,
    Sampling, ToolChoice, ToolSyntax, Tools,
};
use serde_json::Value;

const DEFINITIONS: &str = r##"[
    {"type":"function","function":{"name":"get_weather","description":"d","strict":true,"parameters":{"type":"object",
     "properties":{"city":{"enum":["Oslo","Rome"]},"unit":{"$ref":"#/$defs/unit"}},"required":["city","unit"],
     "additionalProperties":false,"$defs":{"unit":{"enum":["C","F"]}}}}},
    {"type":"function","function":{"name":"stop","parameters":{"type":"object","properties":{},
     "additionalProperties":false}}}
]"##;

/// What a template shows of each syntax, and which tokens of the fixture become its marks.
const SYNTAXES: [(ToolSyntax, &str, &[&str]); 5] = [
    (ToolSyntax::Hermes, "{% if tools %}<tool_call>{% endif %}", &[]),
    (
        ToolSyntax::Llama,
        "{% if tools %}<|python_tag|>{% endif %}",
        &["<|python_tag|>"],
    ),
    (
        ToolSyntax::MistralList,
        "{% if tools %}[TOOL_CALLS]{% endif %}",
        &["[TOOL_CALLS]"],
    ),
    (
        ToolSyntax::MistralArgs,
        "{% if tools %}[TOOL_CALLS][ARGS]{% endif %}",
        &["[TOOL_CALLS]", "[ARGS]"],
    ),
    (
        ToolSyntax::Harmony,
        "{% if tools %}<|channel|><|message|>{% endif %}",
        &[
            "<|channel|>",
            "<|message|>",
            "<|end|>",
            "<|start|>",
            "<|constrain|>",
        ],
    ),
];

fn engine(template: &str, marks: &[&str]) -> Engine {
    let mut files = Files::endless();
    let template = format!("{template}{{% for m in messages %}}{{{{ m.content }}}}{{% endfor %}}");
    files
        .0
        .insert("chat_template.jinja".to_owned(), template.into_bytes());
    // Special tokens of the fixture, in the order in which they give way.
    let old = ["<|system|>", "<|user|>", "<|assistant|>", "<s>", "</s>"];
    let tokenizer = files.0.get_mut("tokenizer.json").expect("it is there");
    let mut text = String::from_utf8(tokenizer.clone()).expect("it is text");
    for (old, new) in old.into_iter().zip(marks) {
        text = text.replace(&format!("\"{old}\""), &format!("\"{new}\""));
    }
    *tokenizer = text.into_bytes();
    if marks.len() > 3 {
        files.edit("tokenizer.json", |tokenizer| {
            tokenizer.insert("post_processor".into(), Value::Null);
        });
    }
    files
        .load()
        .and_then(|model| model.engine(EngineConfig::default()))
        .expect("the changed fixture loads")
}

fn tools(choice: ToolChoice<'_>, parallel: bool) -> Tools<'_> {
    Tools {
        definitions: DEFINITIONS,
        choice,
        parallel,
    }
}

/// What a model says that was asked something, with its parts as text.
fn ask(
    engine: &Engine,
    tools: fn() -> Option<Tools<'static>>,
    constraint: Option<Constraint<'_>>,
    seed: u64,
) -> (Vec<String>, Option<FinishReason>) {
    let messages = [ChatMessage::text(Role::User, "weather?")];
    let mut generation = engine
        .generate(GenerateRequest {
            tools: tools(),
            constraint,
            completion_tokens_max: Some(400),
            sampling: Sampling {
                seed: Some(seed),
                ..Sampling::default()
            },
            ..GenerateRequest::new(PromptInput::Messages(&messages))
        })
        .unwrap_or_else(|error| panic!("{error}"));
    let mut reader = engine
        .answer_reader(tools().as_ref())
        .expect("functions are offered");
    let mut said = Vec::new();
    for piece in generation.by_ref() {
        said.extend(reader.push(piece.expect("it ends well").text.expose_text()));
    }
    said.extend(reader.finish());
    // Parts of one kind are one.
    let mut parts: Vec<(&str, String)> = Vec::new();
    for said in said {
        let (kind, text) = match said {
            Said::Content(text) => ("content", text.expose_text().to_owned()),
            Said::Reasoning(text) => ("thought", text.expose_text().to_owned()),
            Said::Call(call) => (
                "call",
                format!("{} {}", call.name.expose_text(), call.arguments.expose_text()),
            ),
        };
        match parts.last_mut() {
            Some((last, whole)) if *last == kind && kind != "call" => whole.push_str(&text),
            _ => parts.push((kind, text)),
        }
    }
    let parts = parts.into_iter().map(|(kind, text)| format!("{kind} {text}"));
    (parts.collect(), generation.finish_reason())
}

fn check_call(call: &str) {
    let (name, arguments) = call.split_once(' ').expect("a name and arguments");
    let arguments: Value = serde_json::from_str(arguments).unwrap_or_else(|error| panic!("{error}: {call}"));
    match name {
        "get_weather" => {
            assert!(
                ["Oslo", "Rome"].contains(&arguments["city"].as_str().unwrap_or_default()),
                "{call}"
            );
            assert!(
                ["C", "F"].contains(&arguments["unit"].as_str().unwrap_or_default()),
                "{call}"
            );
        }
        "stop" => assert_eq!(arguments, serde_json::json!({})),
        other => panic!("{other} was not offered"),
    }
}

#[test]
fn a_forced_call_is_one_in_every_syntax() {
    for (syntax, template, marks) in SYNTAXES {
        let engine = engine(template, marks);
        assert_eq!(engine.model().tool_syntax(), Some(syntax));
        let mut finished = 0;
        for seed in 0..6 {
            // A model without an end token goes on calling where it may; every call of it is one.
            let (said, _) = ask(&engine, || Some(tools(ToolChoice::Required, true)), None, seed);
            said.iter()
                .filter_map(|said| said.strip_prefix("call "))
                .for_each(check_call);
            let (said, finish) = ask(&engine, || Some(tools(ToolChoice::Required, false)), None, seed);
            if finish != Some(FinishReason::Stop) {
                continue; // a thought went on until the limit
            }
            finished += 1;
            let last = said.last().and_then(|said| said.strip_prefix("call "));
            check_call(last.unwrap_or_else(|| panic!("{syntax:?}: {said:?}")));
            assert!(
                said.len() == 1 || said[0].starts_with("thought "),
                "{syntax:?}: {said:?}"
            );
            let (said, finish) = ask(
                &engine,
                || Some(tools(ToolChoice::Function("stop"), false)),
                None,
                seed,
            );
            if finish == Some(FinishReason::Stop) {
                let last = said.last().and_then(|said| said.strip_prefix("call "));
                assert!(
                    last.is_some_and(|call| call.starts_with("stop ")),
                    "{syntax:?}: {said:?}"
                );
                last.into_iter().for_each(check_call);
            }
        }
        assert!(finished > 0, "{syntax:?}");
    }
}

#[test]
fn a_form_or_a_call_are_both_possible() {
    let (_, template, marks) = SYNTAXES[0];
    let engine = engine(template, marks);
    let (mut calls, mut forms) = (0, 0);
    for seed in 0..30 {
        let choice = Constraint::Choice(&["yes", "no"]);
        let (said, finish) = ask(
            &engine,
            || Some(tools(ToolChoice::Auto, false)),
            Some(choice),
            seed,
        );
        assert_eq!((said.len(), finish), (1, Some(FinishReason::Stop)), "{said:?}");
        match said[0].strip_prefix("content ") {
            Some(text) => {
                assert!(["yes", "no"].contains(&text), "{text}");
                forms += 1;
            }
            None => {
                check_call(said[0].strip_prefix("call ").expect("a call"));
                calls += 1;
            }
        }
    }
    assert!(calls > 0 && forms > 0, "{calls} {forms}");
}

#[test]
fn channels_keep_their_form_too() {
    let (_, template, marks) = SYNTAXES[4];
    let engine = engine(template, marks);
    let messages = [ChatMessage::text(Role::User, "x")];
    for seed in 0..10 {
        let request = GenerateRequest {
            constraint: Some(Constraint::Choice(&["yes", "no"])),
            completion_tokens_max: Some(200),
            sampling: Sampling {
                seed: Some(seed),
                ..Sampling::default()
            },
            ..GenerateRequest::new(PromptInput::Messages(&messages))
        };
        let mut generation = engine.generate(request).expect("it compiles");
        let said = common::text(&mut generation).expect("it ends well");
        if generation.finish_reason() == Some(FinishReason::Stop) {
            let mut reader = engine.answer_reader(None).expect("channels are always read");
            let mut content = String::new();
            for said in reader.push(&said).into_iter().chain(reader.finish()) {
                if let Said::Content(text) = said {
                    content.push_str(text.expose_text());
                }
            }
            assert!(["yes", "no"].contains(&content.as_str()), "{said}");
        }
    }
}

#[test]
fn models_and_prompts_without_a_syntax_take_no_functions() {
    let plain = engine("", &[]);
    let messages = [ChatMessage::text(Role::User, "x")];
    let refused = |engine: &Engine, prompt| {
        let request = GenerateRequest {
            tools: Some(tools(ToolChoice::Auto, true)),
            ..GenerateRequest::new(prompt)
        };
        engine.generate(request).err().expect("refused").code()
    };
    assert_eq!(
        refused(&plain, PromptInput::Messages(&messages)),
        "tools-unsupported"
    );
    let hermes = engine(SYNTAXES[0].1, &[]);
    assert_eq!(refused(&hermes, PromptInput::Text("x")), "tools-unsupported");
}
