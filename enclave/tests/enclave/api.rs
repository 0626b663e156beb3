//! What a client of the sealed surface gets: answers, streams, and errors by code.

use exchange::{ApiToken, UnixTime, token::TokenIssuer};
use serde_json::{Value, json};
use wire::message::Media;

use crate::support::{Client, Deployment, MODEL, Settings, chat_body, deployment_now as now};

const GREEDY: &str = r#","temperature":0,"max_tokens":12"#;

#[tokio::test]
async fn a_chat_is_answered_with_a_receipt() {
    let mut system = Deployment::serving(&Settings::default()).await;
    let client = system.client().await;
    let answer = client.chat(GREEDY).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let document = answer.json();
    assert_eq!(
        (document["object"].as_str(), document["model"].as_str()),
        (Some("chat.completion"), Some(MODEL))
    );
    assert!(
        document["id"]
            .as_str()
            .is_some_and(|id| id.starts_with("chatcmpl-"))
    );
    assert_eq!(document["choices"][0]["message"]["role"], "assistant");
    assert!(
        ["stop", "length"].contains(
            &document["choices"][0]["finish_reason"]
                .as_str()
                .unwrap_or_default()
        )
    );
    let receipt = answer.receipt.expect("a receipt");
    assert_eq!(receipt.model_digest, system.deployment.manifest_digest);
    assert_eq!(document["usage"]["prompt_tokens"], receipt.prompt_tokens);
    assert_eq!(document["usage"]["completion_tokens"], receipt.completion_tokens);
    let status = system
        .wait_for("idle", |status| status.requests_active == 0)
        .await;
    assert_eq!(status.requests_total, 1);
    assert_eq!(
        (status.tokens_in_total, status.tokens_out_total),
        (receipt.prompt_tokens, receipt.completion_tokens)
    );
}

#[tokio::test]
async fn a_stream_says_the_same_as_a_document() {
    let system = Deployment::serving(&Settings::default()).await;
    let client = system.client().await;
    let whole = client.chat(GREEDY).await.json();
    let answer = client
        .chat(&format!(
            r#"{GREEDY},"stream":true,"stream_options":{{"include_usage":true}}"#
        ))
        .await;
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .headers
            .contains(&("content-type".to_owned(), "text/event-stream".to_owned())),
        "{:?}",
        answer.headers
    );
    let events = answer.events();
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    let text: String = events
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(Value::String(text), whole["choices"][0]["message"]["content"]);
    let usage = events.last().expect("an event");
    assert_eq!(
        (&usage["choices"], &usage["usage"]),
        (&json!([]), &whole["usage"])
    );
    let reason = &events[events.len() - 2]["choices"][0];
    assert_eq!(reason["finish_reason"], whole["choices"][0]["finish_reason"]);
    assert!(answer.receipt.is_some());
}

