//! One request: in clear from loopback, sealed to the enclave, and back.
//!
//! An event stream is passed on event by event, without padding; its end marker is held back until the stream's
//! authenticated end was reached and the receipt checked. Any other answer is passed on only when it is whole. When an
//! answer breaks, the client gets an error event and a reset connection, never an end.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use exchange::ApiToken;
use futures_util::{Stream, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::json;
use wire::limits;
use zeroize::Zeroizing;

use super::openai;
use crate::{
    answer::Answer,
    error::ClientError,
    private_file,
    session::{Question, Session},
    sse, verdict,
};

/// Request headers that go into the seal; all others stay here. `authorization` travels as the token.
const HEADERS_IN: [&str; 2] = ["content-type", "accept"];
/// The answer's receipt, for whoever keeps them.
const RECEIPT_HEADER: HeaderName = HeaderName::from_static("adyton-receipt");
/// What the verification rests on.
const ASSURANCE_HEADER: HeaderName = HeaderName::from_static("adyton-assurance");
/// How long a last event has to leave before the connection is reset.
const FLUSH_PAUSE: Duration = Duration::from_millis(20);
/// Token files above this are refused (bytes).
const TOKEN_BYTES_MAX: u64 = 16 << 10;

/// What every request shares.
pub struct Relay {
    /// The verified deployment.
    pub session: Arc<Session>,
    /// Where the token lies for requests that bring none.
    pub token_file: Option<PathBuf>,
}

/// Reads a token file: one line, wiped when dropped.
pub fn read_token(path: &std::path::Path) -> Result<Arc<ApiToken>, ClientError> {
    let bytes = private_file::read(path, TOKEN_BYTES_MAX)?;
    let text = std::str::from_utf8(&bytes)
        .ok()
        .map(str::trim)
        .filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| ClientError::Token(format!("{} holds none", path.display())))?;
    Ok(Arc::new(ApiToken::new(text.to_owned())))
}

/// Seals the request, opens the answer.
pub async fn pass_on(State(relay): State<Arc<Relay>>, request: Request) -> Response {
    match answer(&relay, request).await {
        Ok(response) => response,
        Err(error) => openai::failure(&error),
    }
}

/// Whether a request would be sealed now.
pub async fn health(State(relay): State<Arc<Relay>>) -> Response {
    match relay.session.attested().await {
        Ok(attested) => {
            let evidence = attested.evidence();
            let document = json!({
                "status": "verified",
                "assurance": verdict::assurance_word(evidence.assurance()),
                "appraised_at": evidence.appraised_at().to_string(),
                "fresh_until": evidence.fresh_until().to_string(),
            });
            (
                StatusCode::OK,
                [(header::CONTENT_TYPE, "application/json")],
                document.to_string(),
            )
                .into_response()
        }
        Err(error) => openai::failure(&error),
    }
}

async fn answer(relay: &Relay, request: Request) -> Result<Response, ClientError> {
    let question = question(relay, request).await?;
    let mut answer = relay.session.ask(&question).await?;
    let mut response = match answer.content_type() {
        "text/event-stream" if answer.head().status == 200 => event_stream(answer),
        _ => {
            let body = answer.collect(limits::ENCAPSULATED_RESPONSE_BYTES_MAX).await?;
            document(&answer, body.expose())
        }
    };
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn question(relay: &Relay, request: Request) -> Result<Question, ClientError> {
    let (parts, body) = request.into_parts();
    if parts.method != Method::GET && parts.method != Method::POST {
        return Err(service(wire::ProblemCode::MethodNotAllowed));
    }
    let token = match bearer(&parts.headers)? {
        Some(token) => Some(token),
        None => relay.token_file.as_deref().map(read_token).transpose()?,
    };
    let path = parts
        .uri
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    let headers = HEADERS_IN
        .iter()
        .filter_map(|name| {
            Some((
                (*name).to_owned(),
                parts.headers.get(*name)?.to_str().ok()?.to_owned(),
            ))
        })
        .collect();
    let body = to_bytes(body, limits::ENCAPSULATED_REQUEST_BYTES_MAX).await;
    let body = body.map_err(|_| service(wire::ProblemCode::TooLarge))?;
    Ok(Question {
        method: parts.method.to_string(),
        path,
        headers,
        token,
        body: Zeroizing::new(body.to_vec()),
    })
}

/// The token that the client brought; it wins over the token file, so that a wrong one is told as wrong.
fn bearer(headers: &HeaderMap) -> Result<Option<Arc<ApiToken>>, ClientError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let text = value
        .to_str()
        .map_err(|_| ClientError::Token("the Authorization header is not text".to_owned()))?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            let token = token.trim();
            Ok((!token.is_empty()).then(|| Arc::new(ApiToken::new(token.to_owned()))))
        }
        _ => Err(ClientError::Token(
            "the Authorization header is not a bearer token".to_owned(),
        )),
    }
}

