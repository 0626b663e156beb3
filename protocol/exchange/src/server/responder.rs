//! Answering one request, once.

use sealing::stream::ResponseSealer;
use wire::ProblemCode;
use wire::message::Media;

use super::EventWriter;
use crate::binary_http;
use crate::commitment::ResponseDigest;
use crate::receipt::{RECEIPT_HEADER, ReceiptFacts, ReceiptSigner, SignedReceipt};
use crate::{Completion, ExchangeError, Padding};

/// Answers one request, once. Dropped without an answer, the client sees a cut stream.
#[must_use = "a request without an answer is a cut stream for the client"]
pub struct Responder {
    sealer: ResponseSealer,
    media: Media,
    padding: Padding,
    epoch: u64,
    request_digest: [u8; 32],
}

impl Responder {
    pub(super) fn new(
        sealer: ResponseSealer,
        media: Media,
        padding: Padding,
        epoch: u64,
        request_digest: [u8; 32],
    ) -> Self {
        Self {
            sealer,
            media,
            padding,
            epoch,
            request_digest,
        }
    }

    /// Framing of the answer.
    pub fn media(&self) -> Media {
        self.media
    }

    /// Padding of the answer: in profile `constant` a stream wants [`EventWriter::tick`].
    pub fn padding(&self) -> Padding {
        self.padding
    }

    /// Key epoch of the request.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// A whole answer, padded to a bucket; appends ciphertext to `out`.
    pub fn respond(
        self,
        status: u16,
        content_type: &str,
        body: &Completion,
        receipt: Option<(&ReceiptSigner, ReceiptFacts)>,
        out: &mut Vec<u8>,
    ) -> Result<Option<SignedReceipt>, ExchangeError> {
        let fields = vec![("content-type".to_owned(), content_type.to_owned())];
        self.send(status, fields, body, receipt, out)
    }

    fn send(
        self,
        status: u16,
        mut fields: Vec<(String, String)>,
        body: &Completion,
        receipt: Option<(&ReceiptSigner, ReceiptFacts)>,
        out: &mut Vec<u8>,
    ) -> Result<Option<SignedReceipt>, ExchangeError> {
        let mut digest = ResponseDigest::new(status);
        digest.update(body.expose());
        let delivered = receipt
            .map(|(signer, facts)| signer.sign(&facts, self.epoch, &self.request_digest, &digest.finish()))
            .transpose()?;
        if let Some(delivered) = &delivered {
            fields.push((RECEIPT_HEADER.to_owned(), delivered.to_text()));
        }
        let message = binary_http::response(status, &fields, body.expose())?;
        self.sealer.finish(&self.padding.fill_bucket(message), out)?;
        Ok(delivered.map(|delivered| delivered.receipt()))
    }

    /// An OpenAI-style error with the status of `code`, and Retry-After where another try makes sense. `param` is the
    /// name of a parameter, never its value.
    pub fn refuse(
        self,
        code: ProblemCode,
        param: Option<&'static str>,
        out: &mut Vec<u8>,
    ) -> Result<(), ExchangeError> {
        let body = Completion::new(code.openai_body(param));
        let code = code.outside();
        let mut fields = vec![("content-type".to_owned(), "application/json".to_owned())];
        if let Some(seconds) = code.retry_after_seconds() {
            fields.push(("retry-after".to_owned(), seconds.to_string()));
        }
        self.send(code.status(), fields, &body, None, out).map(drop)
    }

    /// Begins a stream of server-sent events with status 200; its head is sent at once.
    pub fn stream(self, out: &mut Vec<u8>) -> Result<EventWriter, ExchangeError> {
        EventWriter::new(
            self.sealer,
            self.media,
            self.padding,
            self.epoch,
            self.request_digest,
            out,
        )
    }
}
