use serde_json::{Value, json};

use super::*;
use inference::{SecretText, TokenLogProbability, TokenProbability};

const USAGE: Usage = Usage {
    prompt_tokens: 3,
    cached_tokens: 0,
    completion_tokens: 4,
};

fn answer(shape: Shape, choices: usize, include_usage: bool) -> Answer<'static> {
    Answer::new(AnswerOptions {
        shape,
        random: [0xab; 16],
        created: 17,
        model: "m",
        system_fingerprint: "fp_1",
        choices,
        include_usage,
    })
}

fn secret(text: &str) -> SecretText {
    SecretText::new(text.to_owned())
}

fn content(choice: usize, text: &str, finish: Option<Finish>) -> Delta {
    Delta {
        choice,
        said: vec![Said::Content(secret(text))],
        log_probabilities: Vec::new(),
        finish,
    }
}

fn call(index: usize) -> Said {
    Said::Call {
        index,
        id: format!("call_{index}"),
        name: secret("f"),
        arguments: secret("{\"a\":1}"),
    }
}

fn told(bytes: &[u8]) -> TokenLogProbability {
    let probability = |bytes: &[u8], log_probability| TokenProbability {
        bytes: bytes.to_vec().into(),
        log_probability,
    };
    TokenLogProbability {
        chosen: probability(bytes, -0.5),
        top: vec![
            probability(bytes, -0.5),
            probability(&[0xc3], -1.0),
            probability(&[0xa9], -2.0),
        ],
        text_offset: 7,
    }
}

fn events(completion: &Completion) -> Vec<Value> {
    let text = std::str::from_utf8(completion.expose()).unwrap_or_default();
    let events = text
        .split_terminator("\n\n")
        .map(|event| event.strip_prefix("data: ").unwrap_or_default());
    events
        .map(|event| serde_json::from_str(event).unwrap_or(Value::String(event.to_owned())))
        .collect()
}

fn whole(answer: &Answer<'_>, deltas: Vec<Delta>) -> Value {
    let mut whole = answer.gather();
    deltas.into_iter().for_each(|delta| whole.push(delta));
    serde_json::from_slice(whole.document(answer, USAGE).expose()).unwrap_or_default()
}

#[test]
fn a_whole_chat_is_the_published_document() {
    let answer = answer(Shape::Chat, 1, false);
    let deltas = vec![
        content(0, "say ", None),
        content(0, "\"hi\"\n", Some(Finish::Stop)),
    ];
    assert_eq!(
        whole(&answer, deltas),
        json!({
            "id": "chatcmpl-abababababababababababababababab", "object": "chat.completion", "created": 17,
            "model": "m", "system_fingerprint": "fp_1",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "say \"hi\"\n", "refusal": null},
                         "logprobs": null, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        })
    );
}

#[test]
fn calls_and_thoughts_have_their_members() {
    let answer = answer(Shape::Chat, 1, false);
    let said = || vec![Said::Reasoning(secret("hm")), call(0), call(1)];
    let delta = || Delta {
        choice: 0,
        said: said(),
        log_probabilities: Vec::new(),
        finish: Some(Finish::ToolCalls),
    };
    let message = &whole(&answer, vec![delta()])["choices"][0];
    assert_eq!(message["finish_reason"], "tool_calls");
    let one = |index: usize| {
        json!({"id": format!("call_{index}"), "type": "function",
        "function": {"name": "f", "arguments": "{\"a\":1}"}})
    };
    assert_eq!(
        message["message"],
        json!({"role": "assistant", "content": null, "reasoning_content": "hm", "refusal": null,
               "tool_calls": [one(0), one(1)]})
    );
    let events = events(&answer.delta(&delta()));
    assert_eq!(
        events[0]["choices"][0]["delta"],
        json!({"reasoning_content": "hm"})
    );
    let streamed = &events[2]["choices"][0]["delta"]["tool_calls"][0];
    assert_eq!(
        (&streamed["index"], &streamed["id"]),
        (&json!(1), &json!("call_1"))
    );
    assert_eq!(events[3]["choices"][0]["finish_reason"], "tool_calls");
}

