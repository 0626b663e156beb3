//! Grammars under which a model can only call a function, or call one or answer in a given form.
//!
//! Each function's arguments are a grammar of their own, so that references inside its schema keep their root.

use super::{Functions, ToolSyntax};
use crate::constraint::{json_rule, literal};
use crate::request::Tools;
use crate::text::Vocabulary;

/// The grammar in the dialect of llguidance. `answer` is the right side of a rule that is allowed instead of a call.
pub(crate) fn required(
    syntax: ToolSyntax,
    functions: &Functions,
    tools: &Tools<'_>,
    answer: Option<&str>,
    vocabulary: &Vocabulary,
    token: impl Fn(&str) -> Option<u32>,
) -> String {
    let mark = |text: &str| mark(text, vocabulary, &token);
    let schemas = functions.schemas(tools.choice);
    let calls: Vec<String> = (0..schemas.len()).map(|index| format!("call_{index}")).collect();
    let mut rules = vec![format!("call: {}", calls.join(" | "))];
    for (index, (name, schema)) in schemas.into_iter().enumerate() {
        let arguments = format!("arguments_{index}");
        let body = |member: &str| {
            let begin = format!("{{\"name\": {}, \"{member}\": ", literal(name));
            format!("{} {arguments} \"}}\"", literal(&begin))
        };
        let call = match syntax {
            ToolSyntax::Hermes => format!(
                "{} \"\\n\" {} \"\\n\" {}",
                mark("<tool_call>"),
                body("arguments"),
                mark("</tool_call>")
            ),
            ToolSyntax::Llama => body("parameters"),
            ToolSyntax::MistralList => body("arguments"),
            ToolSyntax::MistralArgs => format!(
                "{} {} {} {arguments}",
                mark("[TOOL_CALLS]"),
                literal(name),
                mark("[ARGS]")
            ),
            ToolSyntax::Harmony => format!(
                "{} {} {} \"json\" {} {arguments}",
                mark("<|channel|>"),
                literal(&format!("commentary to=functions.{name} ")),
                mark("<|constrain|>"),
                mark("<|message|>")
            ),
        };
        rules.push(format!("call_{index}: {call}"));
        rules.push(format!("{arguments}: {}", json_rule(schema)));
    }
    let several = |between: &str| {
        if tools.parallel {
            format!("call ({between} call)*")
        } else {
            "call".to_owned()
        }
    };
    let calls = match syntax {
        ToolSyntax::Hermes => several("\"\\n\""),
        ToolSyntax::Llama => several("\"; \""),
        ToolSyntax::MistralList => format!("{} \"[\" {} \"]\"", mark("[TOOL_CALLS]"), several("\", \"")),
        ToolSyntax::MistralArgs => {
            if tools.parallel {
                "call+".to_owned()
            } else {
                "call".to_owned()
            }
        }
        ToolSyntax::Harmony => "call".to_owned(),
    };
    rules.insert(0, format!("calls: {calls}"));
    match (syntax, answer) {
        (ToolSyntax::Harmony, answer) => {
            let said = answer.map_or("calls", |_| "calls | final");
            rules.insert(0, format!("start: thought? said\nsaid: {said}"));
            rules.extend(harmony_rules(answer, &mark));
        }
        (_, Some(answer)) => {
            rules.insert(0, "start: calls | answer".to_owned());
            rules.push(format!("answer: {answer}"));
        }
        (_, None) => rules.insert(0, "start: calls".to_owned()),
    }
    rules.join("\n") + "\n"
}

/// An answer in the final channel of gpt-oss, after a thought or without one.
pub(crate) fn harmony_answer(
    answer: &str,
    vocabulary: &Vocabulary,
    token: impl Fn(&str) -> Option<u32>,
) -> String {
    let mark = |text: &str| mark(text, vocabulary, &token);
    let mut rules = vec!["start: thought? final".to_owned()];
    rules.extend(harmony_rules(Some(answer), &mark));
    rules.join("\n") + "\n"
}

fn harmony_rules(answer: Option<&str>, mark: &dyn Fn(&str) -> String) -> Vec<String> {
    let mut rules = vec![
        format!(
            "thought: {} \"analysis\" {} THOUGHT {} {} \"assistant\"",
            mark("<|channel|>"),
            mark("<|message|>"),
            mark("<|end|>"),
            mark("<|start|>")
        ),
        "THOUGHT: /(.|\\n)*/".to_owned(),
    ];
    if let Some(answer) = answer {
        rules.push(format!(
            "final: {} \"final\" {} answer",
            mark("<|channel|>"),
            mark("<|message|>")
        ));
        rules.push(format!("answer: {answer}"));
    }
    rules
}

/// A mark of the syntax: its token where it is a special one, its text otherwise.
fn mark(text: &str, vocabulary: &Vocabulary, token: &dyn Fn(&str) -> Option<u32>) -> String {
    match token(text) {
        Some(token) if vocabulary.bytes(token).1 => format!("<[{token}]>"),
        _ => literal(text),
    }
}
