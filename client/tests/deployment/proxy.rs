//! The proxy as an OpenAI client sees it.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use client::{
    output::{Color, Output},
    proxy::{self, relay::Relay},
};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    enclave::WORDS,
    host::{EvidenceFault, Fault, Host, lock},
    open, verifier,
};

const QUIET: Output = Output {
    json: false,
    quiet: true,
    color: Color::Never,
};

struct Running {
    address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    _stop: watch::Sender<bool>,
}

struct Got {
    status: StatusCode,
    headers: http::HeaderMap,
    /// What came before the end or the break.
    body: String,
    /// Whether the response ended as HTTP says that it should.
    whole: bool,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }
}

impl Running {
    async fn before(host: &Arc<Host>) -> Self {
        let token_dir = tempfile::tempdir().expect("a temporary directory").keep();
        let token_file = token_dir.join("token");
        std::fs::write(&token_file, "adt_right\n").expect("writable");
        let session = Arc::new(open(host, verifier()).await.expect("accepted"));
        let relay = Arc::new(Relay {
            session,
            token_file: Some(token_file),
        });
        let listener = proxy::bind("127.0.0.1:0".parse().expect("an address"), false)
            .await
            .expect("free");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(proxy::serve(listener, relay, QUIET, stopped));
        Self {
            address,
            client: Client::builder(TokioExecutor::new()).build_http(),
            _stop: stop,
        }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Got {
        let response = self.client.request(request).await.expect("the proxy answers");
        let (parts, mut incoming) = response.into_parts();
        let (mut body, mut whole) = (Vec::new(), true);
        while let Some(frame) = incoming.frame().await {
            match frame {
                Ok(frame) => body.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(_) => {
                    whole = false;
                    break;
                }
            }
        }
        let body = String::from_utf8(body).expect("text");
        Got {
            status: parts.status,
            headers: parts.headers,
            body,
            whole,
        }
    }

    async fn get(&self, path: &str) -> Got {
        let request = Request::get(format!("http://{}{path}", self.address)).body(Full::default());
        self.send(request.expect("a request")).await
    }

    async fn chat(&self, stream: bool) -> Got {
        self.chat_with(stream, None).await
    }

    async fn chat_with(&self, stream: bool, token: Option<&str>) -> Got {
        let body = json!({ "model": "sample", "stream": stream, "messages": [{ "role": "user", "content": "hello" }] });
        let mut request = Request::post(format!("http://{}/v1/chat/completions", self.address))
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        self.send(request.body(Full::from(body.to_string())).expect("a request"))
            .await
    }
}

#[tokio::test]
async fn chat_stream_and_models_pass_through() {
    let host = Host::new(b"enclave");
    let proxy = Running::before(&host).await;
    let models = proxy.get("/v1/models").await;
    assert_eq!(
        (models.status, models.json()["data"][0]["id"].as_str()),
        (StatusCode::OK, Some("sample"))
    );

    let chat = proxy.chat(false).await;
    assert_eq!(chat.json()["choices"][0]["message"]["content"], WORDS.concat());
    assert!(chat.headers.contains_key("adyton-receipt"));
    assert_eq!(chat.headers["adyton-assurance"], "simulated");
    assert_eq!(chat.headers[header::CACHE_CONTROL], "no-store");

    let stream = proxy.chat(true).await;
    assert!(stream.whole);
    assert!(
        stream.headers[header::CONTENT_TYPE]
            .to_str()
            .is_ok_and(|kind| kind.starts_with("text/event-stream"))
    );
    assert!(stream.body.ends_with("data: [DONE]\n\n"), "{}", stream.body);
    assert!(stream.body.contains(": adyton-receipt "), "{}", stream.body);
    let words: Vec<String> = stream
        .body
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        .filter_map(|event| {
            event["choices"][0]["delta"]["content"]
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    assert_eq!(words, WORDS);
}

#[tokio::test]
async fn errors_of_the_enclave_pass_through() {
    let host = Host::new(b"enclave");
    let proxy = Running::before(&host).await;
    let wrong = proxy.chat_with(false, Some("adt_wrong")).await;
    assert_eq!(
        (wrong.status, wrong.json()["error"]["code"].as_str()),
        (StatusCode::UNAUTHORIZED, Some("unauthorized-token"))
    );
    assert_eq!(
        proxy.chat_with(true, Some("adt_right")).await.status,
        StatusCode::OK
    );
    assert_eq!(proxy.get("/v1/nothing").await.status, StatusCode::NOT_FOUND);
    let busy = proxy.get("/v1/models/busy").await;
    assert_eq!(
        (busy.status, busy.json()["error"]["type"].as_str()),
        (StatusCode::TOO_MANY_REQUESTS, Some("rate_limit_error"))
    );
    assert_eq!(
        busy.headers[header::RETRY_AFTER],
        "1",
        "so OpenAI clients try again"
    );
    assert_eq!(proxy.get("/elsewhere").await.json()["error"]["code"], "not-found");
}

#[tokio::test]
async fn a_broken_stream_is_a_broken_response_and_never_a_short_one() {
    let host = Host::new(b"enclave");
    let proxy = Running::before(&host).await;
    let last = WORDS.len() + 3;
    for fault in [
        Fault::EndBefore(2),
        Fault::EndBefore(last),
        Fault::CutBefore(3),
        Fault::Swap(2),
        Fault::Duplicate(4),
        Fault::Drop(3),
        Fault::Flip(5),
        Fault::Flip(last),
    ] {
        *lock(&host.fault) = fault;
        let got = proxy.chat(true).await;
        assert!(
            !got.whole || got.status == StatusCode::BAD_GATEWAY,
            "{fault:?}: {}",
            got.body
        );
        assert!(!got.body.contains("[DONE]"), "{fault:?}: {}", got.body);
        assert!(
            got.body.contains("\"answer-broken\""),
            "{fault:?} is named: {}",
            got.body
        );
        let whole = proxy.chat(false).await;
        if whole.status == StatusCode::OK {
            // The answer in one piece has fewer pieces than the fault counts.
            assert_eq!(whole.json()["choices"][0]["message"]["content"], WORDS.concat());
        }
    }
    for fault in [
        Fault::EndBefore(0),
        Fault::Flip(0),
        Fault::Drop(0),
        Fault::Duplicate(0),
        Fault::Earlier,
    ] {
        *lock(&host.fault) = fault;
        let got = proxy.chat(false).await;
        assert_eq!(
            (got.status, got.json()["error"]["code"].as_str()),
            (StatusCode::BAD_GATEWAY, Some("answer-broken")),
            "{fault:?}"
        );
    }
    *lock(&host.fault) = Fault::None;
    assert!(proxy.chat(true).await.whole);
}

#[tokio::test]
async fn a_wrong_receipt_is_no_end() {
    let host = Host::new(b"enclave");
    let proxy = Running::before(&host).await;
    lock(&host.enclave).forge_receipts();
    let stream = proxy.chat(true).await;
    assert!(
        !stream.whole && !stream.body.contains("[DONE]"),
        "{}",
        stream.body
    );
    assert!(stream.body.contains("\"receipt-invalid\""));
    let chat = proxy.chat(false).await;
    assert_eq!(
        (chat.status, chat.json()["error"]["code"].as_str()),
        (StatusCode::BAD_GATEWAY, Some("receipt-invalid"))
    );
    assert!(!chat.body.contains(WORDS[0]));
}

#[tokio::test]
async fn a_rotation_goes_unnoticed() {
    let host = Host::new(b"enclave");
    let proxy = Running::before(&host).await;
    lock(&host.enclave).rotate(host.now());
    assert_eq!(proxy.chat(false).await.status, StatusCode::OK);
    assert_eq!(host.relayed.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn other_code_at_an_epoch_change_is_refused_with_its_clause_and_stays_refused() {
    let host = Host::new(b"enclave");
    let proxy = Running::before(&host).await;
    *lock(&host.enclave) = super::enclave::Enclave::boot(b"other enclave", host.now());
    for _ in 0..3 {
        let got = proxy.chat(true).await;
        assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
        let error = &got.json()["error"];
        assert_eq!(
            (error["code"].as_str(), error["type"].as_str()),
            (Some("evidence-mismatch"), Some("server_error"))
        );
        assert!(
            error["clause"]["id"]
                .as_str()
                .is_some_and(|id| id.contains("measurement")),
            "{error}"
        );
    }
    assert_eq!(
        host.relayed.load(Ordering::SeqCst),
        1,
        "only the request that could not be opened was sent"
    );
    assert_eq!(
        proxy.get("/healthz").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test]
async fn evidence_that_is_too_old_is_replaced_or_nothing_is_sent() {
    let host = Host::new(b"enclave");
    let proxy = Running::before(&host).await;
    host.elapsed.store(901, Ordering::SeqCst);
    let asked = host.evidence_asked.load(Ordering::SeqCst);
    assert_eq!(proxy.chat(false).await.status, StatusCode::OK);
    assert!(host.evidence_asked.load(Ordering::SeqCst) > asked);
    host.elapsed.store(1802, Ordering::SeqCst);
    *lock(&host.evidence_fault) = EvidenceFault::Away;
    let relayed = host.relayed.load(Ordering::SeqCst);
    let got = proxy.chat(false).await;
    assert_eq!(
        (got.status, got.json()["error"]["code"].as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, Some("not-ready"))
    );
    assert_eq!(host.relayed.load(Ordering::SeqCst), relayed);
}

#[tokio::test]
async fn web_pages_are_kept_away() {
    let host = Host::new(b"enclave");
    let proxy = Running::before(&host).await;
    let url = format!("http://{}/v1/models", proxy.address);
    let rebound = Request::get(&url)
        .header(header::HOST, "evil.example")
        .body(Full::default())
        .expect("a request");
    assert_eq!(proxy.send(rebound).await.status, StatusCode::FORBIDDEN);
    let plain = Request::post(&url)
        .header(header::CONTENT_TYPE, "text/plain")
        .body(Full::from("{}"))
        .expect("a request");
    assert_eq!(proxy.send(plain).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(host.relayed.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn only_loopback_is_listened_on_unless_the_danger_is_accepted() {
    let anywhere: SocketAddr = "0.0.0.0:0".parse().expect("an address");
    assert_eq!(
        proxy::bind(anywhere, false).await.expect_err("refused").code(),
        "usage"
    );
    assert!(proxy::bind(anywhere, true).await.is_ok());
    let taken = proxy::bind("127.0.0.1:0".parse().expect("an address"), false)
        .await
        .expect("free");
    let address = taken.local_addr().expect("bound");
    assert_eq!(
        proxy::bind(address, false).await.expect_err("taken").code(),
        "port-taken"
    );
}
