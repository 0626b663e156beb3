use wire::ProblemCode;

use super::*;

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
    assert_eq!((messages[0].0, messages[0].1.expose()), (Role::User, "hello"));
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
            seed: Some(u64::MAX)
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
    assert_eq!((messages[0].0, messages[0].1.expose()), (Role::System, "a\nb"));
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
        (r#","n":2"#, "n"),
        (r#","best_of":3"#, "best_of"),
        (
            r#","tools":[{"type":"function","function":{"name":"f"}}]"#,
            "tools",
        ),
        (r#","tool_choice":"required""#, "tool_choice"),
        (r#","functions":[{"name":"f"}]"#, "functions"),
        (r#","response_format":{"type":"json_object"}"#, "response_format"),
        (r#","logprobs":true"#, "logprobs"),
        (r#","top_logprobs":1"#, "top_logprobs"),
        (r#","logit_bias":{"5":-100}"#, "logit_bias"),
        (r#","frequency_penalty":0.5"#, "frequency_penalty"),
        (r#","presence_penalty":-1"#, "presence_penalty"),
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
        (r#","prompt":"p""#, "messages"),
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
        r#","user":"u","store":true,"metadata":{"a":"b"},"n":1,"tools":[],"tool_choice":"none","logprobs":false,
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
    let called = r#"{"model":"m","messages":[{"role":"assistant","content":"","tool_calls":[{"id":"1"}]}]}"#;
    assert_eq!(fault(called), Some("messages"));
}

#[test]
fn a_text_completion_takes_one_prompt() {
    let parameters = accepted(text(r#"{"model":"m","prompt":["once"]}"#));
    assert_eq!(parameters.completion_tokens_max, Some(16));
    let Input::Text(prompt) = &parameters.input else {
        panic!("not text")
    };
    assert_eq!((prompt.expose(), parameters.input.bytes()), ("once", 4));
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
        refused(text(r#"{"model":"m","prompt":[1,2]}"#)).0,
        ProblemCode::InvalidParameter
    );
    assert_eq!(
        refused(text(r#"{"model":"m","prompt":"a","echo":true}"#)).1,
        Some("echo")
    );
    assert_eq!(
        refused(text(r#"{"model":"m","prompt":"a","suffix":"b"}"#)).1,
        Some("suffix")
    );
}
