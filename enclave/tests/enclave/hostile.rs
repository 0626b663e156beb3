//! A host or client that sends what it should not. Each time the enclave serves the next request.

use std::time::Duration;

use bytes::Bytes;
use exchange::{Padding, UnixTime, client::Exchange};
use futures_util::{SinkExt, StreamExt};
use sealing::stream::RequestSealer;
use tokio::io::AsyncWriteExt;
use wire::{
    ProblemCode,
    frame::Frame,
    message::{Media, StreamPurpose},
};

use crate::support::{
    Client, Deployment, MODEL, Settings, chat_body, deployment_now as now, open_stream, read_whole,
};

#[tokio::test]
async fn what_cannot_be_opened_gets_the_one_refusal() {
    let system = Deployment::serving(&Settings::default()).await;
    let mut client = system.client().await;
    for media in [Media::Chunked, Media::OneShot] {
        client.media = media;
        let body = chat_body(MODEL, "never opened", "");
        let sealed = || {
            client
                .seal(client.request("/v1/chat/completions", body.as_bytes()))
                .0
        };
        let size = sealed().len();
        for cut in [0, 1, 6, 7, 100, 1126, 1127, 1128, size / 2, size - 17, size - 1] {
            assert_eq!(
                client.refusal_of(&sealed()[..cut]).await,
                ProblemCode::KeyConfig,
                "cut to {cut} of {size}"
            );
        }
        for at in [0, 1, 3, 5, 7, 500, 1130, 1400, size - 1] {
            let mut altered = sealed();
            altered[at] ^= 1;
            assert_eq!(
                client.refusal_of(&altered).await,
                ProblemCode::KeyConfig,
                "byte {at} of {size}"
            );
        }
        let extended = [&sealed()[..], &[0]].concat();
        assert_eq!(client.refusal_of(&extended).await, ProblemCode::KeyConfig);
        assert_eq!(client.refusal_of(&[0xa5; 5000]).await, ProblemCode::KeyConfig);
    }
    system.still_serves().await;
}

