//! An answer as it is opened: pieces as they come, whole or an error.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use exchange::{
    Completion, ResponseHead,
    client::{ResponseEvent, ResponseReader},
    receipt::{ReceiptFields, SignedReceipt},
};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::{error::ClientError, session::Attested};

/// Longest silence before an answer counts as cut: a prompt may take its time before the first token.
const SILENCE_MAX: Duration = Duration::from_secs(600);

/// A receipt that verified under the attested receipt key.
pub struct Receipt {
    /// What the enclave signed.
    pub fields: ReceiptFields,
    /// The exact bytes, to keep.
    pub signed: SignedReceipt,
}

/// An answer whose head has been opened.
pub struct Answer {
    head: ResponseHead,
    incoming: Incoming,
    // Gone once the authenticated end was reached.
    reader: Option<ResponseReader>,
    pieces: VecDeque<Completion>,
    attested: Arc<Attested>,
    receipt: Option<Receipt>,
    receipt_due: bool,
}

impl Answer {
    /// Reads until the head is there.
    pub(crate) async fn begin(
        mut incoming: Incoming,
        mut reader: ResponseReader,
        attested: Arc<Attested>,
        earns_receipt: bool,
    ) -> Result<Self, ClientError> {
        let mut pieces = VecDeque::new();
        loop {
            let Some(bytes) = next_bytes(&mut incoming).await? else {
                // The whole answer was in what has come, or it was cut before its head.
                let finished = reader.finish().map_err(broken)?;
                let head = take_head(finished.events, &mut pieces)
                    .ok_or_else(|| ClientError::Broken("no head".to_owned()))?;
                let receipt_due = earns_receipt && head.status == 200;
                let mut answer = Self {
                    head,
                    incoming,
                    reader: None,
                    pieces,
                    attested,
                    receipt: None,
                    receipt_due,
                };
                answer.check_receipt(finished.receipt)?;
                return Ok(answer);
            };
            let events = reader.push(&bytes).map_err(broken)?;
            if let Some(head) = take_head(events, &mut pieces) {
                let receipt_due = earns_receipt && head.status == 200;
                return Ok(Self {
                    head,
                    incoming,
                    reader: Some(reader),
                    pieces,
                    attested,
                    receipt: None,
                    receipt_due,
                });
            }
        }
    }

    /// Status and headers, from inside the seal.
    pub fn head(&self) -> &ResponseHead {
        &self.head
    }

    /// The content type, without parameters.
    pub fn content_type(&self) -> &str {
        let value = self
            .head
            .headers
            .iter()
            .find(|(name, _)| name == "content-type")
            .map(|(_, value)| value.as_str());
        value
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
    }

    /// The next piece of the body; `None` once the authenticated end was reached and the receipt checked.
    pub async fn next(&mut self) -> Result<Option<Completion>, ClientError> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Ok(Some(piece));
            }
            let Some(reader) = self.reader.as_mut() else {
                return Ok(None);
            };
            let events = match next_bytes(&mut self.incoming).await? {
                Some(bytes) => reader.push(&bytes).map_err(broken)?,
                None => {
                    let reader = self.reader.take().expect("it was there two lines above");
                    let finished = reader.finish().map_err(broken)?;
                    self.check_receipt(finished.receipt)?;
                    finished.events
                }
            };
            if take_head(events, &mut self.pieces).is_some() {
                return Err(ClientError::Broken("a second head".to_owned()));
            }
        }
    }

    /// The whole body, at most `bytes_max`.
    pub async fn collect(&mut self, bytes_max: usize) -> Result<Completion, ClientError> {
        let mut body = zeroize::Zeroizing::new(Vec::new());
        while let Some(piece) = self.next().await? {
            if body.len() + piece.expose().len() > bytes_max {
                return Err(ClientError::Protocol(format!(
                    "an answer of more than {bytes_max} bytes"
                )));
            }
            body.extend_from_slice(piece.expose());
        }
        Ok(Completion::from_zeroizing(body))
    }

    /// The receipt, once the answer is whole.
    pub fn receipt(&self) -> Option<&Receipt> {
        self.receipt.as_ref()
    }

    /// The evidence of the enclave that answered.
    pub fn attested(&self) -> &Attested {
        &self.attested
    }

    /// The reader has matched the commitments with what was sent and read; here it is about who signed, and for what.
    fn check_receipt(&mut self, receipt: Option<SignedReceipt>) -> Result<(), ClientError> {
        let Some(signed) = receipt else {
            return if self.receipt_due {
                Err(ClientError::Receipt("there is none".to_owned()))
            } else {
                Ok(())
            };
        };
        let statement = self.attested.evidence().statement();
        let fields = signed
            .verify(&statement.receipt_key)
            .map_err(|error| ClientError::Receipt(error.to_string()))?;
        if fields.statement_sha256 != statement.sha256() {
            return Err(ClientError::Receipt(
                "it names another statement than the one that was verified".to_owned(),
            ));
        }
        if !statement.model_digests.contains(&fields.model_digest) {
            return Err(ClientError::Receipt(
                "it names a model that the statement does not".to_owned(),
            ));
        }
        self.receipt = Some(Receipt { fields, signed });
        Ok(())
    }
}

fn take_head(events: Vec<ResponseEvent>, pieces: &mut VecDeque<Completion>) -> Option<ResponseHead> {
    let mut found = None;
    for event in events {
        match event {
            ResponseEvent::Head(head) => found = Some(head),
            ResponseEvent::Body(piece) => pieces.push_back(piece),
        }
    }
    found
}

async fn next_bytes(incoming: &mut Incoming) -> Result<Option<bytes::Bytes>, ClientError> {
    loop {
        match tokio::time::timeout(SILENCE_MAX, incoming.frame()).await {
            Err(_) => return Err(ClientError::Broken("the host has fallen silent".to_owned())),
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) => return Err(ClientError::Broken("the connection was cut".to_owned())),
            // Trailers are the host's own words and mean nothing.
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Receipt faults found while reading are faults of the receipt; all others of the stream.
fn broken(error: exchange::ExchangeError) -> ClientError {
    match error {
        exchange::ExchangeError::Receipt(what) => ClientError::Receipt(what.to_owned()),
        other => ClientError::Broken(format!("{other} [{}]", other.code())),
    }
}