#[tokio::test]
async fn text_completions_are_answered_both_ways() {
    let system = Deployment::serving(&Settings::default()).await;
    let client = system.client().await;
    let body = format!(r#"{{"model":"{MODEL}","prompt":"Evidence is","temperature":0,"max_tokens":6}}"#);
    let whole = client.post("/v1/completions", &body).await.json();
    assert_eq!(whole["object"], "text_completion");
    let body = body.replace('}', r#","stream":true}"#);
    let events = client.post("/v1/completions", &body).await.events();
    let text: String = events
        .iter()
        .filter_map(|event| event["choices"][0]["text"].as_str())
        .collect();
    assert_eq!(Value::String(text), whole["choices"][0]["text"]);
}

#[tokio::test]
async fn a_request_in_one_piece_is_answered_in_one_piece() {
    let system = Deployment::serving(&Settings::default()).await;
    let mut client = system.client().await;
    client.media = Media::OneShot;
    assert_eq!(client.chat(GREEDY).await.status, 200);
    assert!(
        !client
            .chat(&format!(r#"{GREEDY},"stream":true"#))
            .await
            .events()
            .is_empty()
    );
}

#[tokio::test]
async fn models_are_listed_as_the_token_allows() {
    let system = Deployment::serving(&Settings::default()).await;
    let mut client = system.client().await;
    let list = client.get("/v1/models").await;
    assert_eq!(list.json()["data"][0]["id"], MODEL);
    assert!(list.receipt.is_some());
    assert_eq!(
        client.get(&format!("/v1/models/{MODEL}")).await.json()["object"],
        "model"
    );
    assert_eq!(
        client.get("/v1/models/other").await.error(),
        (404, "unknown-model".to_owned())
    );
    client.token = Some(
        system
            .deployment
            .token_with(|claims| claims.models = Some(vec!["other".to_owned()])),
    );
    assert_eq!(client.get("/v1/models").await.json()["data"], json!([]));
    assert_eq!(
        client.chat("").await.error(),
        (403, "model-not-allowed".to_owned())
    );
    client.token = Some(
        system
            .deployment
            .token_with(|claims| claims.models = Some(vec![MODEL.to_owned()])),
    );
    assert_eq!(client.chat(GREEDY).await.status, 200);
}

#[tokio::test]
async fn without_a_good_token_every_route_says_so_first() {
    let system = Deployment::serving(&Settings::default()).await;
    let mut client = system.client().await;
    let seconds = now().seconds();
    let stranger = TokenIssuer::generate().expect("randomness");
    let claims = system.deployment.claims();
    let tokens = [
        (None, "unauthorized-token"),
        (Some(ApiToken::new("sk-guessed".to_owned())), "unauthorized-token"),
        (
            Some(stranger.issue(&claims).expect("it issues")),
            "unauthorized-token",
        ),
        (
            Some(
                system
                    .deployment
                    .token_with(|claims| claims.expires = UnixTime::from_seconds(seconds - 5)),
            ),
            "expired-token",
        ),
        (
            Some(
                system
                    .deployment
                    .token_with(|claims| claims.not_before = UnixTime::from_seconds(seconds + 500)),
            ),
            "expired-token",
        ),
    ];
    for (token, code) in tokens {
        client.token = token;
        for (path, body) in [
            ("/v1/models", ""),
            ("/v1/models/other", ""),
            ("/v1/chat/completions", "not json"),
            ("/v1/completions", r#"{"model":"other"}"#),
            ("/v1/unheard/of", ""),
            ("/", "x"),
        ] {
            assert_eq!(
                client.post(path, body).await.error(),
                (401, code.to_owned()),
                "{path}"
            );
        }
    }
    system.still_serves().await;
}

#[tokio::test]
async fn bad_requests_are_told_apart() {
    let limits = "prompt_bytes_max = 2000000\nprompt_tokens_max = 60\ncompletion_tokens_max = 32";
    let system = Deployment::serving(&Settings {
        limits,
        ..Settings::default()
    })
    .await;
    let client = system.client().await;
    let chat = |content: &str, extra: &str| chat_body(MODEL, content, extra).into_bytes();
    let invalid_utf8 = [&chat("", "")[..20], &[0xff, 0xfe], b"\"}"].concat();
    let cases: [(Vec<u8>, u16, &str, Option<&str>); 17] = [
        (
            chat_body("other", "x", "").into_bytes(),
            404,
            "unknown-model",
            Some("model"),
        ),
        (
            chat(&"Zebra 9 quilt. ".repeat(60), ""),
            400,
            "prompt-too-long",
            None,
        ),
        (chat(&"a".repeat(1_000_000), ""), 400, "prompt-too-long", None),
        (chat(&"a".repeat(2_000_001), ""), 400, "prompt-too-long", None),
        (invalid_utf8, 400, "invalid-utf8", None),
        (chat("a\0b", ""), 400, "invalid-parameter", Some("messages")),
        (b"{\"model\":\0}".to_vec(), 400, "malformed-request", None),
        (b"{".to_vec(), 400, "malformed-request", None),
        (
            [&b"{\"tools\":"[..], &[b'['; 1_000_000]].concat(),
            400,
            "malformed-request",
            None,
        ),
        (chat("x", r#","n":99"#), 400, "invalid-parameter", Some("n")),
        (
            chat("x", r#","tools":[{"type":"function","function":{"name":"f"}}]"#),
            400,
            "invalid-parameter",
            Some("tools"),
        ),
        (chat("x", r#","unheard":1"#), 400, "unknown-parameter", None),
        (
            chat(
                "x",
                r#","response_format":{"type":"json_schema","json_schema":{"schema":{"type":"x"}}}"#,
            ),
            400,
            "invalid-constraint",
            Some("response_format"),
        ),
        (
            chat("x", r#","logit_bias":{"999999999":1}"#),
            400,
            "invalid-parameter",
            Some("logit_bias"),
        ),
        (
            chat("x", r#","temperature":9"#),
            400,
            "invalid-parameter",
            Some("temperature"),
        ),
        (
            chat("x", r#","max_tokens":33"#),
            400,
            "invalid-parameter",
            Some("max_tokens"),
        ),
        (
            chat("x", r#","max_tokens":0"#),
            400,
            "invalid-parameter",
            Some("max_tokens"),
        ),
    ];
    for (body, status, code, param) in cases {
        let answer = client.send(client.request("/v1/chat/completions", &body)).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        assert_eq!(answer.error(), (status, code.to_owned()), "{shown}");
        assert_eq!(answer.json()["error"]["param"].as_str(), param, "{shown}");
    }
    system.still_serves().await;
}

#[tokio::test]
async fn paths_methods_and_media_types_are_checked() {
    let system = Deployment::serving(&Settings::default()).await;
    let client = system.client().await;
    assert_eq!(
        client.get("/v1/embeddings").await.error(),
        (405, "method-not-allowed".to_owned())
    );
    // A model that continues texts makes no vectors.
    let body = format!(r#"{{"model":"{MODEL}","input":"x"}}"#);
    let refused = client.post("/v1/embeddings", &body).await;
    assert_eq!(refused.error(), (400, "invalid-parameter".to_owned()));
    assert_eq!(refused.json()["error"]["param"], "model");
    assert_eq!(
        client.get("/v1/chat/completions").await.error(),
        (405, "method-not-allowed".to_owned())
    );
    assert_eq!(
        client.post("/v1/models", "{}").await.error(),
        (405, "method-not-allowed".to_owned())
    );
    let mut request = client.request("/v1/chat/completions", b"{}");
    request.headers[0].1 = "text/plain".to_owned();
    assert_eq!(
        client.send(request).await.error(),
        (415, "unsupported-media-type".to_owned())
    );
}

#[tokio::test]
async fn a_prompt_is_found_again_by_its_tenant_under_its_key_and_by_nobody_else() {
    let system = Deployment::serving(&Settings::default()).await;
    let mut client = system.client().await;
    let content = "what is there to tell, and to whom? ".repeat(8);
    let found = async |client: &Client, key: &str| {
        let extra = format!(r#","max_tokens":4,"temperature":0,"prompt_cache_key":"{key}""#);
        let answer = client
            .post("/v1/chat/completions", &chat_body(MODEL, &content, &extra))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let usage = &answer.json()["usage"];
        usage["prompt_tokens_details"]["cached_tokens"].as_u64()
    };
    assert_eq!(found(&client, "a").await, None);
    assert!(found(&client, "a").await >= Some(32));
    assert_eq!(found(&client, "b").await, None);
    let another = system
        .deployment
        .token_with(|claims| claims.tenant = "another".to_owned());
    client.token = Some(another);
    assert_eq!(found(&client, "a").await, None);
}

#[tokio::test]
async fn more_requests_than_places_are_refused_with_a_hint() {
    let limits = "concurrent_requests_max = 1";
    let system = Deployment::serving(&Settings {
        limits,
        ..Settings::default()
    })
    .await;
    let client = system.client().await;
    let chats = (0..24).map(|_| client.chat(r#","max_tokens":60"#));
    let answers = futures_util::future::join_all(chats).await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| answer.status != 200);
    for answer in refused {
        assert_eq!(answer.error(), (429, "overloaded".to_owned()));
        assert!(
            answer
                .headers
                .contains(&("retry-after".to_owned(), "1".to_owned()))
        );
        assert!(
            answer.json()["error"]["message"]
                .as_str()
                .is_some_and(|text| text.contains("again"))
        );
    }
    assert!((1..24).contains(&served), "{served}");
    system.still_serves().await;
}

#[tokio::test]
async fn sealed_pieces_of_a_stream_have_few_sizes() {
    for (padding, sizes_max) in [("sized", 4), ("constant", 3)] {
        let top = if padding == "sized" {
            "padding = \"sized\""
        } else {
            "padding = \"constant\""
        };
        let system = Deployment::serving(&Settings {
            top,
            ..Settings::default()
        })
        .await;
        let answer = system
            .client()
            .await
            .chat(r#","stream":true,"max_tokens":40"#)
            .await;
        assert!(!answer.events().is_empty());
        let mut sizes = answer.frame_bytes.clone();
        sizes.sort_unstable();
        sizes.dedup();
        assert!(sizes.len() <= sizes_max, "{padding}: {:?}", answer.frame_bytes);
    }
}

#[tokio::test]
async fn the_other_profile_and_the_other_platform_serve_too() {
    let settings = Settings {
        flavor: simulated::Flavor::Tdx,
        top: "profile = \"fips\"",
        ..Settings::default()
    };
    let system = Deployment::serving(&settings).await;
    assert_eq!(system.client().await.chat(GREEDY).await.status, 200);
}

#[tokio::test]
async fn several_completions_come_whole_and_streamed() {
    let system = Deployment::serving(&Settings::default()).await;
    let client = system.client().await;
    let asked = r#","n":3,"seed":5,"max_tokens":8"#;
    let whole = client.chat(asked).await.json();
    let choices = whole["choices"].as_array().map_or(0, Vec::len);
    assert_eq!(choices, 3, "{whole}");
    assert!(
        whole["system_fingerprint"]
            .as_str()
            .is_some_and(|text| text.starts_with("fp_"))
    );
    let events = client.chat(&format!(r#"{asked},"stream":true"#)).await.events();
    for index in 0..3 {
        let of_index = |event: &&Value| event["choices"][0]["index"] == index;
        let text: String = events
            .iter()
            .filter(of_index)
            .filter_map(|event| event["choices"][0]["delta"]["content"].as_str())
            .collect();
        assert_eq!(Value::String(text), whole["choices"][index]["message"]["content"]);
        let reasons = events
            .iter()
            .filter(of_index)
            .filter(|event| !event["choices"][0]["finish_reason"].is_null());
        assert_eq!(reasons.count(), 1);
    }
    system.still_serves().await;
}

#[tokio::test]
async fn a_form_is_kept_to_and_log_probabilities_are_told() {
    let system = Deployment::serving(&Settings::default()).await;
    let client = system.client().await;
    let schema = r#"{"type":"object","properties":{"ok":{"type":"boolean"},"n":{"enum":[1,2]}},"required":["ok","n"],"additionalProperties":false}"#;
    let answer = client
        .chat(&format!(
            r#","max_tokens":200,"seed":1,"response_format":{{"type":"json_schema","json_schema":{{"name":"n","schema":{schema}}}}}"#
        ))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let document = answer.json();
    let said = document["choices"][0]["message"]["content"]
        .as_str()
        .unwrap_or_default();
    if document["choices"][0]["finish_reason"] == "stop" {
        let value: Value = serde_json::from_str(said).unwrap_or_default();
        assert!(
            value["ok"].is_boolean() && (value["n"] == 1 || value["n"] == 2),
            "{said}"
        );
    }
    let told = client
        .chat(&format!(r#"{GREEDY},"logprobs":true,"top_logprobs":2"#))
        .await
        .json();
    let content = told["choices"][0]["logprobs"]["content"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let text: String = content
        .iter()
        .filter_map(|token| token["token"].as_str())
        .collect();
    assert!(
        !content.is_empty()
            && content
                .iter()
                .all(|token| token["top_logprobs"].as_array().is_some_and(|top| top.len() == 2))
    );
    assert_eq!(Value::String(text), told["choices"][0]["message"]["content"]);
}

#[tokio::test]
async fn a_prompt_is_echoed_where_that_is_asked() {
    let system = Deployment::serving(&Settings::default()).await;
    let client = system.client().await;
    let body =
        format!(r#"{{"model":"{MODEL}","prompt":"Evidence is","temperature":0,"max_tokens":6,"echo":true}}"#);
    let echoed = client.post("/v1/completions", &body).await.json();
    let plain = client
        .post("/v1/completions", &body.replace("true", "false"))
        .await
        .json();
    let text = |document: &Value| {
        document["choices"][0]["text"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(text(&echoed), format!("Evidence is{}", text(&plain)));
}

#[tokio::test]
async fn a_deadline_is_told_by_its_name() {
    // The limits of the deployment let a request run for far longer than a second.
    let limits = "completion_tokens_max = 1000000\nrequest_seconds_max = 300";
    let system = Deployment::serving(&Settings {
        limits,
        ..Settings::default()
    })
    .await;
    let client = system.client().await;
    assert_eq!(
        client.chat(r#","timeout_seconds":301"#).await.error(),
        (400, "invalid-parameter".to_owned())
    );
    let endless = r#","timeout_seconds":1,"structured_outputs":{"regex":"[a-z]{1000000}"}"#;
    let answer = client.chat(endless).await;
    // Where the context ends sooner than the second does, there is an answer.
    if answer.status != 200 {
        assert!(
            [(504, "deadline-exceeded"), (400, "invalid-constraint")]
                .iter()
                .any(|(status, code)| answer.error() == (*status, (*code).to_owned())),
            "{}",
            answer.text()
        );
    }
    system.still_serves().await;
}
