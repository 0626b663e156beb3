//! The release gate: pure decisions, bytes and `now` in, bytes out. Sockets and tasks are in [`crate::release`].
//!
//! 1. [`Challenged`]: a nonce was drawn for one TLS connection.
//! 2. [`Appraised`]: the request's evidence is fresh for that nonce, that connection, both its keys and the wrap key; the
//!    model's policy accepts it; the statement names the registered model; the tenant's key opened the wrap.
//! 3. [`Recorded`]: the record of the release is durable. Built from an [`audit::Receipt`] and nothing else (I11).
//! 4. [`Released`]: the bytes that may leave.
//!
//! Each step consumes the one before (I9). What fails is a [`Refused`], which has a record of its own.

use std::sync::Arc;

use attestation::{
    Assurance, Bundle, Nonce, ReleaseBinding, Role, Statement, UnixTime, VerifiedEvidence, release_nonce,
};
use audit::{Entry, Receipt};
use sealed_model::ModelKey;
use sealing::{AttestedKey, Label, seal_once};
use subtle::ConstantTimeEq;
use wire::{
    WireError,
    release::{Challenge, RELEASE_VERSION, ReleaseAnswer, ReleaseRecord, ReleaseRequest},
};
use zeroize::Zeroizing;

use crate::{
    directory::{Directory, RegisteredModel},
    key_store::TenantKeys,
    record::{Detail, KeyRelease},
    refusal::RefusalCode,
    refused::{Refusal, sha256_hex},
    tls::SpkiDigest,
};

pub use crate::refused::Refused;

/// Bytes of `TLS-Exporter` that a release is bound to.
pub const EXPORTED_BYTES: usize = 32;

/// Context of the exporter: the enclave's role, then the challenge.
pub fn exporter_context(nonce: &Nonce) -> [u8; 1 + Nonce::BYTES] {
    let mut context = [Role::Inference.number(); 1 + Nonce::BYTES];
    context[1..].copy_from_slice(nonce.as_bytes());
    context
}

/// What ties a request to one TLS connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionBinding {
    /// `TLS-Exporter("EXPORTER-adyton-attestation", exporter_context(nonce), 32)`.
    pub exported_keying_material: [u8; EXPORTED_BYTES],
    /// The client certificate's key.
    pub enclave_spki_sha256: SpkiDigest,
    /// Our own.
    pub broker_spki_sha256: SpkiDigest,
}

/// A challenge was made for one connection. Answers one request, because answering consumes it.
#[must_use]
pub struct Challenged {
    nonce: Nonce,
    binding: ConnectionBinding,
}

/// What a decision needs besides the request.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    /// The registered models.
    pub directory: &'a Directory,
    /// The tenant's key.
    pub keys: &'a TenantKeys,
    /// The moment of the decision.
    pub now: UnixTime,
}

impl Challenged {
    /// `nonce` must be fresh from the system's random generator, and `binding` exported under it.
    pub fn new(nonce: Nonce, binding: ConnectionBinding) -> Self {
        Self { nonce, binding }
    }

    /// The connection that the challenge is for.
    pub fn binding(&self) -> &ConnectionBinding {
        &self.binding
    }

    /// The message that carries the challenge.
    pub fn message(&self) -> Vec<u8> {
        Challenge {
            version: RELEASE_VERSION,
            nonce: *self.nonce.as_bytes(),
        }
        .to_cbor()
    }

