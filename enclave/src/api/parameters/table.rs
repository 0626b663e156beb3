//! Every parameter that is known, and what becomes of it: the table of docs/api.md, and what the reader does.

use core::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use wire::ProblemCode;

use super::asks::Asks;
use crate::api::ApiError;

/// Which endpoint a body is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/completions`
    Text,
    /// `/v1/embeddings`
    Embeddings,
}

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
    /// By endpoint: chat completions, completions, embeddings.
    pub(crate) verdicts: [Verdict; 3],
    /// Values that are taken, and the default.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "docs/api.md shows it, and a test compares")
    )]
    pub(crate) bounds: &'static str,
}

impl Row {
    /// What becomes of it at `endpoint`.
    pub(crate) fn verdict(&self, endpoint: Endpoint) -> Verdict {
        let [chat, text, embeddings] = self.verdicts;
        match endpoint {
            Endpoint::Chat => chat,
            Endpoint::Text => text,
            Endpoint::Embeddings => embeddings,
        }
    }
}

const fn row(name: &'static str, verdicts: [Verdict; 3], bounds: &'static str) -> Row {
    Row {
        name,
        verdicts,
        bounds,
    }
}

use Verdict::{Honoured as H, Ignored as I, Refused as R};

const EVERYWHERE: [Verdict; 3] = [H, H, H];
const GENERATE: [Verdict; 3] = [H, H, R];
const CHAT: [Verdict; 3] = [H, R, R];
const TEXT: [Verdict; 3] = [R, H, R];
const EMBED: [Verdict; 3] = [R, R, H];
const NOWHERE: [Verdict; 3] = [R, R, R];
const ANYTHING: [Verdict; 3] = [I, I, I];

/// All of them, in the order of docs/api.md.
#[rustfmt::skip] // a table
pub(crate) const PARAMETERS: &[Row] = &[
    row("model", EVERYWHERE, "the id of the served model; required"),
    row("messages", CHAT, "1 to 4096; roles system, developer, user, assistant, tool; text only"),
    row("prompt", TEXT, "one string, or one array of tokens; required"),
    row("input", EMBED, "1 to 2048 strings or arrays of tokens; required"),
    row("max_tokens", GENERATE, "from 1 to the server's limit; chat: the server's limit, completions: 16"),
    row("max_completion_tokens", CHAT, "the newer name of max_tokens, and wins over it"),
    row("temperature", GENERATE, "0 to 2; 1"),
    row("top_p", GENERATE, "0 to 1; 1"),
    row("top_k", GENERATE, "at least 1, or -1 or 0 for all; all"),
    row("min_p", GENERATE, "0 to 1; 0"),
    row("typical_p", GENERATE, "above 0 and at most 1; 1"),
    row("repetition_penalty", GENERATE, "above 0 and at most 10; 1"),
    row("frequency_penalty", GENERATE, "-2 to 2; 0"),
    row("presence_penalty", GENERATE, "-2 to 2; 0"),
    row("logit_bias", GENERATE, "at most 1024 tokens, each -100 to 100; none"),
    row("seed", GENERATE, "any 64-bit integer; a random one"),
    row("stop", GENERATE, "a string or up to 4, each 1 to 1024 bytes; none"),
    row("n", GENERATE, "1 to 16; 1. Each takes a place of the server"),
    row("best_of", TEXT, "equal to n; n"),
    row("logprobs", GENERATE, "chat: a boolean; completions: 0 to 5; none"),
    row("top_logprobs", CHAT, "0 to 20, with logprobs; 0"),
    row("stream", GENERATE, "a boolean; false"),
    row("stream_options", GENERATE, "include_usage, with stream"),
    row("echo", TEXT, "a boolean, not with logprobs or an array of tokens; false"),
    row("suffix", NOWHERE, ""),
    row("response_format", GENERATE, "text, json_object or json_schema, which is always strict; text"),
    row("structured_outputs", GENERATE, "one of json, json_object, regex, choice, grammar (vLLM)"),
    row("guided_json", GENERATE, "a JSON Schema (vLLM, older)"),
    row("guided_regex", GENERATE, "a regular expression (vLLM, older)"),
    row("guided_choice", GENERATE, "an array of strings (vLLM, older)"),
    row("guided_grammar", GENERATE, "a grammar (vLLM, older)"),
    row("tools", CHAT, "1 to 128 functions, if the model's template has a known syntax for them"),
    row("tool_choice", CHAT, "none, auto, required, or one function; auto"),
    row("parallel_tool_calls", CHAT, "a boolean; true"),
    row("reasoning_effort", CHAT, "a word for the model's template; the template's own"),
    row("encoding_format", EMBED, "float, or base64 of little-endian f32; float"),
    row("dimensions", EMBED, "those of the model; the same"),
    row("timeout_seconds", GENERATE, "1 to the server's limit, which is the default (ours)"),
    row("functions", NOWHERE, "use tools"),
    row("function_call", NOWHERE, "use tool_choice"),
    row("modalities", NOWHERE, "text is the only one"),
    row("audio", NOWHERE, ""),
    row("prediction", NOWHERE, ""),
    row("web_search_options", NOWHERE, ""),
    row("verbosity", NOWHERE, ""),
    row("store", NOWHERE, "nothing is kept; false is accepted"),
    row("service_tier", NOWHERE, "auto and default are accepted"),
    row("user", ANYTHING, ""),
    row("metadata", ANYTHING, ""),
    row("safety_identifier", ANYTHING, ""),
    row("prompt_cache_key", [H, H, I], "1 to 256 bytes; without it nothing is kept"),
    row("prompt_cache_retention", ANYTHING, ""),
];

/// The first pass over a body: refuses by name what is refused, and what is not in the table and asks for something.
pub(crate) fn check(endpoint: Endpoint, body: &str) -> Result<Result<(), ApiError>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(body);
    let checked = Names(endpoint).deserialize(&mut reader)?;
    reader.end()?;
    Ok(checked)
}

struct Names(Endpoint);

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
            let verdict = row.map(|row| row.verdict(self.0));
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
            let [chat, text, embeddings] = row.verdicts;
            let (name, bounds) = (row.name, row.bounds);
            format!("| `{name}` | {chat} | {text} | {embeddings} | {bounds} |")
        };
        PARAMETERS.iter().map(line).collect()
    }

    #[test]
    fn the_documentation_has_the_table() {
        let document = include_str!("../../../../docs/api.md");
        let (_, table) = document
            .split_once("| parameter | chat | completions | embeddings | values and default |\n|---|---|---|---|---|\n")
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
