//! A client of the sealed surface, and raw frames for what no client would send.

use std::path::{Path, PathBuf};

use attestation::{Bundle, Nonce, VerifiedEvidence};
use bytes::Bytes;
use exchange::{
    ApiToken, Padding, Prompt, Request,
    client::{Exchange, ResponseEvent, ResponseReader},
    receipt::ReceiptFields,
};
use futures_util::{SinkExt, StreamExt};
use sealing::{AttestedKey, Profile};
use serde_json::Value;
use tokio::{net::UnixStream, time::timeout};
use tokio_util::codec::Framed;
use wire::{
    ProblemCode,
    frame::{Frame, FrameCodec},
    message::{Media, Status, StreamPurpose},
};

use super::{
    Deployment, MODEL,
    deployment::{PATIENCE, now},
};

pub(crate) type Frames = Framed<UnixStream, FrameCodec>;

/// Opens a stream to the enclave.
pub(crate) async fn open(channel: &Path, purpose: StreamPurpose) -> Option<Frames> {
    let socket = UnixStream::connect(channel.join("enclave.sock")).await.ok()?;
    let mut frames = Framed::new(socket, FrameCodec);
    frames.send(Frame::Open(purpose)).await.ok()?;
    Some(frames)
}

/// Reads an answer: its bytes, or why there are none. `None`: it was cut.
pub(crate) async fn whole(frames: &mut Frames) -> Option<Result<Vec<u8>, ProblemCode>> {
    let mut answer = Vec::new();
    loop {
        match timeout(PATIENCE, frames.next()).await.expect("an answer in time") {
            Some(Ok(Frame::Data(data))) => answer.extend_from_slice(&data),
            Some(Ok(Frame::End)) => return Some(Ok(answer)),
            Some(Ok(Frame::Abort(code))) => return Some(Err(code)),
            _ => return None,
        }
    }
}

/// The status that the host sees.
pub(crate) async fn status(channel: &Path) -> Option<Status> {
    let mut frames = open(channel, StreamPurpose::Status).await?;
    let bytes = whole(&mut frames).await?.ok()?;
    Some(Status::from_cbor(&bytes).expect("a status"))
}

/// A client that has verified the enclave.
pub(crate) struct Client {
    channel: PathBuf,
    pub(crate) evidence: VerifiedEvidence,
    pub(crate) key: AttestedKey,
    pub(crate) token: Option<ApiToken>,
    pub(crate) media: Media,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) receipt: Option<ReceiptFields>,
    /// SHA-256 of the receipt's payload.
    pub(crate) receipt_sha256: Option<String>,
    /// Sizes of the sealed pieces as they came.
    pub(crate) frame_bytes: Vec<usize>,
}

impl Client {
    /// Fetches evidence for a fresh nonce and verifies it.
    pub(crate) async fn verify(deployment: &Deployment) -> Self {
        let nonce = [0x22; 32];
        let mut frames = open(&deployment.channel(), StreamPurpose::Evidence { nonce })
            .await
            .expect("it listens");
        let bundle = whole(&mut frames).await.expect("whole").expect("evidence");
        let bundle = Bundle::decode(&bundle).expect("a bundle");
        let verifier = deployment.verifier();
        let evidence = match verifier.appraise(&bundle, &Nonce::from_bytes(nonce), now()) {
            Ok(evidence) => evidence,
            Err(error) => panic!("{error}"),
        };
        assert!(
            verifier
                .appraise(&bundle, &Nonce::from_bytes([0x23; 32]), now())
                .is_err(),
            "another nonce"
        );
        let key = AttestedKey::choose(Profile::Default, &evidence)
            .or_else(|_| AttestedKey::choose(Profile::Fips, &evidence))
            .expect("a permitted suite");
        let token = Some(deployment.token());
        Self {
            channel: deployment.channel(),
            evidence,
            key,
            token,
            media: Media::Chunked,
        }
    }

    /// A request with the client's token, as JSON over POST; GET when there is no body.
    pub(crate) fn request(&self, path: &str, body: &[u8]) -> Request {
        Request {
            method: if body.is_empty() { "GET" } else { "POST" }.to_owned(),
            path: path.to_owned(),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            token: self
                .token
                .as_ref()
                .map(|token| ApiToken::new(token.expose().to_owned())),
            body: Prompt::new(body.to_vec()),
        }
    }

    /// Seals as this client does.
    pub(crate) fn seal(&self, request: Request) -> (Vec<u8>, ResponseReader) {
        let (sealed, reader) =
            Exchange::seal(&self.key, self.media, request, Padding::Sized, now()).expect("it seals");
        (sealed.into_bytes(), reader)
    }

