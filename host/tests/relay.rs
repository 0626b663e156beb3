//! The relay against an enclave that behaves and one that does not: what the client sees, what the enclave sees.

use std::{path::Path, sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use host::{
    channel::ENCLAVE_SOCKET,
    metrics::Metrics,
    relay::{self, Relay},
    server,
};
use http_body_util::BodyExt;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};
use tokio_util::codec::Framed;
use wire::{
    Problem, ProblemCode,
    frame::{Frame, FrameCodec},
    media,
    message::{Media, StreamPurpose},
};

type Stream = Framed<UnixStream, FrameCodec>;

/// A relay on loopback whose enclave is the given function.
struct Rig {
    base: String,
    metrics: Arc<Metrics>,
    _folder: tempfile::TempDir,
    _stop: watch::Sender<bool>,
}

impl Rig {
    async fn new<F, A>(requests_max: usize, idle: Duration, enclave: F) -> Self
    where
        F: Fn(StreamPurpose, Stream) -> A + Send + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        let folder = tempfile::tempdir().expect("temporary folder");
        listen(folder.path(), enclave);
        let metrics = Arc::new(Metrics::new());
        let relay = Relay {
            channel: folder.path().to_owned(),
            requests: Arc::new(Semaphore::new(requests_max)),
            idle,
            metrics: Arc::clone(&metrics),
        };
        let any_port = "127.0.0.1:0".parse().expect("an address");
        let (listener, address) = server::bind(any_port).await.expect("loopback");
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(server::serve(
            listener,
            None,
            relay::routes(Arc::new(relay)),
            16,
            stopped,
        ));
        Self {
            base: format!("http://{address}"),
            metrics,
            _folder: folder,
            _stop: stop,
        }
    }

    async fn post(&self, content_type: &str, body: Body) -> axum::http::Response<hyper::body::Incoming> {
        let request = axum::http::Request::post(format!("{}{}", self.base, media::OHTTP_PATH))
            .header("content-type", content_type)
            .body(body)
            .expect("a request");
        client().request(request).await.expect("the relay answers")
    }

    fn counted(&self, outcome: &str) -> bool {
        let line = format!("adyton_host_requests_total{{outcome=\"{outcome}\"}} 1");
        self.metrics.encode(None).contains(&line)
    }
}

fn client() -> Client<hyper_util::client::legacy::connect::HttpConnector, Body> {
    Client::builder(TokioExecutor::new()).build_http()
}

fn listen<F, A>(folder: &Path, enclave: F)
where
    F: Fn(StreamPurpose, Stream) -> A + Send + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let listener = UnixListener::bind(folder.join(ENCLAVE_SOCKET)).expect("a fresh folder");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let mut stream = Framed::new(socket, FrameCodec);
            if let Some(Ok(Frame::Open(purpose))) = stream.next().await {
                tokio::spawn(enclave(purpose, stream));
            }
        }
    });
}

/// Reads the request to its End; false when it was cut or aborted.
async fn read_request(stream: &mut Stream, into: &mut Vec<u8>) -> bool {
    while let Some(Ok(frame)) = stream.next().await {
        match frame {
            Frame::Data(data) => into.extend_from_slice(&data),
            Frame::End => return true,
            _ => return false,
        }
    }
    false
}

async fn echo(_: StreamPurpose, mut stream: Stream) {
    let mut request = Vec::new();
    if read_request(&mut stream, &mut request).await {
        for frame in Frame::data(Bytes::from(request)) {
            stream.send(frame).await.expect("the host reads");
        }
        stream.send(Frame::End).await.expect("the host reads");
    }
}

const IDLE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_request_passes_unchanged_in_both_directions() {
    let rig = Rig::new(4, IDLE, echo).await;
    let sealed: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
    for media in [Media::OneShot, Media::Chunked] {
        let answer = rig.post(media.request_type(), Body::from(sealed.clone())).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], media.response_type());
        assert_eq!(
            answer.into_body().collect().await.expect("whole").to_bytes(),
            sealed
        );
    }
}

#[tokio::test]
async fn the_enclaves_refusal_becomes_a_problem_document() {
    let rig = Rig::new(4, IDLE, |_, mut stream: Stream| async move {
        let _ = read_request(&mut stream, &mut Vec::new()).await;
        stream
            .send(Frame::Abort(ProblemCode::KeyConfig))
            .await
            .expect("the host reads");
    })
    .await;
    let answer = rig.post(media::OHTTP_REQUEST, Body::from("garbage")).await;
    assert_eq!(answer.status(), 422);
    assert_eq!(answer.headers()["content-type"], media::PROBLEM);
    let body = answer.into_body().collect().await.expect("whole").to_bytes();
    assert_eq!(
        Problem::from_json(&body).expect("a document").code(),
        Some(ProblemCode::KeyConfig)
    );
    assert!(rig.counted("Problem"));
}

#[tokio::test]
async fn a_stream_without_its_end_breaks_the_response() {
    let rig = Rig::new(4, IDLE, |_, mut stream: Stream| async move {
        let _ = read_request(&mut stream, &mut Vec::new()).await;
        stream
            .send(Frame::Data(Bytes::from_static(b"half an answer")))
            .await
            .expect("the host reads");
    })
    .await;
    let request = axum::http::Request::post(format!("{}{}", rig.base, media::OHTTP_PATH))
        .header("content-type", media::OHTTP_CHUNKED_REQUEST)
        .body(Body::from("x"))
        .expect("a request");
    // The break may overtake the head of the response; either way nothing looks whole.
    if let Ok(answer) = client().request(request).await {
        assert_eq!(answer.status(), 200);
        assert!(
            answer.into_body().collect().await.is_err(),
            "a cut answer must not look whole"
        );
    }
    assert!(rig.counted("Cut"));
}

