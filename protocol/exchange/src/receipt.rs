//! Receipts: what the enclave signs per response.
use crate::{ExchangeError, UnixTime};

/// What a receipt says; content-free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptFields {
    /// SHA-256 over a salt and the request.
    pub request_commitment: [u8; 32],
    /// SHA-256 over a salt and the response.
    pub response_commitment: [u8; 32],
    /// Digest of the sealed model's manifest.
    pub model_digest: [u8; 32],
    /// SHA-256 of the identity statement.
    pub statement_sha256: [u8; 32],
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the completion.
    pub completion_tokens: u64,
    /// When the response ended.
    pub time: UnixTime,
    /// Key epoch of the request.
    pub epoch: u64,
}

/// What the enclave knows at the end of a response, for its receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiptFacts {
    /// Digest of the sealed model's manifest.
    pub model_digest: [u8; 32],
    /// SHA-256 of the identity statement.
    pub statement_sha256: [u8; 32],
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the completion.
    pub completion_tokens: u64,
    /// When the response ended.
    pub time: UnixTime,
}

/// Signs receipts; made in the enclave at boot, public half in the statement. Wiped when dropped.
pub struct ReceiptSigner(#[allow(dead_code)] ed25519_dalek::SigningKey);
impl ReceiptSigner {
    /// A fresh key.
    pub fn generate() -> Result<Self, ExchangeError> { todo!() }
    /// The public half.
    pub fn public_key(&self) -> [u8; 32] { todo!() }
}

/// A signed receipt, exact bytes. May be shown to anyone: the commitments are salted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedReceipt {
    /// CBOR of the fields, as signed.
    pub payload: Vec<u8>,
    /// Ed25519.
    pub signature: [u8; 64],
}
impl SignedReceipt {
    /// Checks the signature under the attested receipt key and parses.
    pub fn verify(&self, receipt_key: &[u8; 32]) -> Result<ReceiptFields, ExchangeError> { let _ = receipt_key; todo!() }
    /// base64url, one line.
    pub fn to_text(&self) -> String { todo!() }
    /// Reads `to_text`'s form.
    pub fn from_text(text: &str) -> Result<Self, ExchangeError> { let _ = text; todo!() }
}