    /// Decides on a request. The order is that of the module documentation; the appraisal comes after the checks that
    /// cost nothing.
    ///
    /// # Errors
    /// A refusal, not yet recorded.
    pub fn appraise(self, request: &[u8], desk: Desk<'_>) -> Result<Appraised, Refused> {
        let mut refusal = Refusal::new(&self.binding, desk.now);
        let request = ReleaseRequest::from_cbor(request).map_err(|error| match error {
            WireError::TooLarge { .. } => refusal.code(RefusalCode::TooLarge),
            _ => refusal.code(RefusalCode::MalformedRequest),
        })?;
        let model = desk
            .directory
            .model(request.model_id.as_str())
            .ok_or_else(|| refusal.code(RefusalCode::UnknownModel))?;
        refusal.model(&model);
        desk.directory
            .permits(&model)
            .map_err(|code| refusal.code(code))?;

        let bundle = Bundle::decode(&request.bundle)
            .map_err(|error| refusal.code(RefusalCode::of_exit_code(error.exit_code())))?;
        refusal.bundle(&bundle);
        let presented =
            Statement::parse(&bundle.statement).map_err(|_| refusal.code(RefusalCode::EvidenceMalformed))?;
        // What is presented can only refuse: cheaply, and with a code that says more than a clause. What counts is the
        // same check on the statement that was verified.
        self.check(&presented, &model)
            .map_err(|code| refusal.code(code))?;
        let nonce = self.nonce_for(&presented.wrap_key);
        let evidence = model
            .policy
            .verifier()
            .appraise(&bundle, &nonce, desk.now)
            .map_err(|error| {
                refusal.clause(RefusalCode::of_exit_code(error.exit_code()), error.clause().id)
            })?;
        self.check(evidence.statement(), &model)
            .map_err(|code| refusal.code(code))?;

        let wrap_key =
            AttestedKey::bind_wrap_key(&evidence).map_err(|_| refusal.code(RefusalCode::WrapKeyUnusable))?;
        let key = desk
            .keys
            .unwrap(&model.wrap, &model.wrap_context())
            .map_err(|_| refusal.code(RefusalCode::KeyUnavailable))?;
        let detail = release_detail(&model, &bundle, &evidence, &self.binding);
        let entry = Detail::KeyRelease(detail).entry(desk.now);
        Ok(Appraised {
            model,
            evidence,
            wrap_key,
            key,
            entry,
            refusal,
            now: desk.now,
        })
    }

    /// The nonce that the evidence must carry. Evidence for another wrap key, connection or challenge carries another.
    fn nonce_for(&self, wrap_key: &[u8]) -> Nonce {
        release_nonce(&ReleaseBinding {
            challenge: &self.nonce,
            exported_keying_material: &self.binding.exported_keying_material,
            enclave_spki_sha256: &self.binding.enclave_spki_sha256,
            broker_spki_sha256: &self.binding.broker_spki_sha256,
            wrap_key,
        })
    }

    /// What a statement must say besides what the policy asks: a role that gets keys, this connection, this model.
    fn check(&self, statement: &Statement, model: &RegisteredModel) -> Result<(), RefusalCode> {
        if statement.role != Role::Inference {
            return Err(RefusalCode::WrongRole);
        }
        if !bool::from(statement.tls_spki_sha256.ct_eq(&self.binding.enclave_spki_sha256)) {
            return Err(RefusalCode::ChannelMismatch);
        }
        model.serves(&statement.model_digests)
    }
}

/// Everything about the request is in order; nothing is recorded yet. Holds the model key.
#[must_use]
pub struct Appraised {
    model: Arc<RegisteredModel>,
    evidence: VerifiedEvidence,
    wrap_key: AttestedKey,
    key: ModelKey,
    entry: Entry,
    refusal: Refusal,
    now: UnixTime,
}

impl Appraised {
    /// The record that must be durable before the next step.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The registration that the decision was made under.
    pub fn model(&self) -> &Arc<RegisteredModel> {
        &self.model
    }

    /// Takes the decision back, because something changed before it was recorded. The key is wiped.
    pub fn refuse(self, code: RefusalCode) -> Refused {
        self.refusal.code(code)
    }

    /// The refusal of this request, should its record not come about.
    pub(crate) fn refusal(&self, code: RefusalCode) -> Refused {
        self.refusal.code(code)
    }

    /// The next step, given proof that the record is durable.
    ///
    /// # Errors
    /// `audit-unavailable` when the receipt is for another record.
    pub fn recorded(self, receipt: Receipt) -> Result<Recorded, Refused> {
        if !receipt.is_for(&self.entry) {
            return Err(self.refuse(RefusalCode::AuditUnavailable));
        }
        Ok(Recorded {
            appraised: self,
            receipt,
        })
    }
}

