//! An embedding model behind the sealed surface.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use inference::{Embedder, ModelFiles};
use serde_json::Value;

use crate::support::{Deployment, MODEL, Settings, model_files};

const FIXTURE: &str = "bert-mean";

fn embedder() -> Embedder {
    let names = [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "modules.json",
        "1_Pooling/config.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
    ];
    let files: Vec<(&str, Vec<u8>)> = names
        .into_iter()
        .filter_map(|name| Some((name, std::fs::read(model_files(FIXTURE).join(name)).ok()?)))
        .collect();
    let files: ModelFiles<'_> = files
        .iter()
        .map(|(name, bytes)| (*name, bytes.as_slice()))
        .collect();
    Embedder::load(&files).expect("the fixture loads")
}

fn numbers(value: &Value) -> Vec<f32> {
    let numbers = value.as_array().expect("an array").iter();
    numbers
        .map(|number| number.as_f64().expect("a number") as f32)
        .collect()
}

#[tokio::test]
async fn vectors_are_those_of_the_model_in_both_encodings() {
    let system = Deployment::serving(&Settings {
        model: FIXTURE,
        ..Settings::default()
    })
    .await;
    let client = system.client().await;
    let embedder = embedder();
    let texts = ["the first text", "and another"];
    let body = |extra: &str| {
        format!(
            r#"{{"model":"{MODEL}","input":["{}","{}"]{extra}}}"#,
            texts[0], texts[1]
        )
    };
    let answer = client.post("/v1/embeddings", &body("")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let document = answer.json();
    let base64 = client
        .post("/v1/embeddings", &body(r#","encoding_format":"base64""#))
        .await
        .json();
    let mut tokens = 0;
    for (index, text) in texts.into_iter().enumerate() {
        let expected = embedder.embed(text).expect("it embeds");
        tokens += expected.tokens();
        let item = &document["data"][index];
        assert_eq!(
            (item["object"].as_str(), item["index"].as_u64()),
            (Some("embedding"), Some(index as u64))
        );
        assert_eq!(numbers(&item["embedding"]), expected.expose_vector());
        let bytes = BASE64
            .decode(base64["data"][index]["embedding"].as_str().expect("a text"))
            .expect("base64");
        let decoded: Vec<f32> = bytes
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four bytes")))
            .collect();
        assert_eq!(decoded, expected.expose_vector());
    }
    assert_eq!(document["usage"]["prompt_tokens"], tokens);
    let receipt = answer.receipt.expect("a receipt");
    assert_eq!(receipt.prompt_tokens, tokens as u64);
}

#[tokio::test]
async fn what_the_model_cannot_do_is_refused_by_name() {
    let system = Deployment::serving(&Settings {
        model: FIXTURE,
        ..Settings::default()
    })
    .await;
    let client = system.client().await;
    let dimensions = format!(r#"{{"model":"{MODEL}","input":"x","dimensions":1}}"#);
    let long = format!(r#"{{"model":"{MODEL}","input":"{}"}}"#, "word ".repeat(20_000));
    let chat = format!(r#"{{"model":"{MODEL}","messages":[{{"role":"user","content":"x"}}]}}"#);
    for (path, body, code, param) in [
        ("/v1/embeddings", dimensions, "invalid-parameter", "dimensions"),
        ("/v1/embeddings", long, "context-exceeded", "input"),
        ("/v1/chat/completions", chat, "invalid-parameter", "model"),
    ] {
        let answer = client.post(path, &body).await;
        assert_eq!(answer.error(), (400, code.to_owned()));
        assert_eq!(answer.json()["error"]["param"], param);
    }
}
