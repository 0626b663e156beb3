//! The enclave's side of an exchange.
use std::sync::Arc;
use crate::receipt::{ReceiptFacts, ReceiptSigner, SignedReceipt};
use crate::{Completion, ExchangeError, Padding, Request, UnixTime};
use sealing::Profile;
use wire::{ProblemCode, message::Media};

/// What a gateway is configured with (measured).
#[derive(Debug, Clone, Copy)]
pub struct GatewayConfig {
    /// Which suites keys are made for.
    pub profile: Profile,
    /// How responses are shaped.
    pub padding: Padding,
    /// Life of a request key, in seconds.
    pub epoch_seconds: u64,
    /// How long after an epoch's end a request sealed to its key is still opened, in seconds.
    pub grace_seconds: u64,
    /// How far the inner Date may be from `now`, in seconds, either way.
    pub date_window_seconds: u64,
    /// Requests that one epoch takes before a new one is due.
    pub replay_entries_max: usize,
    /// Largest encapsulated request in bytes.
    pub request_bytes_max: usize,
}

/// Request keys, epochs and the replay cache. Shared by all requests.
pub struct Gateway { _p: () }
/// Keys that were made but are not used yet: attest them first.
pub struct PendingEpoch { _p: () }
impl PendingEpoch {
    /// `application/ohttp-keys`, for the identity statement.
    pub fn key_configs(&self) -> &[u8] { todo!() }
}
impl Gateway {
    /// A gateway without keys.
    pub fn new(config: GatewayConfig) -> Arc<Self> { let _ = config; todo!() }
    /// Makes the keys of the next epoch.
    pub fn prepare(&self) -> Result<PendingEpoch, ExchangeError> { todo!() }
    /// Begins the epoch: from now on requests to its keys are opened. Returns its number, from 1.
    pub fn install(&self, epoch: PendingEpoch, now: UnixTime) -> u64 { let _ = (epoch, now); todo!() }
    /// Whether a new epoch should be prepared: three quarters of the lifetime or of the replay cache are used.
    pub fn rotation_due(&self, now: UnixTime) -> bool { let _ = now; todo!() }
    /// Number of the current epoch; 0 before the first.
    pub fn epoch(&self) -> u64 { todo!() }
    /// Replays refused since the start.
    pub fn replays_refused_total(&self) -> u64 { todo!() }
    /// Begins reading one request.
    pub fn begin(self: &Arc<Self>, media: Media) -> RequestReader { let _ = media; todo!() }
}

/// Opens one request.
pub struct RequestReader { _p: () }
impl RequestReader {
    /// Takes ciphertext.
    pub fn push(&mut self, bytes: &[u8], now: UnixTime) -> Result<(), ExchangeError> { let _ = (bytes, now); todo!() }
    /// The stream has ended. Outer error: nothing could be opened, abort with its problem. Inner error: opened, but not
    /// acceptable; answer with [`Responder::refuse`].
    pub fn finish(self, now: UnixTime) -> Result<(Result<Request, ProblemCode>, Responder), ExchangeError> { let _ = now; todo!() }
}

/// Answers one request, once.
pub struct Responder { _p: () }
impl Responder {
    /// Framing of the answer.
    pub fn media(&self) -> Media { todo!() }
    /// Key epoch of the request.
    pub fn epoch(&self) -> u64 { todo!() }
    /// A whole answer; appends ciphertext to `out`.
    pub fn respond(self, status: u16, content_type: &str, body: &Completion, receipt: Option<(&ReceiptSigner, ReceiptFacts)>, out: &mut Vec<u8>) -> Result<Option<SignedReceipt>, ExchangeError> { let _ = (status, content_type, body, receipt, out); todo!() }
    /// An OpenAI-style error, sealed.
    pub fn refuse(self, code: ProblemCode, param: Option<&'static str>, out: &mut Vec<u8>) -> Result<(), ExchangeError> { let _ = (code, param, out); todo!() }
    /// Begins a server-sent-event stream with status 200.
    pub fn stream(self, out: &mut Vec<u8>) -> Result<EventWriter, ExchangeError> { let _ = out; todo!() }
}

/// Writes server-sent events, padded.
pub struct EventWriter { _p: () }
impl EventWriter {
    /// Writes one or more whole events (each ends with an empty line) and flushes them, except in profile `constant`.
    pub fn write(&mut self, events: &[u8], out: &mut Vec<u8>) -> Result<(), ExchangeError> { let _ = (events, out); todo!() }
    /// One chunk of the constant size: what is queued, then padding. For profile `constant`, at each tick.
    pub fn tick(&mut self, out: &mut Vec<u8>) -> Result<(), ExchangeError> { let _ = out; todo!() }
    /// Ends the stream with a receipt, if one is due; a stream dropped without this is cut.
    pub fn finish(self, receipt: Option<(&ReceiptSigner, ReceiptFacts)>, out: &mut Vec<u8>) -> Result<Option<SignedReceipt>, ExchangeError> { let _ = (receipt, out); todo!() }
}
