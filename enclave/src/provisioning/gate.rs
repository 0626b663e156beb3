//! The key-release gate, enclave side: one conversation over one fresh TLS connection.
//!
//! 1. TLS 1.3 with the pinned broker; the enclave's certificate is its own key ([`super::tls`]).
//! 2. The broker's challenge N.
//! 3. Fresh evidence whose nonce binds N, this connection's exporter, both ends' keys and the wrap key.
//! 4. The answer: a refusal, or a record and a payload sealed to the wrap key with the record as associated data.
//! 5. The record must be about this model, this manifest and the statement that was sent.
//!
//! Security rests on step 3 and on the sealing of step 4, not on TLS.

use std::time::Duration;

use attestation::{Nonce, ReleaseBinding, Role, release_nonce};
use bytes::BytesMut;
use sealed_model::ModelKey;
use sealing::{Label, open_once};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use wire::{
    limits,
    message::StreamPurpose,
    release::{
        Challenge, RELEASE_VERSION, ReleaseAnswer, ReleaseRecord, ReleaseRequest, read_message, write_message,
    },
};
use zeroize::Zeroizing;

use super::{payload::ReleasePayload, tls::BrokerConnection};
use crate::{
    config::Config,
    error::{EnclaveError, Result},
    evidence::EvidenceDesk,
    identity::Identity,
    transport::Channel,
};

/// How long one conversation may take; a broker that is slower counts as unavailable.
const CONVERSATION_SECONDS_MAX: Duration = Duration::from_secs(30);
/// Bytes of a challenge or of an answer.
const ANSWER_BYTES_MAX: usize = limits::RELEASE_SEALED_BYTES_MAX + limits::RELEASE_RECORD_BYTES_MAX + 64;

/// What the broker handed over, checked.
pub(crate) struct Released {
    /// Opens the sealed model.
    pub(crate) model_key: ModelKey,
    /// Whose API tokens are accepted.
    pub(crate) token_issuers: Vec<[u8; 32]>,
    /// Digest of the manifest that the key is for, as the broker recorded it.
    pub(crate) manifest_digest: [u8; 32],
    /// Seconds for which the key may be used.
    pub(crate) lease_seconds: u32,
    /// SHA-256 of the release record.
    pub(crate) record_sha256: [u8; 32],
}

/// What the gate is asked with.
pub(crate) struct Gate<'a> {
    pub(crate) config: &'a Config,
    pub(crate) identity: &'a Identity,
    pub(crate) evidence: &'a EvidenceDesk,
    pub(crate) channel: &'a Channel,
    /// Digest of the manifest that the owner signed.
    pub(crate) manifest_digest: &'a [u8; 32],
}

impl Gate<'_> {
    /// One attempt.
    pub(crate) async fn ask(&self) -> Result<Released> {
        timeout(CONVERSATION_SECONDS_MAX, self.converse())
            .await
            .map_err(|_| EnclaveError::BrokerUnavailable("no answer in time"))?
    }

    async fn converse(&self) -> Result<Released> {
        // 1.
        let pipe = self.channel.open_raw(StreamPurpose::Broker).await?;
        let mut connection =
            BrokerConnection::open(pipe, &self.identity.tls, self.config.broker_spki_sha256()).await?;
        // 2.
        let mut received = BytesMut::new();
        let challenge = read(&mut connection, &mut received).await?;
        let challenge = Challenge::from_cbor(&challenge).map_err(|_| MALFORMED)?;
        if challenge.version != RELEASE_VERSION {
            return Err(EnclaveError::BrokerUntrusted(
                "another version of the release protocol",
            ));
        }
        // 3.
        let statement = self.evidence.statement()?;
        let exported = connection.exported_keying_material(Role::Inference.number(), &challenge.nonce)?;
        let nonce = release_nonce(&ReleaseBinding {
            challenge: &Nonce::from_bytes(challenge.nonce),
            exported_keying_material: &exported,
            enclave_spki_sha256: &self.identity.tls.spki_sha256,
            broker_spki_sha256: &connection.broker_spki_sha256,
            wrap_key: &self.identity.wrap.key_config().encode(),
        });
        let bundle = self.evidence.bundle(&statement, &nonce).await?;
        let request = ReleaseRequest {
            model_id: self.config.model_id(),
            bundle,
        };
        let mut out = BytesMut::new();
        write_message(&request.to_cbor(), &mut out)
            .map_err(|_| EnclaveError::Evidence("too long to send"))?;
        connection.stream.write_all(&out).await.map_err(cut)?;
        connection.stream.flush().await.map_err(cut)?;
        // 4.
        let answer = read(&mut connection, &mut received).await?;
        let _ = connection.stream.shutdown().await; // the conversation is over either way
        match ReleaseAnswer::from_cbor(&answer).map_err(|_| MALFORMED)? {
            ReleaseAnswer::Refused {
                code,
                retry_after_seconds,
                ..
            } => Err(EnclaveError::Refused {
                code: code.as_str(),
                retry_after_seconds,
            }),
            ReleaseAnswer::Released { record, sealed } => self.open(&record, &sealed, &statement.sha256()),
        }
    }

    /// Steps 4 and 5 on what was released.
    fn open(&self, record_bytes: &[u8], sealed: &[u8], statement_sha256: &[u8; 32]) -> Result<Released> {
        let payload: Zeroizing<Vec<u8>> =
            open_once(&self.identity.wrap, Label::KeyRelease, record_bytes, sealed)
                .map_err(|_| EnclaveError::Release("it is not sealed to this enclave's wrap key"))?;
        let record = ReleaseRecord::from_cbor(record_bytes).map_err(|_| MALFORMED)?;
        self.check(&record, statement_sha256)?;
        let payload = ReleasePayload::decode(&payload)?;
        Ok(Released {
            model_key: ModelKey::from_bytes(payload.model_key),
            token_issuers: payload.token_issuers,
            manifest_digest: record.manifest_digest,
            lease_seconds: record.lease_seconds,
            record_sha256: Sha256::digest(record_bytes).into(),
        })
    }

    fn check(&self, record: &ReleaseRecord, statement_sha256: &[u8; 32]) -> Result<()> {
        let faults = [
            (record.version == RELEASE_VERSION, "another version of the record"),
            (
                record.model_id == self.config.model_id(),
                "the record is about another model",
            ),
            (
                &record.manifest_digest == self.manifest_digest,
                "the record is about another manifest",
            ),
            (
                &record.statement_sha256 == statement_sha256,
                "the record is about another statement",
            ),
            (record.lease_seconds > 0, "the lease is empty"),
        ];
        match faults.into_iter().find(|(holds, _)| !holds) {
            Some((_, fault)) => Err(EnclaveError::Release(fault)),
            None => Ok(()),
        }
    }
}

const MALFORMED: EnclaveError = EnclaveError::BrokerUntrusted("a malformed message");

fn cut(_: std::io::Error) -> EnclaveError {
    EnclaveError::BrokerUnavailable("the connection was cut")
}

async fn read(connection: &mut BrokerConnection, received: &mut BytesMut) -> Result<BytesMut> {
    loop {
        if let Some(message) = read_message(received, ANSWER_BYTES_MAX).map_err(|_| MALFORMED)? {
            return Ok(message);
        }
        if connection.stream.read_buf(received).await.map_err(cut)? == 0 {
            return Err(EnclaveError::BrokerUnavailable("the connection was cut"));
        }
    }
}