#[test]
fn a_chat_stream_is_role_pieces_reason_done() {
    let answer = answer(Shape::Chat, 1, false);
    let opening = events(&answer.opening());
    assert_eq!(
        opening[0]["choices"][0]["delta"],
        json!({"role": "assistant", "content": ""})
    );
    assert_eq!(opening[0]["object"], "chat.completion.chunk");
    let piece = events(&answer.delta(&content(0, "x", None)));
    assert_eq!(piece[0]["choices"][0]["delta"], json!({"content": "x"}));
    assert_eq!(piece[0]["choices"][0]["finish_reason"], Value::Null);
    assert!(piece[0].get("usage").is_none());
    let last = events(&answer.delta(&Delta {
        said: Vec::new(),
        ..content(0, "", Some(Finish::Length))
    }));
    assert_eq!(last.len(), 1);
    assert_eq!(last[0]["choices"][0]["finish_reason"], "length");
    assert_eq!(last[0]["choices"][0]["delta"], json!({}));
    assert_eq!(
        events(&answer.closing(USAGE)),
        [Value::String("[DONE]".to_owned())]
    );
}

#[test]
fn usage_comes_last_when_it_is_asked_for() {
    let answer = answer(Shape::Chat, 1, true);
    assert_eq!(
        events(&answer.delta(&content(0, "x", None)))[0].get("usage"),
        Some(&Value::Null)
    );
    let closing = events(&answer.closing(USAGE));
    assert_eq!(closing[0]["choices"], json!([]));
    assert_eq!(closing[0]["usage"]["total_tokens"], 7);
    assert_eq!(closing.len(), 2);
}

#[test]
fn several_completions_are_told_apart_by_their_index() {
    let answer = answer(Shape::Chat, 2, false);
    assert_eq!(events(&answer.opening()).len(), 2);
    assert_eq!(
        events(&answer.delta(&content(1, "x", None)))[0]["choices"][0]["index"],
        1
    );
    let deltas = vec![
        content(1, "b", Some(Finish::Length)),
        content(0, "a", Some(Finish::Stop)),
    ];
    let document = whole(&answer, deltas);
    for (index, (text, reason)) in [("a", "stop"), ("b", "length")].into_iter().enumerate() {
        let choice = &document["choices"][index];
        assert_eq!(choice["index"], index);
        assert_eq!(choice["message"]["content"], text);
        assert_eq!(choice["finish_reason"], reason);
    }
}

#[test]
fn log_probabilities_have_both_published_forms() {
    let delta = || Delta {
        log_probabilities: vec![told(b"x"), told("é".as_bytes())],
        ..content(0, "xé", Some(Finish::Stop))
    };
    let chat = answer(Shape::Chat, 1, false);
    let content = whole(&chat, vec![delta()])["choices"][0]["logprobs"].clone();
    assert_eq!(content["content"][0]["token"], "x");
    assert_eq!(content["content"][0]["logprob"], -0.5);
    assert_eq!(content["content"][1]["bytes"], json!([0xc3, 0xa9]));
    assert_eq!(
        content["content"][1]["top_logprobs"][1],
        json!({"token": "\u{fffd}", "logprob": -1.0, "bytes": [0xc3]})
    );
    assert_eq!(content["refusal"], Value::Null);
    let streamed = events(&chat.delta(&delta()));
    assert_eq!(streamed[0]["choices"][0]["logprobs"], content);
    assert_eq!(streamed[1]["choices"][0]["logprobs"], Value::Null, "once");
    let text = answer(Shape::Text, 1, false);
    assert_eq!(
        whole(&text, vec![delta()])["choices"][0]["logprobs"],
        json!({"tokens": ["x", "é"], "token_logprobs": [-0.5, -0.5], "text_offset": [7, 7],
               "top_logprobs": [{"x": -0.5, "\u{fffd}": -1.0}, {"é": -0.5, "\u{fffd}": -1.0}]})
    );
}

#[test]
fn a_text_completion_has_its_own_shape() {
    let answer = answer(Shape::Text, 1, false);
    let document = whole(&answer, vec![content(0, "x", Some(Finish::Stop))]);
    assert_eq!(document["object"], "text_completion");
    assert_eq!(document["choices"][0]["text"], "x");
    assert!(answer.opening().expose().is_empty());
    assert_eq!(
        events(&answer.delta(&content(0, "y", None)))[0]["choices"][0]["text"],
        "y"
    );
}

#[test]
fn an_error_in_a_stream_is_an_error_object() {
    let event = events(&error_event(wire::ProblemCode::Internal));
    assert_eq!(event[0]["error"]["code"], "internal");
}

#[test]
fn models_are_listed() {
    let list: Value = serde_json::from_slice(models(&["m"], 5).expose()).unwrap_or_default();
    assert_eq!(
        list,
        json!({"object": "list", "data": [{"id": "m", "object": "model", "created": 5, "owned_by": "adyton"}]})
    );
}
