use super::*;

/// What was said, with parts of one kind joined: contents and reasoning as text, calls as `name(arguments)`.
fn read(syntax: ToolSyntax, parallel: bool, text: &str, characters: usize) -> Vec<String> {
    let mut reader = AnswerReader::new(syntax, parallel);
    let mut all = Vec::new();
    let letters: Vec<char> = text.chars().collect();
    for part in letters.chunks(characters) {
        all.extend(reader.push(&part.iter().collect::<String>()));
    }
    all.extend(reader.finish());
    let mut joined: Vec<(u8, String)> = Vec::new();
    for said in all {
        let (kind, text) = match said {
            Said::Content(text) => (0, text.expose_text().to_owned()),
            Said::Reasoning(text) => (1, format!("thought: {}", text.expose_text())),
            Said::Call(call) => (
                2,
                format!("{}({})", call.name.expose_text(), call.arguments.expose_text()),
            ),
        };
        match joined.last_mut() {
            Some((0, last)) if kind == 0 => last.push_str(&text),
            Some((1, last)) if kind == 1 => last.push_str(&text["thought: ".len()..]),
            _ => joined.push((kind, text)),
        }
    }
    joined.into_iter().map(|(_, text)| text).collect()
}

#[track_caller]
fn check(syntax: ToolSyntax, text: &str, expected: &[&str]) {
    for characters in [1, 2, 3, 7, 1000] {
        assert_eq!(
            read(syntax, true, text, characters),
            expected,
            "in parts of {characters}"
        );
    }
}

#[test]
fn calls_between_tags() {
    let syntax = ToolSyntax::Hermes;
    check(
        syntax,
        "Let me see.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"b\": 1, \"a\": \"</x>é\"}}\n</tool_call>\n\
         <tool_call>{\"name\":\"g\"}</tool_call> \n",
        &["Let me see.\n", "f({\"b\":1,\"a\":\"</x>é\"})", "g({})"],
    );
    check(syntax, "a < b and <tool_cal", &["a < b and <tool_cal"]);
    check(
        syntax,
        "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}",
        &["f({})"],
    );
    check(
        syntax,
        "<tool_call>not json</tool_call> after",
        &["<tool_call>not json</tool_call> after"],
    );
    check(syntax, "<tool_call>{\"name\": ", &["<tool_call>{\"name\": "]);
    check(
        syntax,
        "<tool_call>{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}</tool_call>",
        &["f({\"a\":1})"],
    );
}

#[test]
fn whole_answers_of_llama() {
    let syntax = ToolSyntax::Llama;
    check(
        syntax,
        "{\"name\": \"f\", \"parameters\": {\"a\": [1]}}",
        &["f({\"a\":[1]})"],
    );
    check(
        syntax,
        "<|python_tag|>{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"g\", \"parameters\": {}}",
        &["f({})", "g({})"],
    );
    check(syntax, "Hello {\"name\": 1}", &["Hello {\"name\": 1}"]);
    check(syntax, "{\"answer\": 42}", &["{\"answer\": 42}"]);
    check(syntax, "{\"name\": \"f\", \"para", &["{\"name\": \"f\", \"para"]);
}

#[test]
fn both_forms_of_mistral() {
    check(
        ToolSyntax::MistralList,
        "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": 1}}, {\"name\": \"g\", \"arguments\": {}}]",
        &["f({\"a\":1})", "g({})"],
    );
    check(
        ToolSyntax::MistralArgs,
        "So: [TOOL_CALLS]f[ARGS]{\"a\": 1}[TOOL_CALLS]g[CALL_ID]x12[ARGS]{}",
        &["So: ", "f({\"a\": 1})", "g({})"],
    );
    check(
        ToolSyntax::MistralArgs,
        "[TOOL_CALLS]what is this",
        &["[TOOL_CALLS]what is this"],
    );
}

#[test]
fn channels_of_harmony() {
    let syntax = ToolSyntax::Harmony;
    check(
        syntax,
        "<|channel|>analysis<|message|>Hmm <|x.<|end|><|start|>assistant<|channel|>final<|message|>Yes.",
        &["thought: Hmm <|x.", "Yes."],
    );
    check(
        syntax,
        "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"a\": 1}",
        &["f({\"a\": 1})"],
    );
    check(
        syntax,
        "<|channel|>commentary<|message|>I will look.<|end|><|start|>assistant to=functions.g<|channel|>commentary \
         json<|message|>{}<|call|>",
        &["I will look.", "g({})"],
    );
    check(syntax, "plain", &["plain"]);
}

#[test]
fn a_single_call_is_the_first() {
    let text = "<tool_call>{\"name\":\"f\"}</tool_call><tool_call>{\"name\":\"g\"}</tool_call>";
    assert_eq!(read(ToolSyntax::Hermes, false, text, 5), ["f({})"]);
}

#[test]
fn deep_or_endless_json_is_text() {
    for bomb in ["[".repeat(200_000), "{\"name\":".repeat(50_000)] {
        let text = format!("<tool_call>{bomb}</tool_call>");
        assert_eq!(read(ToolSyntax::Hermes, true, &text, 100_000), [text]);
        assert_eq!(read(ToolSyntax::Llama, true, &bomb, 100_000), [bomb]);
    }
}
