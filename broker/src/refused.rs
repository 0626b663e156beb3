//! A refusal: what was known of the request when it failed, for the record, and the message to the peer.

use attestation::{Bundle, UnixTime};
use audit::Entry;
use sha2::{Digest, Sha256};
use wire::release::ReleaseAnswer;

use crate::{
    directory::RegisteredModel,
    gate::ConnectionBinding,
    record::{Detail, KeyRefusal},
    refusal::RefusalCode,
};

/// No key: why, and the record of it.
#[must_use]
#[derive(Debug, Clone)]
pub struct Refused {
    code: RefusalCode,
    clause: Option<&'static str>,
    detail: Box<KeyRefusal>,
    now: UnixTime,
}

impl Refused {
    /// A refusal before there was a request to decide on.
    pub fn before_request(code: RefusalCode, binding: &ConnectionBinding, now: UnixTime) -> Self {
        Refusal::new(binding, now).code(code)
    }

    /// Why.
    pub fn code(&self) -> RefusalCode {
        self.code
    }

    /// The appraisal clause that failed.
    pub fn clause(&self) -> Option<&'static str> {
        self.clause
    }

    /// The record of the refusal.
    pub fn entry(&self) -> Entry {
        Detail::KeyRefusal((*self.detail).clone()).entry(self.now)
    }

    /// The message to send.
    pub fn message(&self) -> Vec<u8> {
        let hint = match self.clause {
            Some(clause) => format!("{} (failed clause: {clause})", self.code.hint()),
            None => self.code.hint().to_owned(),
        };
        let retry_after_seconds = self.code.retry_after_seconds();
        ReleaseAnswer::Refused {
            code: self.code.problem(),
            hint,
            retry_after_seconds,
        }
        .to_cbor()
    }

    /// The same request, when its record could not be written.
    pub(crate) fn unrecorded(mut self) -> Self {
        self.code = RefusalCode::AuditUnavailable;
        self.clause = None;
        self
    }
}

/// What is known of a request so far, should it be refused.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    known: KeyRefusal,
    now: UnixTime,
}

impl Refusal {
    pub(crate) fn new(binding: &ConnectionBinding, now: UnixTime) -> Self {
        let known = KeyRefusal {
            code: String::new(),
            clause: None,
            model_id: None,
            policy_digest: None,
            statement_sha256: None,
            evidence_sha256: None,
            platform: None,
            enclave_spki_sha256: hex::encode(binding.enclave_spki_sha256),
        };
        Self { known, now }
    }

    pub(crate) fn model(&mut self, model: &RegisteredModel) {
        self.known.model_id = Some(model.model_id().as_str().to_owned());
        self.known.policy_digest = Some(hex::encode(model.policy.digest()));
    }

    pub(crate) fn bundle(&mut self, bundle: &Bundle) {
        self.known.statement_sha256 = Some(sha256_hex(&bundle.statement));
        self.known.evidence_sha256 = Some(sha256_hex(&bundle.evidence));
        self.known.platform = Some(bundle.platform.as_str().to_owned());
    }

    pub(crate) fn code(&self, code: RefusalCode) -> Refused {
        self.refused(code, None)
    }

    pub(crate) fn clause(&self, code: RefusalCode, clause: &'static str) -> Refused {
        self.refused(code, Some(clause))
    }

    fn refused(&self, code: RefusalCode, clause: Option<&'static str>) -> Refused {
        let known = self.known.clone();
        let detail = KeyRefusal {
            code: code.as_str().to_owned(),
            clause: clause.map(str::to_owned),
            ..known
        };
        Refused {
            code,
            clause,
            detail: Box::new(detail),
            now: self.now,
        }
    }
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
