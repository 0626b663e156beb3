use inference::Role;
use serde::Deserializer;
use serde::de::value::{Error as ValueError, MapDeserializer};
use wire::ProblemCode;

use super::{
    table::{PARAMETERS, Verdict},
    *,
};

fn chat(extra: &str) -> Result<Parameters, (ProblemCode, Option<&'static str>)> {
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hello"}}]{extra}}}"#);
    Parameters::chat(body.as_bytes()).map_err(|error| (error.code, error.param))
}

fn text(body: &str) -> Result<Parameters, (ProblemCode, Option<&'static str>)> {
    Parameters::text(body.as_bytes()).map_err(|error| (error.code, error.param))
}

fn refused(
    result: Result<Parameters, (ProblemCode, Option<&'static str>)>,
) -> (ProblemCode, Option<&'static str>) {
    match result {
        Err(fault) => fault,
        Ok(_) => panic!("accepted"),
    }
}

fn accepted(result: Result<Parameters, (ProblemCode, Option<&'static str>)>) -> Parameters {
    result.unwrap_or_else(|(code, param)| panic!("{code} {param:?}"))
}

#[test]
fn a_plain_chat_has_the_published_defaults() {
    let parameters = accepted(chat(""));
    assert_eq!(parameters.model, "m");
    assert_eq!(parameters.sampling, Sampling::default());
    assert!(!parameters.stream && !parameters.include_usage && parameters.stop.is_empty());
    assert_eq!(parameters.completion_tokens_max, None);
    let Input::Messages(messages) = &parameters.input else {
        panic!("not a chat")
    };
    assert_eq!(
        (messages[0].role, messages[0].content.expose()),
        (Role::User, "hello")
    );
    assert_eq!((parameters.choices, parameters.log_probabilities), (1, None));
    assert!(parameters.form.is_none() && parameters.tools.is_none() && parameters.timeout.is_none());
}

/// Reads the names of a struct's fields from what serde derives for it.
struct FieldNames(&'static [Endpoint]);

impl<'de> Deserializer<'de> for FieldNames {
    type Error = ValueError;

    fn deserialize_any<V: serde::de::Visitor<'de>>(self, _: V) -> Result<V::Value, ValueError> {
        panic!("only structs are read")
    }

    fn deserialize_struct<V: serde::de::Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        let mut honoured: Vec<&str> = PARAMETERS
            .iter()
            .filter(|row| {
                self.0
                    .iter()
                    .any(|endpoint| row.verdict(*endpoint) == Verdict::Honoured)
            })
            .map(|row| row.name)
            .collect();
        let mut fields = fields.to_vec();
        fields.sort_unstable();
        honoured.sort_unstable();
        assert_eq!(
            fields, honoured,
            "what is read, and what the table calls honoured"
        );
        visitor.visit_map(MapDeserializer::<_, ValueError>::new(core::iter::empty::<(
            &str,
            &str,
        )>()))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[test]
fn what_is_read_is_what_the_table_calls_honoured() {
    assert!(Body::deserialize(FieldNames(&[Endpoint::Chat, Endpoint::Text])).is_ok());
    assert!(crate::api::embeddings::Body::deserialize(FieldNames(&[Endpoint::Embeddings])).is_ok());
}

#[test]
fn every_refused_row_is_refused_and_every_ignored_one_is_not() {
    for row in PARAMETERS {
        let extra = format!(r#","{}":{{"a":[17]}}"#, row.name);
        let body = format!(r#"{{"model":"m","prompt":"x"{extra}}}"#);
        let embed = format!(r#"{{"model":"m","input":"x"{extra}}}"#);
        let embed = crate::api::embeddings::EmbeddingParameters::read(embed.as_bytes())
            .err()
            .map(|error| (error.code, error.param));
        for (verdict, found) in [
            (row.verdict(Endpoint::Chat), chat(&extra).err()),
            (row.verdict(Endpoint::Text), text(&body).err()),
            (row.verdict(Endpoint::Embeddings), embed),
        ] {
            match verdict {
                Verdict::Refused => {
                    assert_eq!(
                        found,
                        Some((ProblemCode::InvalidParameter, Some(row.name))),
                        "{}",
                        row.name
                    );
                }
                Verdict::Ignored => assert_eq!(found, None, "{}", row.name),
                Verdict::Honoured => {}
            }
        }
    }
}

#[test]
fn honoured_parameters_arrive() {
    let parameters = accepted(chat(
        r#","max_tokens":5,"max_completion_tokens":7,"temperature":0,"top_p":0.5,"top_k":3,"seed":-1,
           "stop":["a","b"],"stream":true,"stream_options":{"include_usage":true}"#,
    ));
    assert_eq!(parameters.completion_tokens_max, Some(7));
    assert_eq!(
        parameters.sampling,
        Sampling {
            temperature: 0.0,
            top_p: 0.5,
            top_k: Some(3),
            seed: Some(u64::MAX),
            ..Sampling::default()
        }
    );
    assert_eq!(
        parameters.stop.iter().map(Text::expose).collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert!(parameters.stream && parameters.include_usage);
    assert_eq!(
        accepted(chat(r#","max_tokens":5"#)).completion_tokens_max,
        Some(5)
    );
    assert_eq!(accepted(chat(r#","stop":"x""#)).stop.len(), 1);
}

#[test]
fn content_may_be_parts_of_text() {
    let body = r#"{"model":"m","messages":[{"role":"developer","content":[{"type":"text","text":"a"},
        {"type":"text","text":"b"}]}]}"#;
    let parameters = Parameters::chat(body.as_bytes()).unwrap_or_else(|error| panic!("{error:?}"));
    let Input::Messages(messages) = &parameters.input else {
        panic!("not a chat")
    };
    assert_eq!(
        (messages[0].role, messages[0].content.expose()),
        (Role::System, "a\nb")
    );
    let image = body.replace(
        r#""type":"text","text":"b""#,
        r#""type":"image_url","image_url":{"url":"x"}"#,
    );
    assert_eq!(
        Parameters::chat(image.as_bytes()).err(),
        Some(ApiError::parameter("messages"))
    );
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    for (extra, name) in [
        (r#","n":0"#, "n"),
        (r#","n":17"#, "n"),
        (r#","best_of":3"#, "best_of"),
        (r#","tool_choice":"required""#, "tool_choice"),
        (r#","tools":[{}],"tool_choice":"sometimes""#, "tool_choice"),
        (
            r#","tools":[{}],"tool_choice":{"type":"custom","function":{"name":"f"}}"#,
            "tool_choice",
        ),
        (r#","functions":[{"name":"f"}]"#, "functions"),
        (r#","response_format":{"type":"xml"}"#, "response_format"),
        (r#","response_format":{"type":"json_schema"}"#, "response_format"),
        (
            r#","response_format":{"type":"json_object"},"guided_regex":"a""#,
            "guided_regex",
        ),
        (
            r#","structured_outputs":{"regex":"a","grammar":"b"}"#,
            "structured_outputs",
        ),
        (r#","logprobs":3"#, "logprobs"),
        (r#","top_logprobs":1"#, "top_logprobs"),
        (r#","logprobs":true,"top_logprobs":21"#, "top_logprobs"),
        (r#","frequency_penalty":2.5"#, "frequency_penalty"),
        (r#","presence_penalty":-3"#, "presence_penalty"),
        (r#","min_p":1.5"#, "min_p"),
        (r#","typical_p":0"#, "typical_p"),
        (r#","repetition_penalty":0"#, "repetition_penalty"),
        (r#","reasoning_effort":"Very high!""#, "reasoning_effort"),
        (r#","timeout_seconds":0"#, "timeout_seconds"),
        (r#","store":true"#, "store"),
        (r#","service_tier":"priority""#, "service_tier"),
        (r#","modalities":["text","audio"]"#, "modalities"),
        (r#","stream_options":{"include_usage":true}"#, "stream_options"),
        (r#","temperature":2.1"#, "temperature"),
        (r#","temperature":-0.1"#, "temperature"),
        (r#","top_p":1.5"#, "top_p"),
        (r#","top_k":-2"#, "top_k"),
        (r#","max_tokens":0"#, "max_tokens"),
        (r#","max_completion_tokens":0"#, "max_completion_tokens"),
        (r#","stop":["a","b","c","d","e"]"#, "stop"),
        (r#","stop":"""#, "stop"),
        (r#","prompt":"p""#, "prompt"),
    ] {
        assert_eq!(
            refused(chat(extra)),
            (ProblemCode::InvalidParameter, Some(name)),
            "{extra}"
        );
    }
}

#[test]
fn what_changes_nothing_is_ignored() {
    accepted(chat(
        r#","user":"u","store":false,"metadata":{"a":"b"},"n":1,"tools":[],"tool_choice":"none","logprobs":false,
           "top_logprobs":0,"logit_bias":{},"frequency_penalty":0,"presence_penalty":0.0,"modalities":["text"],
           "response_format":{"type":"text"},"service_tier":"auto","seed":null,"stop":null,"max_tokens":null,
           "unheard_of":[[[{}]]]"#,
    ));
}

#[test]
fn malformed_bodies_are_told_apart() {
    let code = |body: &[u8]| Parameters::chat(body).err().map(|error| error.code);
    assert_eq!(code(b"\xff\xfe{}"), Some(ProblemCode::InvalidUtf8));
    assert_eq!(code(b""), Some(ProblemCode::MalformedRequest));
    assert_eq!(code(b"{"), Some(ProblemCode::MalformedRequest));
    assert_eq!(code(b"{\"model\":\"a\0b\"}"), Some(ProblemCode::MalformedRequest));
    assert_eq!(
        code(b"{\"model\":\"\\ud800\"}"),
        Some(ProblemCode::MalformedRequest)
    );
    assert_eq!(code(b"[]"), Some(ProblemCode::InvalidParameter));
    assert_eq!(code(b"{\"messages\":5}"), Some(ProblemCode::InvalidParameter));
    let deep = format!(r#"{{"tools":{}"#, "[".repeat(1_000_000));
    assert_eq!(code(deep.as_bytes()), Some(ProblemCode::MalformedRequest));
    let deep = format!(r#"{{"unknown":{}"#, "[".repeat(1_000_000));
    assert_eq!(code(deep.as_bytes()), Some(ProblemCode::MalformedRequest));
}

#[test]
fn an_incomplete_chat_is_refused() {
    let fault = |body: &str| {
        Parameters::chat(body.as_bytes())
            .err()
            .and_then(|error| error.param)
    };
    assert_eq!(fault(r#"{"model":"m"}"#), Some("messages"));
    assert_eq!(fault(r#"{"model":"m","messages":[]}"#), Some("messages"));
    assert_eq!(
        fault(r#"{"messages":[{"role":"user","content":"x"}]}"#),
        Some("model")
    );
    assert_eq!(
        fault(r#"{"model":"m","messages":[{"role":"king","content":"x"}]}"#),
        Some("messages")
    );
    assert_eq!(
        fault(r#"{"model":"m","messages":[{"role":"user","content":null}]}"#),
        Some("messages")
    );
    assert_eq!(
        fault(r#"{"model":"m","messages":[{"role":"user","content":"a\u0000b"}]}"#),
        Some("messages")
    );
    for message in [
        r#"{"role":"user","content":"x","tool_calls":[{"id":"1","function":{"name":"f","arguments":"{}"}}]}"#,
        r#"{"role":"tool","content":"x"}"#,
        r#"{"role":"user","content":"x","tool_call_id":"1"}"#,
        r#"{"role":"assistant","content":null}"#,
        r#"{"role":"assistant","content":"","function_call":{"name":"f"}}"#,
    ] {
        let body = format!(r#"{{"model":"m","messages":[{message}]}}"#);
        assert_eq!(fault(&body), Some("messages"), "{message}");
    }
}

#[test]
fn a_text_completion_takes_one_prompt() {
    let parameters = accepted(text(r#"{"model":"m","prompt":["once"]}"#));
    assert_eq!(parameters.completion_tokens_max, Some(16));
    let Input::Text(prompt) = &parameters.input else {
        panic!("not text")
    };
    assert_eq!((prompt.expose(), parameters.input.bytes()), ("once", 4));
    for (prompt, tokens) in [("[1,2]", vec![1, 2]), ("[[3]]", vec![3])] {
        let parameters = accepted(text(&format!(r#"{{"model":"m","prompt":{prompt}}}"#)));
        let Input::Tokens(found) = &parameters.input else {
            panic!("not tokens")
        };
        assert_eq!(**found, tokens);
    }
    for body in [
        r#"{"model":"m"}"#,
        r#"{"model":"m","prompt":["a","b"]}"#,
        r#"{"model":"m","prompt":[]}"#,
        r#"{"model":"m","prompt":"a\u0000"}"#,
    ] {
        assert_eq!(
            refused(text(body)),
            (ProblemCode::InvalidParameter, Some("prompt")),
            "{body}"
        );
    }
    assert_eq!(
        refused(text(r#"{"model":"m","prompt":[[1],[2]]}"#)).0,
        ProblemCode::InvalidParameter
    );
    let echoed = accepted(text(
        r#"{"model":"m","prompt":"a","echo":true,"logprobs":null,"n":3,"best_of":3}"#,
    ));
    assert!(echoed.echo && echoed.choices == 3);
    for (extra, name) in [
        (r#""echo":true,"logprobs":0"#, "echo"),
        (r#""logprobs":6"#, "logprobs"),
        (r#""logprobs":true"#, "logprobs"),
        (r#""n":2,"best_of":3"#, "best_of"),
        (r#""tools":[{"a":1}]"#, "tools"),
    ] {
        let body = format!(r#"{{"model":"m","prompt":"a",{extra}}}"#);
        assert_eq!(refused(text(&body)).1, Some(name), "{extra}");
    }
    assert_eq!(
        accepted(text(r#"{"model":"m","prompt":"a","logprobs":2}"#)).log_probabilities,
        Some(2)
    );
    assert_eq!(
        refused(text(r#"{"model":"m","prompt":"a","suffix":"b"}"#)).1,
        Some("suffix")
    );
}

#[test]
fn forms_arrive_from_every_place() {
    let form = |extra: &str| match accepted(chat(extra)).form {
        Some((Form::JsonObject, name)) => format!("{name} object"),
        Some((Form::JsonSchema(text), name)) => format!("{name} {}", text.expose()),
        Some((Form::Regex(text) | Form::Grammar(text), name)) => format!("{name} {}", text.expose()),
        Some((Form::Choice(texts), name)) => format!("{name} {}", texts.len()),
        None => "none".to_owned(),
    };
    for (extra, expected) in [
        (r#","response_format":{"type":"text"}"#, "none"),
        (
            r#","response_format":{"type":"json_object"}"#,
            "response_format object",
        ),
        (
            r#","response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"b":1,"a":2}}}"#,
            r#"response_format {"b":1,"a":2}"#,
        ),
        (
            r#","structured_outputs":{"json":"{\"c\":3}"}"#,
            r#"structured_outputs {"c":3}"#,
        ),
        (
            r#","structured_outputs":{"json_object":true}"#,
            "structured_outputs object",
        ),
        (r#","structured_outputs":{"regex":"a+"}"#, "structured_outputs a+"),
        (
            r#","structured_outputs":{"choice":["a","b"]}"#,
            "structured_outputs 2",
        ),
        (
            r#","structured_outputs":{"grammar":"start: \"a\""}"#,
            r#"structured_outputs start: "a""#,
        ),
        (r#","guided_json":{"d":4}"#, r#"guided_json {"d":4}"#),
        (r#","guided_regex":"b""#, "guided_regex b"),
        (r#","guided_choice":["a"]"#, "guided_choice 1"),
        (r#","guided_grammar":"g""#, "guided_grammar g"),
    ] {
        assert_eq!(form(extra), expected, "{extra}");
    }
}

#[test]
fn tools_and_their_messages_arrive() {
    let tools = r#","tools":[{"type":"function","function":{"name":"f"}}]"#;
    let offered = |extra: &str| accepted(chat(&format!("{tools}{extra}"))).tools;
    let auto = offered("").unwrap_or_else(|| panic!("offered"));
    assert!(matches!(auto.choice, ToolChoice::Auto) && auto.parallel);
    assert_eq!(
        auto.definitions.expose(),
        r#"[{"type":"function","function":{"name":"f"}}]"#
    );
    assert!(offered(r#","tool_choice":"none""#).is_none());
    let one =
        offered(r#","tool_choice":{"type":"function","function":{"name":"f"}},"parallel_tool_calls":false"#);
    assert!(one.is_some_and(
        |one| !one.parallel && matches!(one.choice, ToolChoice::Function(name) if name.expose() == "f")
    ));
    let body = r#"{"model":"m","messages":[{"role":"user","content":"x"},
        {"role":"assistant","content":null,"refusal":null,"audio":null,"function_call":null,
         "tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\": 1}"}}]},
        {"role":"tool","tool_call_id":"c","name":"f","content":"5"}]}"#;
    let parameters = Parameters::chat(body.as_bytes()).unwrap_or_else(|error| panic!("{error:?}"));
    let Input::Messages(messages) = &parameters.input else {
        panic!("not a chat")
    };
    let call = &messages[1].calls[0];
    assert_eq!(
        (call.id.expose(), call.name.expose(), call.arguments.expose()),
        ("c", "f", r#"{"a": 1}"#)
    );
    assert_eq!(messages[1].content.expose(), "");
    assert_eq!(messages[2].tool_call_id.as_ref().map(Text::expose), Some("c"));
}

#[test]
fn what_is_not_known_and_asks_is_refused_without_its_name() {
    assert_eq!(
        refused(chat(r#","temprature":1"#)),
        (ProblemCode::UnknownParameter, None)
    );
    accepted(chat(r#","temprature":null,"beam_search":false"#));
    let biased = accepted(chat(
        r#","logit_bias":{"5":-100,"7":1.5},"min_p":0.1,"repetition_penalty":1.2"#,
    ));
    assert_eq!(*biased.logit_bias, [(5, -100.0), (7, 1.5)]);
    assert_eq!(
        (biased.sampling.min_p, biased.sampling.repetition_penalty),
        (0.1, 1.2)
    );
    assert_eq!(
        refused(chat(r#","logit_bias":{"x":1}"#)).0,
        ProblemCode::InvalidParameter
    );
}