#[tokio::test]
async fn a_replayed_request_is_not_answered_twice() {
    let system = Deployment::serving(&Settings::default()).await;
    let client = system.client().await;
    let body = chat_body(MODEL, "once", r#","max_tokens":2"#);
    let (sealed, reader) = client.seal(client.request("/v1/chat/completions", body.as_bytes()));
    let mut first = client.send_sealed(&sealed).await;
    assert_eq!(client.read(&mut first, reader).await.status, 200);
    for _ in 0..3 {
        assert_eq!(client.refusal_of(&sealed).await, ProblemCode::KeyConfig);
    }
    let status = system.status().await.expect("a status");
    assert_eq!((status.replays_refused_total, status.requests_total), (3, 1));
    system.still_serves().await;
}

#[tokio::test]
async fn a_date_outside_the_window_is_refused_inside_the_seal() {
    let system = Deployment::serving(&Settings {
        top: "date_window_seconds = 60",
        ..Settings::default()
    })
    .await;
    let client = system.client().await;
    let request = client.request("/v1/models", b"");
    let later = UnixTime::from_seconds(now().seconds() + 300);
    let (sealed, reader) =
        Exchange::seal(&client.key, Media::Chunked, request, Padding::Sized, later).expect("it seals");
    let mut frames = client.send_sealed(&sealed.into_bytes()).await;
    let answer = client.read(&mut frames, reader).await;
    assert_eq!(answer.error(), (400, "date-outside-window".to_owned()));
    system.still_serves().await;
}

/// A GET of `/v1/models` as binary HTTP of known length (RFC 9292 section 3.1), without a date and a token.
fn inner_message() -> Vec<u8> {
    let mut message = vec![0];
    for part in ["GET", "https", "", "/v1/models"] {
        message.push(u8::try_from(part.len()).expect("short"));
        message.extend(part.as_bytes());
    }
    message.extend([0, 0, 0]); // no fields, no content, no trailers
    message
}

/// Seals anything as the inner message and gives the plaintext of the answer.
async fn answer_to(client: &Client, inner: &[u8]) -> String {
    let mut sealed = Vec::new();
    let sealer = RequestSealer::new(&client.key, Media::OneShot, now(), &mut sealed).expect("a fresh key");
    let opener = sealer.finish(inner, &mut sealed).expect("it seals");
    let mut frames = client.send_sealed(&sealed).await;
    let answer = read_whole(&mut frames)
        .await
        .expect("whole")
        .expect("a sealed answer");
    let (mut opener, mut chunks) = (opener, Vec::new());
    opener.push(&answer, &mut chunks).expect("authentic");
    opener.finish(&mut chunks).expect("whole");
    chunks
        .iter()
        .map(|chunk| String::from_utf8_lossy(chunk).into_owned())
        .collect()
}

#[tokio::test]
async fn malformed_inner_messages_are_refused_inside_the_seal() {
    let system = Deployment::serving(&Settings::default()).await;
    let mut client = system.client().await;
    client.media = Media::OneShot;
    let whole = inner_message();
    for cut in 0..whole.len() {
        let answer = answer_to(&client, &whole[..cut]).await;
        assert!(answer.contains("\"code\":"), "cut to {cut}: {answer}");
    }
    for inner in [
        &b"\x00\xff\xff\xff\xff\xff\xff\xff\xff"[..],
        b"GET /v1/models HTTP/1.1\r\n\r\n",
        &[0x40; 300],
    ] {
        let answer = answer_to(&client, inner).await;
        assert!(
            answer.contains("malformed-request") || answer.contains("too-large"),
            "{answer}"
        );
    }
    system.still_serves().await;
}

#[tokio::test]
async fn a_request_over_the_bound_is_refused_before_it_is_whole() {
    let system = Deployment::serving(&Settings {
        limits: "request_bytes_max = 100000",
        ..Settings::default()
    })
    .await;
    let client = system.client().await;
    let body = chat_body(MODEL, &"a".repeat(200_000), "");
    let (sealed, _) = client.seal(client.request("/v1/chat/completions", body.as_bytes()));
    let mut frames = client.open_gateway().await;
    for frame in Frame::data(Bytes::from(sealed)) {
        if frames.send(frame).await.is_err() {
            break;
        }
    }
    assert_eq!(
        read_whole(&mut frames).await,
        Some(Err(ProblemCode::TooLarge)),
        "no end was sent"
    );
    system.still_serves().await;
}

#[tokio::test]
async fn frames_that_make_no_sense_end_the_stream_only() {
    let system = Deployment::serving(&Settings::default()).await;
    let client = system.client().await;
    let channel = system.deployment.channel();
    // Cut in the middle of a request, without End.
    let body = chat_body(MODEL, "cut", "");
    let (sealed, _) = client.seal(client.request("/v1/chat/completions", body.as_bytes()));
    let mut frames = client.open_gateway().await;
    frames
        .send(Frame::Data(Bytes::from(sealed)))
        .await
        .expect("it reads");
    drop(frames);
    // Garbage in place of frames.
    let mut frames = client.open_gateway().await;
    frames.get_mut().write_all(&[0xff; 64]).await.expect("it reads");
    assert_eq!(read_whole(&mut frames).await, None);
    // A purpose that is the enclave's to open, and none at all.
    let mut frames = open_stream(&channel, StreamPurpose::Log)
        .await
        .expect("it listens");
    assert_eq!(
        read_whole(&mut frames).await,
        Some(Err(ProblemCode::MalformedRequest))
    );
    drop(
        tokio::net::UnixStream::connect(channel.join("enclave.sock"))
            .await
            .expect("it listens"),
    );
    system.still_serves().await;
}

#[tokio::test]
async fn a_cancelled_stream_frees_its_place() {
    let settings = Settings {
        top: "padding = \"constant\"", // keeps the stream going after the last token
        limits: "concurrent_requests_max = 1",
        ..Settings::default()
    };
    let mut system = Deployment::serving(&settings).await;
    let client = system.client().await;
    for _ in 0..3 {
        let body = chat_body(
            MODEL,
            "tell me",
            r#","stream":true,"max_tokens":150,"temperature":0"#,
        );
        let (sealed, _) = client.seal(client.request("/v1/chat/completions", body.as_bytes()));
        let mut frames = client.send_sealed(&sealed).await;
        assert!(
            matches!(frames.next().await, Some(Ok(Frame::Data(_)))),
            "the stream has begun"
        );
        drop(frames);
        system
            .wait_for("free", |status| status.requests_active == 0)
            .await;
    }
    let cancelled = |line: &&String| line.contains(r#""outcome":"cancelled""#);
    tokio::time::sleep(Duration::from_millis(50)).await; // the lines travel by themselves
    assert_eq!(system.host.lines().iter().filter(cancelled).count(), 3);
    system.still_serves().await;
}

#[tokio::test]
async fn a_host_that_reads_no_log_stops_nothing() {
    let system = Deployment::serving(&Settings::default()).await;
    system.host.stop_reading();
    let client = system.client().await;
    for _ in 0..40 {
        assert_eq!(client.get("/v1/models").await.status, 200);
    }
    system.still_serves().await;
}
