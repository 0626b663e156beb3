//! Every parameter that is known, and what becomes of it: the table of docs/api.md, and what the reader does.

use core::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use wire::ProblemCode;

use super::asks::Asks;
use crate::api::{ApiError, documents::Shape};

/// What becomes of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It does what is published.
    Honoured,
    /// A value that asks for something is refused by name.
    Refused,
    /// It cannot change the answer, so it is accepted whatever it says.
    Ignored,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Honoured => "yes",
            Self::Refused => "refused",
            Self::Ignored => "ignored",
        })
    }
}

/// One parameter.
pub(crate) struct Row {
    /// As it is written.
    pub(crate) name: &'static str,
    /// At `/v1/chat/completions`.
    pub(crate) chat: Verdict,
    /// At `/v1/completions`.
    pub(crate) text: Verdict,
    /// Values that are taken, and the default.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "docs/api.md shows it, and a test compares")
    )]
    pub(crate) bounds: &'static str,
}

const fn row(name: &'static str, chat: Verdict, text: Verdict, bounds: &'static str) -> Row {
    Row {
        name,
        chat,
        text,
        bounds,
    }
}

use Verdict::{Honoured as H, Ignored as I, Refused as R};

/// All of them, in the order of docs/api.md.
pub(crate) const PARAMETERS: &[Row] = &[
    row("model", H, H, "the id of the served model; required"),
    row(
        "messages",
        H,
        R,
        "1 to 4096; roles system, developer, user, assistant, tool; text only",
    ),
    row("prompt", R, H, "one string, or one array of tokens; required"),
    row(
        "max_tokens",
        H,
        H,
        "from 1 to the server's limit; chat: the server's limit, completions: 16",
    ),
    row(
        "max_completion_tokens",
        H,
        R,
        "the newer name of max_tokens, and wins over it",
    ),
    row("temperature", H, H, "0 to 2; 1"),
    row("top_p", H, H, "0 to 1; 1"),
    row("top_k", H, H, "at least 1, or -1 or 0 for all; all"),
    row("min_p", H, H, "0 to 1; 0"),
    row("typical_p", H, H, "above 0 and at most 1; 1"),
    row("repetition_penalty", H, H, "above 0 and at most 10; 1"),
    row("frequency_penalty", H, H, "-2 to 2; 0"),
    row("presence_penalty", H, H, "-2 to 2; 0"),
    row("logit_bias", H, H, "at most 1024 tokens, each -100 to 100; none"),
    row("seed", H, H, "any 64-bit integer; a random one"),
    row("stop", H, H, "a string or up to 4, each 1 to 1024 bytes; none"),
    row("n", H, H, "1 to 16; 1. Each takes a place of the server"),
    row("best_of", R, H, "equal to n; n"),
    row("logprobs", H, H, "chat: a boolean; completions: 0 to 5; none"),
    row("top_logprobs", H, R, "0 to 20, with logprobs; 0"),
    row("stream", H, H, "a boolean; false"),
    row("stream_options", H, H, "include_usage, with stream"),
    row(
        "echo",
        R,
        H,
        "a boolean, not with logprobs or an array of tokens; false",
    ),
    row("suffix", R, R, ""),
    row(
        "response_format",
        H,
        H,
        "text, json_object or json_schema, which is always strict; text",
    ),
    row(
        "structured_outputs",
        H,
        H,
        "one of json, json_object, regex, choice, grammar (vLLM)",
    ),
    row("guided_json", H, H, "a JSON Schema (vLLM, older)"),
    row("guided_regex", H, H, "a regular expression (vLLM, older)"),
    row("guided_choice", H, H, "an array of strings (vLLM, older)"),
    row("guided_grammar", H, H, "a grammar (vLLM, older)"),
    row(
        "tools",
        H,
        R,
        "1 to 128 functions, if the model's template has a known syntax for them",
    ),
    row("tool_choice", H, R, "none, auto, required, or one function; auto"),
    row("parallel_tool_calls", H, R, "a boolean; true"),
    row(
        "reasoning_effort",
        H,
        R,
        "a word for the model's template; the template's own",
    ),
    row(
        "timeout_seconds",
        H,
        H,
        "1 to the server's limit, which is the default (ours)",
    ),
    row("functions", R, R, "use tools"),
    row("function_call", R, R, "use tool_choice"),
    row("modalities", R, R, "text is the only one"),
    row("audio", R, R, ""),
    row("prediction", R, R, ""),
    row("web_search_options", R, R, ""),
    row("verbosity", R, R, ""),
    row("store", R, R, "nothing is kept; false is accepted"),
    row("service_tier", R, R, "auto and default are accepted"),
    row("user", I, I, ""),
    row("metadata", I, I, ""),
    row("safety_identifier", I, I, ""),
    row("prompt_cache_key", I, I, ""),
    row("prompt_cache_retention", I, I, ""),
];

/// The first pass over a body: refuses by name what is refused, and what is not in the table and asks for something.
pub(crate) fn check(shape: Shape, body: &str) -> Result<Result<(), ApiError>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(body);
    let checked = Names(shape).deserialize(&mut reader)?;
    reader.end()?;
    Ok(checked)
}

struct Names(Shape);

impl<'de> DeserializeSeed<'de> for Names {
    type Value = Result<(), ApiError>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Names {
    type Value = Result<(), ApiError>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fault = Ok(());
        while let Some(name) = map.next_key_seed(NameSeed)? {
            let row = name.and_then(|index| PARAMETERS.get(index));
            let verdict = row.map(|row| match self.0 {
                Shape::Chat => row.chat,
                Shape::Text => row.text,
            });
            match verdict {
                Some(Verdict::Honoured | Verdict::Ignored) => drop(map.next_value::<IgnoredAny>()?),
                Some(Verdict::Refused) | None => {
                    let Asks(asks) = map.next_value()?;
                    if asks && fault.is_ok() {
                        fault = Err(match row {
                            Some(row) => ApiError::parameter(row.name),
                            None => ProblemCode::UnknownParameter.into(),
                        });
                    }
                }
            }
        }
        Ok(fault)
    }
}

/// Finds a name in the table without keeping a copy of what the request wrote.
struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for NameSeed {
    type Value = Option<usize>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(PARAMETERS.iter().position(|row| row.name == name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of docs/api.md, as they have to be.
    fn rows() -> Vec<String> {
        let line = |row: &Row| {
            format!(
                "| `{}` | {} | {} | {} |",
                row.name, row.chat, row.text, row.bounds
            )
        };
        PARAMETERS.iter().map(line).collect()
    }

    #[test]
    fn the_documentation_has_the_table() {
        let document = include_str!("../../../../docs/api.md");
        let (_, table) = document
            .split_once("| parameter | chat | completions | values and default |\n|---|---|---|---|\n")
            .expect("docs/api.md has the table");
        let found: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
        assert_eq!(found, rows(), "the right one:\n{}", rows().join("\n"));
    }

    #[test]
    fn names_are_distinct() {
        let mut names: Vec<&str> = PARAMETERS.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PARAMETERS.len());
    }
}