    /// A plain chat; `extra` goes behind its last parameter.
    pub(crate) async fn chat(&self, extra: &str) -> Answer {
        self.post(
            "/v1/chat/completions",
            &chat_body(MODEL, "What does remote attestation prove?", extra),
        )
        .await
    }

    /// Any body.
    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.send(self.request(path, body.as_bytes())).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(path, b"")).await
    }

    /// Seals, sends, reads to the end.
    pub(crate) async fn send(&self, request: Request) -> Answer {
        let (sealed, reader) = self.seal(request);
        let mut frames = self.send_sealed(&sealed).await;
        self.read(&mut frames, reader).await
    }

    /// A stream for one encapsulated request.
    pub(crate) async fn open_gateway(&self) -> Frames {
        open(&self.channel, StreamPurpose::Gateway { media: self.media })
            .await
            .expect("it listens")
    }

    /// Sends bytes as an encapsulated request.
    pub(crate) async fn send_sealed(&self, sealed: &[u8]) -> Frames {
        let mut frames = self.open_gateway().await;
        // What cannot be opened may be refused before its end.
        for frame in Frame::data(Bytes::copy_from_slice(sealed)) {
            let _ = frames.feed(frame).await;
        }
        let _ = frames.send(Frame::End).await;
        frames
    }

    /// Sends bytes and reads the refusal of the whole stream.
    pub(crate) async fn refusal_of(&self, sealed: &[u8]) -> ProblemCode {
        let mut frames = self.send_sealed(sealed).await;
        whole(&mut frames)
            .await
            .expect("an abort, not a cut")
            .expect_err("nothing can be answered")
    }

    /// Reads the sealed answer; a cut or altered one is an error of the test.
    pub(crate) async fn read(&self, frames: &mut Frames, mut reader: ResponseReader) -> Answer {
        let mut events = Vec::new();
        let mut frame_bytes = Vec::new();
        loop {
            match timeout(PATIENCE, frames.next()).await.expect("an answer in time") {
                Some(Ok(Frame::Data(data))) => {
                    frame_bytes.push(data.len());
                    events.extend(reader.push(&data).expect("authentic"));
                }
                Some(Ok(Frame::End)) => break,
                other => panic!("the answer ends with {other:?}"),
            }
        }
        let finished = reader.finish().expect("whole");
        events.extend(finished.events);
        let statement = self.evidence.statement();
        let receipt = finished.receipt.as_ref().map(|receipt| {
            let fields = receipt
                .verify(&statement.receipt_key)
                .expect("signed by the attested key");
            assert_eq!(fields.statement_sha256, statement.sha256());
            fields
        });
        let receipt_sha256 = finished.receipt.map(|receipt| {
            use sha2::Digest;
            hex::encode(sha2::Sha256::digest(&receipt.payload))
        });
        let mut answer = Answer {
            status: 0,
            headers: Vec::new(),
            body: Vec::new(),
            receipt,
            receipt_sha256,
            frame_bytes,
        };
        for event in events {
            match event {
                ResponseEvent::Head(head) => (answer.status, answer.headers) = (head.status, head.headers),
                ResponseEvent::Body(body) => answer.body.extend_from_slice(body.expose()),
            }
        }
        answer
    }
}

/// A chat of one message.
pub(crate) fn chat_body(model: &str, content: &str, extra: &str) -> String {
    let content = serde_json::to_string(content).expect("text is JSON");
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":{content}}}]{extra}}}"#)
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    /// Status and `error.code`.
    pub(crate) fn error(&self) -> (u16, String) {
        let document = self.json();
        assert!(self.receipt.is_none(), "a refusal has no receipt");
        assert!(
            document["error"]["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty())
        );
        assert!(document["error"]["type"].is_string());
        (
            self.status,
            document["error"]["code"].as_str().unwrap_or_default().to_owned(),
        )
    }

    /// The `data:` lines of a stream; the last one must be `[DONE]`, which is left out.
    pub(crate) fn events(&self) -> Vec<Value> {
        let text = self.text();
        let mut data: Vec<&str> = text
            .split("\n\n")
            .filter_map(|event| event.strip_prefix("data: "))
            .collect();
        assert_eq!(data.pop(), Some("[DONE]"), "{text}");
        data.into_iter()
            .map(|event| serde_json::from_str(event).expect("JSON"))
            .collect()
    }
}
