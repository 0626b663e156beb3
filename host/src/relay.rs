//! The relay of RFC 9458 section 5: sealed requests in, sealed responses out, nothing understood.
//!
//! 1. A client's request body goes to the enclave frame by frame; each frame waits for the enclave to take it, so a
//!    slow enclave slows the client and the host buffers at most a few frames a request.
//! 2. The enclave's first frame decides: Data is an answer (200), Abort is a problem document.
//! 3. The answer streams out as it comes. A stream without its End breaks the HTTP response, never ends it.
//! 4. When the client goes, the stream to the enclave closes, and the enclave stops.

use std::{
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream::SplitSink};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
    time::{Sleep, timeout},
};
use wire::{
    Problem, ProblemCode,
    frame::Frame,
    limits, media,
    message::{Media, StreamPurpose},
};

use crate::{
    channel,
    error::HostError,
    metrics::{Metrics, Outcome},
};

/// What the relay needs for each request.
pub struct Relay {
    /// Folder of the host channel.
    pub channel: PathBuf,
    /// Requests inside the enclave at once.
    pub requests: Arc<Semaphore>,
    /// Bound on silence from the enclave.
    pub idle: Duration,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// The client-facing routes.
pub fn routes(relay: Arc<Relay>) -> Router {
    Router::new()
        .route(media::EVIDENCE_PATH, get(evidence))
        .route(media::OHTTP_PATH, post(ohttp))
        .fallback(|| async { problem(ProblemCode::NotFound) })
        .with_state(relay)
}

#[derive(serde::Deserialize)]
struct EvidenceQuery {
    nonce: String,
}

async fn evidence(
    State(relay): State<Arc<Relay>>,
    query: Result<Query<EvidenceQuery>, QueryRejection>,
) -> Response {
    let nonce = query
        .ok()
        .and_then(|query| URL_SAFE_NO_PAD.decode(&query.nonce).ok())
        .and_then(|n| n.try_into().ok());
    let Some(nonce) = nonce else {
        return problem(ProblemCode::MalformedRequest);
    };
    match channel::evidence(&relay.channel, nonce).await {
        Ok(bundle) => {
            relay.metrics.evidence_relayed();
            (
                [
                    (header::CONTENT_TYPE, media::BUNDLE),
                    (header::CACHE_CONTROL, "no-store"),
                ],
                bundle,
            )
                .into_response()
        }
        Err(error) => problem_of(&error),
    }
}

async fn ohttp(State(relay): State<Arc<Relay>>, headers: HeaderMap, body: Body) -> Response {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let Some(media) = content_type.and_then(Media::of_request_type) else {
        return problem(ProblemCode::UnsupportedMediaType);
    };
    let Ok(permit) = Arc::clone(&relay.requests).try_acquire_owned() else {
        relay.metrics.request_refused();
        return problem(ProblemCode::Overloaded);
    };
    let mut count = Count::new(Arc::clone(&relay.metrics), permit);
    match answer(&relay, media, body).await {
        Ok((first, rest)) => {
            let mut response = Body::from_stream(Answer::new(first, rest, relay.idle, count)).into_response();
            response.headers_mut().insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static(media.response_type()),
            );
            response
                .headers_mut()
                .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(error) => {
            count.outcome = match error {
                HostError::Refused(_) => Outcome::Problem,
                _ => Outcome::Cut,
            };
            problem_of(&error)
        }
    }
}

type Frames = futures_util::stream::SplitStream<channel::Stream>;

/// Sends the request in the background and waits for the first frame of the answer.
async fn answer(relay: &Relay, media: Media, body: Body) -> Result<(Option<Bytes>, Pumped), HostError> {
    let stream = channel::open(&relay.channel, StreamPurpose::Gateway { media }).await?;
    let (sink, frames) = stream.split();
    let pump = tokio::spawn(pump(body, sink, Arc::clone(&relay.metrics))).abort_handle();
    let mut rest = Pumped { frames, pump };
    // The enclave reads the whole request before it answers, so silence is bounded from here on.
    match timeout(relay.idle, rest.frames.next()).await {
        Ok(Some(Ok(Frame::Data(first)))) => Ok((Some(first), rest)),
        Ok(Some(Ok(Frame::End))) => Ok((None, rest)),
        Ok(Some(Ok(Frame::Abort(code)))) => Err(HostError::Refused(code)),
        _ => Err(HostError::Channel),
    }
}

/// Moves the request to the enclave. On any fault it stops without End, which the enclave takes as a cut.
async fn pump(body: Body, mut sink: SplitSink<channel::Stream, Frame>, metrics: Arc<Metrics>) {
    let mut body = body.into_data_stream();
    let mut total = 0;
    while let Some(data) = body.next().await {
        let Ok(data) = data else {
            let _ = sink.close().await; // the client went away: the enclave sees a cut request
            return;
        };
        total += data.len();
        if total > limits::ENCAPSULATED_REQUEST_BYTES_MAX {
            let _ = sink.send(Frame::Abort(ProblemCode::TooLarge)).await; // the enclave answers with this code
            return;
        }
        metrics.bytes_in(data.len());
        for frame in Frame::data(data) {
            if sink.send(frame).await.is_err() {
                return;
            }
        }
    }
    let _ = sink.send(Frame::End).await; // a closed enclave shows on the reading side
}

/// The answer's frames; dropping it stops the request too.
struct Pumped {
    frames: Frames,
    pump: AbortHandle,
}

impl Drop for Pumped {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// Counts one request from entry to end.
struct Count {
    metrics: Arc<Metrics>,
    outcome: Outcome,
    _permit: OwnedSemaphorePermit,
}

impl Count {
    fn new(metrics: Arc<Metrics>, permit: OwnedSemaphorePermit) -> Self {
        metrics.request_started();
        Self {
            metrics,
            outcome: Outcome::Cancelled,
            _permit: permit,
        }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.metrics.request_ended(self.outcome);
    }
}

/// The body of an answer: whole with its End, else an error that breaks the HTTP response.
struct Answer {
    first: Option<Bytes>,
    rest: Option<Pumped>,
    idle: Duration,
    deadline: Pin<Box<Sleep>>,
    count: Count,
}

impl Answer {
    fn new(first: Option<Bytes>, rest: Pumped, idle: Duration, mut count: Count) -> Self {
        let ended = first.is_none();
        if ended {
            count.outcome = Outcome::Answered;
        }
        let deadline = Box::pin(tokio::time::sleep(idle));
        Self {
            first,
            rest: (!ended).then_some(rest),
            idle,
            deadline,
            count,
        }
    }