/// The record is durable. Now the key may leave.
#[must_use]
pub struct Recorded {
    appraised: Appraised,
    receipt: Receipt,
}

impl Recorded {
    /// Seals the key to the attested wrap key, with the release record as associated data.
    ///
    /// # Errors
    /// `wrap-key-unusable` when sealing fails. The record then stands for a release that did not happen.
    pub fn release(self) -> Result<Released, Refused> {
        let Self { appraised, receipt } = self;
        let policy = &appraised.model.policy;
        let record = ReleaseRecord {
            version: RELEASE_VERSION,
            model_id: policy.model_id().clone(),
            manifest_digest: appraised.model.manifest_digest,
            statement_sha256: appraised.evidence.statement().sha256(),
            released_at: appraised.now.seconds(),
            audit_index: receipt.index(),
            audit_root: receipt.checkpoint().root,
            checkpoint: receipt.signed_checkpoint().to_owned(),
            lease_seconds: policy.lease_seconds(),
            policy_digest: *policy.digest(),
        }
        .to_cbor();
        let payload = payload(&appraised.key, policy.token_issuers());
        let sealed = seal_once(
            &appraised.wrap_key,
            Label::KeyRelease,
            &record,
            &payload,
            appraised.now,
        )
        .map_err(|_| appraised.refusal.code(RefusalCode::WrapKeyUnusable))?;
        Ok(Released {
            answer: ReleaseAnswer::Released { record, sealed }.to_cbor(),
            audit_index: receipt.index(),
            assurance: appraised.evidence.assurance(),
            model: appraised.model,
        })
    }
}

/// The answer that carries the key, sealed.
#[must_use]
pub struct Released {
    answer: Vec<u8>,
    audit_index: u64,
    assurance: Assurance,
    model: Arc<RegisteredModel>,
}

impl Released {
    /// The message to send; it may be seen by anyone.
    pub fn message(&self) -> &[u8] {
        &self.answer
    }

    /// Where the record stands in the log.
    pub fn audit_index(&self) -> u64 {
        self.audit_index
    }

    /// What the release rests on.
    pub fn assurance(&self) -> Assurance {
        self.assurance
    }

    /// What was released.
    pub fn model(&self) -> &RegisteredModel {
        &self.model
    }
}

/// Plaintext of the sealed payload: a CBOR array of the model key (32 bytes) and of an array of the issuers' keys.
fn payload(key: &ModelKey, issuers: &[[u8; 32]]) -> Zeroizing<Vec<u8>> {
    // Room for everything at once: a buffer that grows leaves a copy of the key behind.
    let mut out = Zeroizing::new(Vec::with_capacity(64 + 40 * issuers.len()));
    out.extend([0x82, 0x58, 32]);
    out.extend_from_slice(key.expose_bytes());
    let mut tail = minicbor::Encoder::new(Vec::new());
    tail.array(issuers.len() as u64)
        .expect("writing to a Vec does not fail");
    for issuer in issuers {
        tail.bytes(issuer).expect("writing to a Vec does not fail");
    }
    out.extend_from_slice(tail.writer());
    out
}

fn release_detail(
    model: &RegisteredModel,
    bundle: &Bundle,
    evidence: &VerifiedEvidence,
    binding: &ConnectionBinding,
) -> KeyRelease {
    KeyRelease {
        model_id: model.model_id().as_str().to_owned(),
        model_version: model.version,
        manifest_digest: hex::encode(model.manifest_digest),
        policy_digest: hex::encode(model.policy.digest()),
        statement_sha256: hex::encode(evidence.statement().sha256()),
        evidence_sha256: sha256_hex(&bundle.evidence),
        platform: evidence.claims().platform().as_str().to_owned(),
        assurance: evidence.assurance().to_string(),
        launch_measurement: hex::encode(evidence.claims().launch_measurement()),
        enclave_spki_sha256: hex::encode(binding.enclave_spki_sha256),
        lease_seconds: model.policy.lease_seconds(),
    }
}
