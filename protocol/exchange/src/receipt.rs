//! Receipts: what the enclave signs per response.
//!
//! 1. The enclave commits to request and response with fresh salts and signs [`ReceiptFields`] with the receipt key
//!    of its identity statement.
//! 2. Receipt and salts travel inside the sealed answer: as the last comment line of a stream, else as the header
//!    `adyton-receipt`.
//! 3. The client compares the commitments with what it sent and read ([`crate::client::ResponseReader::finish`]),
//!    then checks signature and attested values ([`SignedReceipt::verify`]).
//!
//! Signed bytes: `adyton receipt v1`, a zero byte, the CBOR array of the fields in the order of the struct behind
//! the version 1.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use minicbor::{Decode, Encode};
use wire::codec::{from_cbor, to_cbor};

use crate::commitment::{SALT_BYTES, request_commitment, response_commitment};
use crate::{ExchangeError, UnixTime};

/// Name of the response header that carries a receipt.
pub const RECEIPT_HEADER: &str = "adyton-receipt";
const DOMAIN: &[u8] = b"adyton receipt v1\0";
const RECEIPT_BYTES_MAX: usize = 1024;
const VERSION: u8 = 1;

/// What a receipt says; content-free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptFields {
    /// Salted commitment to the request.
    pub request_commitment: [u8; 32],
    /// Salted commitment to the response.
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

/// CBOR form of the fields.
#[derive(Encode, Decode)]
struct Payload {
    #[n(0)]
    version: u8,
    #[cbor(n(1), with = "minicbor::bytes")]
    request_commitment: [u8; 32],
    #[cbor(n(2), with = "minicbor::bytes")]
    response_commitment: [u8; 32],
    #[cbor(n(3), with = "minicbor::bytes")]
    model_digest: [u8; 32],
    #[cbor(n(4), with = "minicbor::bytes")]
    statement_sha256: [u8; 32],
    #[n(5)]
    prompt_tokens: u64,
    #[n(6)]
    completion_tokens: u64,
    #[n(7)]
    time_seconds: u64,
    #[n(8)]
    epoch: u64,
}

/// Signs receipts; made in the enclave at boot, public half in the identity statement. Wiped when dropped.
pub struct ReceiptSigner(SigningKey);

impl ReceiptSigner {
    /// The key of a random seed. What it signs begins with a domain of its own, so that the same key may sign the
    /// checkpoints of the enclave's audit log, whose notes begin with the log's origin.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// A fresh key.
    pub fn generate() -> Result<Self, ExchangeError> {
        crate::token::random_seed().map(|seed| Self::from_seed(&seed))
    }

    /// The public half.
    pub fn public_key(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// Commits to a request and a response and signs.
    pub(crate) fn sign(
        &self,
        facts: &ReceiptFacts,
        epoch: u64,
        request_digest: &[u8; 32],
        response_digest: &[u8; 32],
    ) -> Result<Delivered, ExchangeError> {
        let mut request_salt = [0; SALT_BYTES];
        let mut response_salt = [0; SALT_BYTES];
        getrandom::fill(&mut request_salt).map_err(|_| sealing::SealingError::Randomness)?;
        getrandom::fill(&mut response_salt).map_err(|_| sealing::SealingError::Randomness)?;
        let payload = to_cbor(&Payload {
            version: VERSION,
            request_commitment: request_commitment(&request_salt, request_digest),
            response_commitment: response_commitment(&response_salt, response_digest),
            model_digest: facts.model_digest,
            statement_sha256: facts.statement_sha256,
            prompt_tokens: facts.prompt_tokens,
            completion_tokens: facts.completion_tokens,
            time_seconds: facts.time.seconds(),
            epoch,
        });
        let signature = self.0.sign(&[DOMAIN, &payload].concat()).to_bytes();
        Ok(Delivered {
            payload,
            signature,
            request_salt,
            response_salt,
        })
    }
}

/// A signed receipt, exact bytes. May be shown to anyone.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SignedReceipt {
    /// CBOR of the fields, as signed.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub payload: Vec<u8>,
    /// Ed25519.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub signature: [u8; 64],
}

impl SignedReceipt {
    /// Checks the signature under the receipt key of the attested statement, and parses. The caller compares
    /// `statement_sha256` and `model_digest` with what it verified.
    pub fn verify(&self, receipt_key: &[u8; 32]) -> Result<ReceiptFields, ExchangeError> {
        let wrong = ExchangeError::Receipt("signature does not verify");
        let key = VerifyingKey::from_bytes(receipt_key).map_err(|_| wrong)?;
        let signed = [DOMAIN, &self.payload].concat();
        key.verify_strict(&signed, &Signature::from_bytes(&self.signature))
            .map_err(|_| wrong)?;
        parse_payload(&self.payload)
    }

    /// base64url of the CBOR form, one line.
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(to_cbor(self))
    }

    /// Reads the form of [`SignedReceipt::to_text`].
    pub fn from_text(text: &str) -> Result<Self, ExchangeError> {
        decode_text(text.as_bytes())
    }
}

