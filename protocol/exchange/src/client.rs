//! The client's side of one exchange.
use crate::receipt::SignedReceipt;
use crate::{Completion, ExchangeError, Padding, Request, ResponseHead, UnixTime};
use sealing::AttestedKey;
use wire::message::Media;

/// Seals requests.
pub struct Exchange;
impl Exchange {
    /// Seals `request` to `key` as of `now`; the inner Date is `now`.
    pub fn seal(key: &AttestedKey, media: Media, request: Request, padding: Padding, now: UnixTime) -> Result<(SealedRequest, ResponseReader), ExchangeError> {
        let _ = (key, media, request, padding, now);
        todo!()
    }
}

/// Ciphertext of a request: an iterator of pieces to send in order.
pub struct SealedRequest { _p: () }
impl Iterator for SealedRequest {
    type Item = Vec<u8>;
    fn next(&mut self) -> Option<Vec<u8>> { todo!() }
}

/// Reads the answer.
pub struct ResponseReader { _p: () }
/// A piece of the answer.
pub enum ResponseEvent {
    /// Status and headers; once, first.
    Head(ResponseHead),
    /// Body bytes.
    Body(Completion),
}
/// What a whole answer ends with.
pub struct Finished {
    /// What the final chunk contained.
    pub events: Vec<ResponseEvent>,
    /// Commitments match what was sent and read; whose signature it is, is for [`SignedReceipt::verify`].
    pub receipt: Option<SignedReceipt>,
}
impl ResponseReader {
    /// Takes ciphertext.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<ResponseEvent>, ExchangeError> { let _ = bytes; todo!() }
    /// The stream has ended: an error unless it is whole.
    pub fn finish(self) -> Result<Finished, ExchangeError> { todo!() }
}