    fn cut(&mut self) -> Poll<Option<Result<Bytes, HostError>>> {
        self.count.outcome = Outcome::Cut;
        self.rest = None;
        Poll::Ready(Some(Err(HostError::Channel)))
    }
}

impl futures_util::Stream for Answer {
    type Item = Result<Bytes, HostError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            self.count.metrics.bytes_out(first.len());
            return Poll::Ready(Some(Ok(first)));
        }
        let Some(rest) = self.rest.as_mut() else {
            return Poll::Ready(None);
        };
        match Pin::new(&mut rest.frames).poll_next(context) {
            Poll::Ready(Some(Ok(Frame::Data(data)))) => {
                let deadline = tokio::time::Instant::now() + self.idle;
                self.deadline.as_mut().reset(deadline);
                self.count.metrics.bytes_out(data.len());
                Poll::Ready(Some(Ok(data)))
            }
            Poll::Ready(Some(Ok(Frame::End))) => {
                self.count.outcome = Outcome::Answered;
                self.rest = None;
                Poll::Ready(None)
            }
            Poll::Ready(_) => self.cut(),
            Poll::Pending => match self.deadline.as_mut().poll(context) {
                Poll::Ready(()) => self.cut(),
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

fn problem_of(error: &HostError) -> Response {
    match error {
        HostError::Refused(code) => problem(*code),
        _ => problem(ProblemCode::NotReady),
    }
}

/// RFC 9457 problem document.
fn problem(code: ProblemCode) -> Response {
    let document = Problem::from(code);
    let status = StatusCode::from_u16(document.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (
        status,
        [(header::CONTENT_TYPE, media::PROBLEM)],
        document.to_json(),
    )
        .into_response();
    if let Some(seconds) = code.retry_after_seconds() {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