#[tokio::test]
async fn a_silent_enclave_is_cut_after_the_idle_bound() {
    let rig = Rig::new(
        4,
        Duration::from_millis(200),
        |_, mut stream: Stream| async move {
            stream
                .send(Frame::Data(Bytes::from_static(b"then nothing")))
                .await
                .expect("the host reads");
            tokio::time::sleep(Duration::from_secs(60)).await;
        },
    )
    .await;
    let answer = rig.post(media::OHTTP_CHUNKED_REQUEST, Body::from("x")).await;
    let whole = timeout(Duration::from_secs(10), answer.into_body().collect())
        .await
        .expect("bounded");
    assert!(whole.is_err());
}

#[tokio::test]
async fn a_client_that_leaves_closes_the_enclaves_stream() {
    let (seen, mut closed) = mpsc::channel(1);
    let rig = Rig::new(4, IDLE, move |_, mut stream: Stream| {
        let seen = seen.clone();
        async move {
            let _ = read_request(&mut stream, &mut Vec::new()).await;
            while stream.send(Frame::Data(Bytes::from(vec![0; 1024]))).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let _ = seen.send(()).await;
        }
    })
    .await;
    let mut answer = rig.post(media::OHTTP_CHUNKED_REQUEST, Body::from("x")).await;
    assert!(answer.body_mut().frame().await.is_some());
    drop(answer);
    timeout(Duration::from_secs(10), closed.recv())
        .await
        .expect("the enclave notices");
    timeout(Duration::from_secs(10), async {
        while !rig.counted("Cancelled") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("counted as cancelled");
}

#[tokio::test]
async fn a_client_that_stops_half_way_is_a_cut_request_to_the_enclave() {
    let (seen, mut whole) = mpsc::channel(1);
    let rig = Rig::new(4, IDLE, move |_, mut stream: Stream| {
        let seen = seen.clone();
        async move {
            let complete = read_request(&mut stream, &mut Vec::new()).await;
            let _ = seen.send(complete).await;
        }
    })
    .await;
    let half = futures_util::stream::once(async { Ok(Bytes::from_static(b"half")) });
    let gone = futures_util::stream::once(async {
        tokio::time::sleep(Duration::from_millis(200)).await; // the first half must have left
        Err(std::io::Error::other("gone"))
    });
    let parts = half.chain(gone);
    let request = axum::http::Request::post(format!("{}{}", rig.base, media::OHTTP_PATH))
        .header("content-type", media::OHTTP_CHUNKED_REQUEST)
        .body(Body::from_stream(parts))
        .expect("a request");
    let _ = client().request(request).await;
    let complete = timeout(Duration::from_secs(10), whole.recv())
        .await
        .expect("the enclave sees its end");
    assert_eq!(complete, Some(false));
}

#[tokio::test]
async fn bounds_answer_before_the_enclave_is_asked() {
    let rig = Rig::new(1, IDLE, |_, mut stream: Stream| async move {
        let _ = read_request(&mut stream, &mut Vec::new()).await;
        stream
            .send(Frame::Data(Bytes::from_static(b"x")))
            .await
            .expect("the host reads");
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    let first = rig.post(media::OHTTP_CHUNKED_REQUEST, Body::from("x")).await;
    let second = rig.post(media::OHTTP_CHUNKED_REQUEST, Body::from("x")).await;
    assert_eq!(second.status().as_u16(), ProblemCode::Overloaded.status());
    assert!(second.headers().contains_key("retry-after"));
    drop(first);
    assert_eq!(rig.post("application/json", Body::from("{}")).await.status(), 415);
}

#[tokio::test]
async fn an_oversized_request_is_refused() {
    let rig = Rig::new(4, IDLE, |_, mut stream: Stream| async move {
        if !read_request(&mut stream, &mut Vec::new()).await {
            stream
                .send(Frame::Abort(ProblemCode::TooLarge))
                .await
                .expect("the host reads");
        }
    })
    .await;
    let body = Body::from(vec![0; wire::limits::ENCAPSULATED_REQUEST_BYTES_MAX + 1]);
    assert_eq!(rig.post(media::OHTTP_REQUEST, body).await.status(), 413);
}

#[tokio::test]
async fn evidence_is_relayed_and_nonces_are_checked() {
    let rig = Rig::new(4, IDLE, |purpose, mut stream: Stream| async move {
        let StreamPurpose::Evidence { nonce } = purpose else {
            return;
        };
        stream
            .send(Frame::Data(Bytes::copy_from_slice(&nonce)))
            .await
            .expect("the host reads");
        stream.send(Frame::End).await.expect("the host reads");
    })
    .await;
    let get = async |query: &str| {
        let url = format!("{}{}{query}", rig.base, media::EVIDENCE_PATH);
        client()
            .get(url.parse().expect("a URL"))
            .await
            .expect("the relay answers")
    };
    let answer = get("?nonce=AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(
        answer.into_body().collect().await.expect("whole").to_bytes(),
        [1; 32][..]
    );
    for wrong in ["", "?nonce=", "?nonce=AQ", "?nonce=****", "?other=1"] {
        assert_eq!(get(wrong).await.status(), 400, "{wrong}");
    }
}

#[tokio::test]
async fn without_an_enclave_the_answer_is_not_ready() {
    let rig = Rig::new(4, IDLE, echo).await;
    std::fs::remove_file(rig._folder.path().join(ENCLAVE_SOCKET)).expect("it was there");
    let answer = rig.post(media::OHTTP_REQUEST, Body::from("x")).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
}
