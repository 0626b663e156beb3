//! What every request shares while the enclave serves.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use inference::{Engine, SharedEmbedder};
use wire::ProblemCode;

use crate::{
    api::{ApiError, access::Access},
    audit_trail::AuditTrail,
    config::Config,
    evidence::EvidenceDesk,
    identity::Identity,
    provisioning::gate::Released,
    status::StatusBoard,
};

/// Shared state of the serving phase.
pub(crate) struct Serving {
    pub(crate) config: Config,
    pub(crate) identity: Arc<Identity>,
    /// Opens requests: keys, epochs, replay cache.
    pub(crate) requests: Arc<exchange::server::Gateway>,
    pub(crate) evidence: Arc<EvidenceDesk>,
    pub(crate) service: Service,
    pub(crate) model_digest: [u8; 32],
    /// When the model was loaded, in seconds since 1970: `created` of its document.
    pub(crate) created: u64,
    pub(crate) trail: AuditTrail,
    pub(crate) board: Arc<StatusBoard>,
    pub(crate) lease: RwLock<Lease>,
}

/// What the served model does.
pub(crate) enum Service {
    /// It continues texts.
    Completions(Arc<Engine>),
    /// It turns texts into vectors.
    Embeddings(SharedEmbedder),
}

/// Until when the released key may be used, and whose tokens are accepted meanwhile.
pub(crate) struct Lease {
    token_issuers: Arc<[[u8; 32]]>,
    expires: Instant,
}

impl Lease {
    /// The lease of a release that came just now.
    pub(crate) fn begin(released: &Released) -> Self {
        Self {
            token_issuers: released.token_issuers.as_slice().into(),
            expires: Instant::now() + Duration::from_secs(u64::from(released.lease_seconds)),
        }
    }

    /// When it ends.
    pub(crate) fn expires(&self) -> Instant {
        self.expires
    }
}

impl Serving {
    /// The engine, if the model continues texts.
    pub(crate) fn engine(&self) -> Result<&Arc<Engine>, ApiError> {
        match &self.service {
            Service::Completions(engine) => Ok(engine),
            Service::Embeddings(_) => Err(ApiError::parameter("model")),
        }
    }

    /// The embedding model, if it is one.
    pub(crate) fn embedder(&self) -> Result<&SharedEmbedder, ApiError> {
        match &self.service {
            Service::Embeddings(embedder) => Ok(embedder),
            Service::Completions(_) => Err(ApiError::parameter("model")),
        }
    }

    /// What OpenAI clients compare to see whether seeds still mean the same: the model's digest, shortened.
    pub(crate) fn system_fingerprint(&self) -> String {
        format!("fp_{}", hex::encode(&self.model_digest[..8]))
    }

    /// Whose tokens are accepted; an error when the lease has run out, because then nothing is served.
    pub(crate) fn token_issuers(&self) -> Result<Arc<[[u8; 32]]>, ApiError> {
        let lease = self.lease.read().unwrap_or_else(PoisonError::into_inner);
        if Instant::now() >= lease.expires {
            return Err(ProblemCode::NotReady.into());
        }
        Ok(Arc::clone(&lease.token_issuers))
    }

    /// Takes a renewed lease.
    pub(crate) fn renew(&self, lease: Lease) {
        *self.lease.write().unwrap_or_else(PoisonError::into_inner) = lease;
    }

    /// When the current lease ends.
    pub(crate) fn lease_expires(&self) -> Instant {
        self.lease
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .expires()
    }

    /// Whether this model is served here and the token allows it.
    pub(crate) fn check_model(&self, access: &Access, model: &str) -> Result<(), ApiError> {
        if model != self.config.model.id {
            return Err(ApiError {
                code: ProblemCode::UnknownModel,
                param: Some("model"),
            });
        }
        if !access.allows(model) {
            return Err(ApiError {
                code: ProblemCode::ModelNotAllowed,
                param: Some("model"),
            });
        }
        Ok(())
    }
}