fn document(answer: &Answer, body: &[u8]) -> Response {
    let mut response = Response::new(Body::from(wiped(Zeroizing::new(body.to_vec()))));
    *response.status_mut() = StatusCode::from_u16(answer.head().status).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = response.headers_mut();
    for (name, value) in &answer.head().headers {
        let known = matches!(name.as_str(), "content-type" | "retry-after" | "www-authenticate");
        if let (true, Ok(name), Ok(value)) = (known, name.parse::<HeaderName>(), value.parse()) {
            headers.insert(name, value);
        }
    }
    if let Some(receipt) = answer
        .receipt()
        .and_then(|receipt| receipt.signed.to_text().parse().ok())
    {
        headers.insert(RECEIPT_HEADER, receipt);
    }
    label(answer, headers);
    response
}

fn event_stream(answer: Answer) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    label(&answer, &mut headers);
    (headers, Body::from_stream(pieces(answer))).into_response()
}

fn label(answer: &Answer, headers: &mut HeaderMap) {
    let word = verdict::assurance_word(answer.attested().evidence().assurance());
    headers.insert(ASSURANCE_HEADER, HeaderValue::from_static(word));
}

/// The stream as the client gets it.
fn pieces(answer: Answer) -> impl Stream<Item = Result<Bytes, io::Error>> {
    enum Step {
        Open(Box<(Answer, sse::Events)>),
        Abort,
        Ended,
    }
    stream::unfold(
        Step::Open(Box::new((answer, sse::Events::default()))),
        |step| async move {
            match step {
                Step::Open(mut open) => match next_piece(&mut open).await {
                    Ok(Some(piece)) => Some((Ok(wiped(piece)), Step::Open(open))),
                    Ok(None) => Some((Ok(wiped(last_piece(&open))), Step::Ended)),
                    Err(error) => {
                        let event = sse::event(openai::document(&error).to_string().as_bytes());
                        Some((Ok(wiped(event)), Step::Abort))
                    }
                },
                // An error from the body makes the server reset the connection instead of ending the response; the pause
                // lets the event before it out.
                Step::Abort => {
                    tokio::time::sleep(FLUSH_PAUSE).await;
                    Some((
                        Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
                        Step::Ended,
                    ))
                }
                Step::Ended => None,
            }
        },
    )
}

async fn next_piece(open: &mut (Answer, sse::Events)) -> Result<Option<Zeroizing<Vec<u8>>>, ClientError> {
    let (answer, events) = open;
    while let Some(piece) = answer.next().await? {
        let complete = events
            .push(piece.expose())
            .map_err(|_| ClientError::Protocol("an endless line".to_owned()))?;
        if !complete.is_empty() {
            let texts = complete.iter().map(|data| sse::event(data));
            return Ok(Some(texts.fold(Zeroizing::new(Vec::new()), |mut all, text| {
                all.extend_from_slice(&text);
                all
            })));
        }
    }
    Ok(None)
}

/// The receipt in a comment, which clients skip, and the end marker, if the enclave set one.
fn last_piece(open: &(Answer, sse::Events)) -> Zeroizing<Vec<u8>> {
    let (answer, events) = open;
    let mut last = Zeroizing::new(Vec::new());
    if let Some(receipt) = answer.receipt() {
        last.extend_from_slice(format!(": adyton-receipt {}\n\n", receipt.signed.to_text()).as_bytes());
    }
    if events.done() {
        last.extend_from_slice(&sse::end());
    }
    last
}

fn wiped(bytes: Zeroizing<Vec<u8>>) -> Bytes {
    Bytes::from_owner(bytes)
}

fn service(code: wire::ProblemCode) -> ClientError {
    ClientError::Service {
        code: code.as_str().to_owned(),
        message: code.title().to_owned(),
        status: code.status(),
    }
}