fn parse_payload(bytes: &[u8]) -> Result<ReceiptFields, ExchangeError> {
    let payload: Payload =
        from_cbor(bytes, "receipt", RECEIPT_BYTES_MAX).map_err(|_| ExchangeError::Receipt("malformed"))?;
    if payload.version != VERSION {
        return Err(ExchangeError::Receipt("unknown version"));
    }
    Ok(ReceiptFields {
        request_commitment: payload.request_commitment,
        response_commitment: payload.response_commitment,
        model_digest: payload.model_digest,
        statement_sha256: payload.statement_sha256,
        prompt_tokens: payload.prompt_tokens,
        completion_tokens: payload.completion_tokens,
        time: UnixTime::from_seconds(payload.time_seconds),
        epoch: payload.epoch,
    })
}

/// What travels in the sealed answer: the receipt and the salts that open its commitments.
#[derive(Encode, Decode)]
pub(crate) struct Delivered {
    #[cbor(n(0), with = "minicbor::bytes")]
    payload: Vec<u8>,
    #[cbor(n(1), with = "minicbor::bytes")]
    signature: [u8; 64],
    #[cbor(n(2), with = "minicbor::bytes")]
    request_salt: [u8; SALT_BYTES],
    #[cbor(n(3), with = "minicbor::bytes")]
    response_salt: [u8; SALT_BYTES],
}

impl Delivered {
    pub(crate) fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(to_cbor(self))
    }

    pub(crate) fn from_text(text: &[u8]) -> Result<Self, ExchangeError> {
        decode_text(text)
    }

    pub(crate) fn receipt(&self) -> SignedReceipt {
        SignedReceipt {
            payload: self.payload.clone(),
            signature: self.signature,
        }
    }

    /// The receipt, if it commits to exactly this request and this response.
    pub(crate) fn check(
        &self,
        request_digest: &[u8; 32],
        response_digest: &[u8; 32],
    ) -> Result<SignedReceipt, ExchangeError> {
        let fields = parse_payload(&self.payload)?;
        if fields.request_commitment != request_commitment(&self.request_salt, request_digest) {
            return Err(ExchangeError::Receipt("does not commit to the request"));
        }
        if fields.response_commitment != response_commitment(&self.response_salt, response_digest) {
            return Err(ExchangeError::Receipt("does not commit to the response"));
        }
        Ok(self.receipt())
    }
}

fn decode_text<T: for<'b> Decode<'b, ()>>(text: &[u8]) -> Result<T, ExchangeError> {
    let malformed = ExchangeError::Receipt("malformed");
    if text.len() > 2 * RECEIPT_BYTES_MAX {
        return Err(malformed);
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed)?;
    from_cbor(&bytes, "receipt", RECEIPT_BYTES_MAX).map_err(|_| malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FACTS: ReceiptFacts = ReceiptFacts {
        model_digest: [1; 32],
        statement_sha256: [2; 32],
        prompt_tokens: 3,
        completion_tokens: 4,
        time: UnixTime::from_seconds(5),
    };

    #[test]
    fn a_receipt_verifies_and_commits_to_one_request_and_response() {
        let signer = ReceiptSigner::generate().expect("randomness");
        let delivered = signer.sign(&FACTS, 7, &[8; 32], &[9; 32]).expect("randomness");
        let read = Delivered::from_text(delivered.to_text().as_bytes()).expect("our own text");
        let receipt = read.check(&[8; 32], &[9; 32]).expect("commits");
        assert!(read.check(&[0; 32], &[9; 32]).is_err());
        assert!(read.check(&[8; 32], &[0; 32]).is_err());
        let fields = receipt.verify(&signer.public_key()).expect("verifies");
        assert_eq!(
            (fields.epoch, fields.time, fields.prompt_tokens),
            (7, FACTS.time, 3)
        );
        assert_eq!((fields.model_digest, fields.statement_sha256), ([1; 32], [2; 32]));
        assert_eq!(SignedReceipt::from_text(&receipt.to_text()), Ok(receipt.clone()));
        let other = ReceiptSigner::generate().expect("randomness");
        assert!(receipt.verify(&other.public_key()).is_err());
    }

    #[test]
    fn any_flipped_bit_is_refused() {
        let signer = ReceiptSigner::generate().expect("randomness");
        let receipt = signer
            .sign(&FACTS, 7, &[8; 32], &[9; 32])
            .expect("randomness")
            .receipt();
        for bit in 0..receipt.payload.len() * 8 {
            let mut altered = receipt.clone();
            altered.payload[bit / 8] ^= 1 << (bit % 8);
            assert!(altered.verify(&signer.public_key()).is_err(), "payload bit {bit}");
        }
        for bit in 0..64 * 8 {
            let mut altered = receipt.clone();
            altered.signature[bit / 8] ^= 1 << (bit % 8);
            assert!(
                altered.verify(&signer.public_key()).is_err(),
                "signature bit {bit}"
            );
        }
    }

    #[test]
    fn salts_are_fresh() {
        let signer = ReceiptSigner::generate().expect("randomness");
        let one = signer.sign(&FACTS, 7, &[8; 32], &[9; 32]).expect("randomness");
        let two = signer.sign(&FACTS, 7, &[8; 32], &[9; 32]).expect("randomness");
        assert_ne!(one.payload, two.payload);
    }

    proptest! {
        #[test]
        fn any_text(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Delivered::from_text(&text);
        }
    }
}
