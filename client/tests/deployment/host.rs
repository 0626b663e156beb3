//! A host of one's choosing: it relays, or misbehaves.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use attestation::{Nonce, UnixTime};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Query, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode, header};
use wire::{Problem, ProblemCode, media, message::Media};

use super::enclave::{Enclave, start};

/// What the host does to the pieces of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Relays.
    #[default]
    None,
    /// Ends the answer, properly as HTTP goes, before this piece.
    EndBefore(usize),
    /// Resets the connection before this piece.
    CutBefore(usize),
    /// Leaves this piece out.
    Drop(usize),
    /// Sends this piece twice.
    Duplicate(usize),
    /// Swaps this piece with the next.
    Swap(usize),
    /// Changes one bit of this piece.
    Flip(usize),
    /// Gives the answer to an earlier request of the same kind.
    Earlier,
    /// Answers with a page of its own.
    Page,
}

/// What the host does to evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EvidenceFault {
    /// Relays.
    #[default]
    None,
    /// Hands out evidence over another nonce.
    OtherNonce,
    /// Puts the statement of another boot beside it.
    SwapStatement,
    /// Answers 503.
    Away,
}

/// The host and everything a test changes.
pub struct Host {
    /// What is behind it.
    pub enclave: Mutex<Enclave>,
    /// What it does to answers.
    pub fault: Mutex<Fault>,
    /// What it does to evidence.
    pub evidence_fault: Mutex<EvidenceFault>,
    /// How often it was asked for evidence.
    pub evidence_asked: AtomicUsize,
    /// How often it was asked to relay.
    pub relayed: AtomicUsize,
    /// Everything it saw of requests.
    pub seen: Mutex<Vec<u8>>,
    /// Seconds since [`start`].
    pub elapsed: AtomicU64,
    earlier: Mutex<Vec<Vec<u8>>>,
}

/// A lock that a failed assertion of another task does not poison for the rest.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Host {
    /// A host before an enclave that runs `executable`.
    pub fn new(executable: &[u8]) -> Arc<Self> {
        Arc::new(Self {
            enclave: Mutex::new(Enclave::boot(executable, start())),
            fault: Mutex::default(),
            evidence_fault: Mutex::default(),
            evidence_asked: AtomicUsize::new(0),
            relayed: AtomicUsize::new(0),
            seen: Mutex::default(),
            elapsed: AtomicU64::new(0),
            earlier: Mutex::default(),
        })
    }

    /// The moment it is here.
    pub fn now(&self) -> UnixTime {
        start().plus_seconds(self.elapsed.load(Ordering::SeqCst))
    }

    /// Listens on loopback, for as long as the test's runtime lives.
    pub async fn listen(self: &Arc<Self>) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback");
        let address = listener.local_addr().expect("bound");
        let routes = Router::new()
            .route(media::EVIDENCE_PATH, get(evidence))
            .route(media::OHTTP_PATH, post(relay))
            .with_state(Arc::clone(self));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        address
    }
}

#[derive(serde::Deserialize)]
struct EvidenceQuery {
    nonce: String,
}

async fn evidence(State(host): State<Arc<Host>>, Query(query): Query<EvidenceQuery>) -> Response {
    host.evidence_asked.fetch_add(1, Ordering::SeqCst);
    let nonce: [u8; 32] = URL_SAFE_NO_PAD
        .decode(query.nonce)
        .expect("base64url")
        .try_into()
        .expect("32 bytes");
    let nonce = Nonce::from_bytes(nonce);
    let fault = *lock(&host.evidence_fault);
    let bundle = match fault {
        EvidenceFault::Away => return problem(ProblemCode::NotReady),
        EvidenceFault::None => lock(&host.enclave).bundle(&nonce),
        EvidenceFault::OtherNonce => lock(&host.enclave).bundle(&Nonce::from_bytes([9; 32])),
        EvidenceFault::SwapStatement => {
            let mut bundle = lock(&host.enclave).bundle(&nonce);
            bundle.statement = Enclave::boot(b"enclave", host.now()).bundle(&nonce).statement;
            bundle
        }
    };
    (
        [(header::CONTENT_TYPE, media::BUNDLE)],
        bundle.encode().expect("within bounds"),
    )
        .into_response()
}

async fn relay(State(host): State<Arc<Host>>, headers: HeaderMap, body: Bytes) -> Response {
    host.relayed.fetch_add(1, Ordering::SeqCst);
    lock(&host.seen).extend_from_slice(&body);
    for (name, value) in &headers {
        lock(&host.seen).extend_from_slice(format!("{name}: {value:?}\n").as_bytes());
    }
    assert_eq!(headers[header::CONTENT_TYPE], media::OHTTP_CHUNKED_REQUEST);
    let fault = *lock(&host.fault);
    if fault == Fault::Page {
        return (
            StatusCode::OK,
            [(header::CONTENT_TYPE, "text/html")],
            "<h1>Welcome</h1>",
        )
            .into_response();
    }
    let answered = lock(&host.enclave).answer(Media::Chunked, &body, host.now());
    let pieces = match answered {
        Ok(pieces) => pieces,
        Err(code) => return problem(code),
    };
    let honest = pieces.clone();
    let pieces = damaged(pieces, fault, &lock(&host.earlier));
    *lock(&host.earlier) = honest;
    let pieces = futures_util::stream::iter(pieces).then(async |piece| {
        if piece.is_err() {
            // What was sent before the cut gets out first.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        piece
    });
    let body = Body::from_stream(pieces);
    ([(header::CONTENT_TYPE, media::OHTTP_CHUNKED_RESPONSE)], body).into_response()
}

fn damaged(mut pieces: Vec<Vec<u8>>, fault: Fault, earlier: &[Vec<u8>]) -> Vec<io::Result<Vec<u8>>> {
    let mut cut = false;
    match fault {
        Fault::None | Fault::Page => {}
        Fault::EndBefore(at) => pieces.truncate(at),
        Fault::CutBefore(at) => {
            pieces.truncate(at);
            cut = true;
        }
        Fault::Drop(at) => drop(pieces.remove(at)),
        Fault::Duplicate(at) => pieces.insert(at, pieces[at].clone()),
        Fault::Swap(at) => pieces.swap(at, at + 1),
        Fault::Flip(at) => {
            let middle = pieces[at].len() / 2;
            pieces[at][middle] ^= 1;
        }
        Fault::Earlier => pieces = earlier.to_vec(),
    }
    let mut pieces: Vec<io::Result<Vec<u8>>> = pieces.into_iter().map(Ok).collect();
    if cut {
        pieces.push(Err(io::ErrorKind::ConnectionReset.into()));
    }
    pieces
}

fn problem(code: ProblemCode) -> Response {
    let problem = Problem::from(code);
    let status = StatusCode::from_u16(problem.status).expect("a status");
    (
        status,
        [(header::CONTENT_TYPE, media::PROBLEM)],
        problem.to_json(),
    )
        .into_response()
}
