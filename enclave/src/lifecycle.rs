//! The enclave's life, each step consuming the last (I9):
//!
//! 1. [`Booted`]: the measured configuration was read, the owner's signature on the manifest holds, keys are made.
//! 2. [`Attested`]: the devices that will hold weights were appraised, the first key epoch has a statement that lists
//!    them, and the platform gave evidence over it.
//! 3. [`Provisioned`]: the broker released the model key to this enclave.
//! 4. [`Ready`]: the model is open in memory and the engine runs; requests are taken.

use std::{
    sync::{Arc, OnceLock, RwLock, atomic::AtomicBool},
    time::{Duration, Instant},
};

use attestation::{Nonce, Role, Statement, StatementFields, VerifiedDevices};
use attester::Attester;
use exchange::server::{Gateway as RequestGateway, GatewayConfig};
use inference::{Embedder, EngineConfig, Model, ModelFiles, SharedEmbedder};
use sealed_model::{Anchor, OpenOptions, OwnerPublicKey, SealedModel};
use tokio::{net::UnixListener, sync::Semaphore};
use tokio_util::task::AbortOnDropHandle;
use wire::message::Phase;

use crate::{
    audit_trail::{AuditTrail, Boot},
    clock::now,
    config::{Config, MeasuredConfig},
    error::{EnclaveError, Result},
    evidence::EvidenceDesk,
    front::Front,
    identity::Identity,
    log::{Event, Log},
    memory,
    provisioning::{
        Backoff, WAITING_FOR_BROKER,
        gate::{Gate, Released},
        wait_for_release,
    },
    serving::{Lease, Service, Serving},
    status::StatusBoard,
    transport::Channel,
};

/// Requests that one key epoch takes before the next is due: bounds the replay cache to 8 MiB.
const REPLAY_ENTRIES_MAX: usize = 1 << 18;
/// Streams for status and evidence beside those of requests.
const OTHER_STREAMS_MAX: usize = 64;
/// What the status says when the released key may no longer be used.
const LEASE_EXPIRED: &str = "lease-expired";

/// What all phases share.
struct Parts {
    config: Config,
    config_digest: [u8; 32],
    identity: Arc<Identity>,
    manifest_digest: [u8; 32],
    /// Set before the first statement is made.
    devices: OnceLock<VerifiedDevices>,
    front: Arc<Front>,
    channel: Channel,
    log: Log,
    _listening: AbortOnDropHandle<()>,
}

/// Keys made, manifest verified, listening.
pub(crate) struct Booted {
    parts: Parts,
    sealed: SealedModel,
}

/// Evidence can be given.
pub(crate) struct Attested {
    parts: Arc<Parts>,
    sealed: SealedModel,
    rotation: AbortOnDropHandle<()>,
}

/// The model key is here.
pub(crate) struct Provisioned {
    parts: Arc<Parts>,
    sealed: SealedModel,
    rotation: AbortOnDropHandle<()>,
    released: Released,
}

/// The model is open, requests are taken.
pub(crate) struct Ready {
    parts: Arc<Parts>,
    serving: Arc<Serving>,
    _rotation: AbortOnDropHandle<()>,
}

/// Stops a life from outside: takes no new requests and lets those in flight finish.
pub(crate) struct Stopper(Arc<Front>);

impl Stopper {
    /// Waits at most `grace`.
    pub(crate) async fn stop(&self, grace: Duration) {
        self.0.stop(grace).await;
    }
}

impl Booted {
    /// Step 1. From here on the host is answered, status first.
    pub(crate) fn boot(
        config: MeasuredConfig,
        attester: Arc<dyn Attester>,
        channel: Channel,
        listener: UnixListener,
        log: Log,
        started: Instant,
    ) -> Result<Self> {
        let MeasuredConfig {
            values: config,
            digest: config_digest,
        } = config;
        let owner = OwnerPublicKey::from_hex(&config.owner_key)
            .map_err(|_| EnclaveError::Config("owner_key is not a public key in hexadecimal".to_owned()))?;
        let sealed = SealedModel::open_manifest(&config.model.path, &owner)?;
        // The version's floor is the broker's to hold; that the model is the configured one is checked here already.
        Anchor::released(&config.model.id, *sealed.manifest().digest()).check(sealed.manifest())?;
        let identity = Arc::new(Identity::generate(config.profile)?);
        let requests = RequestGateway::new(GatewayConfig {
            profile: config.profile.into(),
            padding: config.padding.into(),
            epoch_seconds: u64::from(config.key_epoch_seconds),
            grace_seconds: u64::from(config.key_grace_seconds),
            date_window_seconds: u64::from(config.date_window_seconds),
            replay_entries_max: REPLAY_ENTRIES_MAX,
            request_bytes_max: config.limits.request_bytes_max,
        });
        let streams = config.limits.places() + OTHER_STREAMS_MAX;
        let front = Arc::new(Front {
            board: Arc::new(StatusBoard::new(started)),
            evidence: Arc::new(EvidenceDesk::new(attester, channel.clone())),
            requests,
            serving: OnceLock::new(),
            stopping: AtomicBool::new(false),
            log: log.clone(),
            streams: Arc::new(Semaphore::new(streams)),
        });
        let listening = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&front).listen(listener)));
        let manifest_digest = *sealed.manifest().digest();
        let parts = Parts {
            config,
            config_digest,
            identity,
            manifest_digest,
            devices: OnceLock::new(),
            front,
            channel,
            log,
            _listening: listening,
        };
        parts.phase(Phase::Booted, "");
        Ok(Self { parts, sealed })
    }

    /// What stops this life.
    pub(crate) fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.parts.front))
    }

    /// Step 2: the devices are appraised, then the first epoch is stated, and evidence is collected once, so that a
    /// platform without any fails here. The host is not needed for that: over a network it comes when it comes.
    pub(crate) async fn attest(self) -> Result<Attested> {
        let parts = Arc::new(self.parts);
        if let Some(policy) = &parts.config.devices {
            let devices = parts.front.evidence.appraise_devices(policy).await?;
            let _ = parts.devices.set(devices); // the phase is consumed: there is no second time
        }
        let statement = parts.begin_epoch()?;
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|_| EnclaveError::Keys("no randomness"))?;
        parts
            .front
            .evidence
            .collect(statement.report_data(&Nonce::from_bytes(nonce)))
            .await?;
        parts.phase(Phase::Attested, WAITING_FOR_BROKER);
        let rotation = AbortOnDropHandle::new(tokio::spawn(rotate(Arc::clone(&parts))));
        Ok(Attested {
            parts,
            sealed: self.sealed,
            rotation,
        })
    }
}

impl Attested {
    /// Step 3: waits for the broker as long as it takes.
    pub(crate) async fn provision(self) -> Result<Provisioned> {
        let Self {
            parts,
            sealed,
            rotation,
        } = self;
        let released = wait_for_release(&parts.gate(), &parts.log, &parts.front.board).await?;
        parts.phase(Phase::Provisioned, "");
        Ok(Provisioned {
            parts,
            sealed,
            rotation,
            released,
        })
    }
}

impl Provisioned {
    /// Step 4: opens the model straight into memory, in parallel, and starts the engine.
    pub(crate) async fn load(self) -> Result<Ready> {
        let Self {
            parts,
            sealed,
            rotation,
            released,
        } = self;
        let anchored = sealed.anchored(&Anchor::released(
            &parts.config.model.id,
            released.manifest_digest,
        ))?;
        let lease = Lease::begin(&released);
        let record_sha256 = released.record_sha256;
        let (threads, engine_config) = (parts.config.threads, engine_config(&parts.config));
        let cache_bytes_max = parts.config.limits.cache_bytes_max;
        let places = parts.config.limits.concurrent_requests_max;
        let service = tokio::task::spawn_blocking(move || {
            let open = anchored.open(
                &released.model_key,
                &OpenOptions { threads },
                &sealed_model::silent,
            )?;
            drop(released); // the model key is wiped before the first request
            let fault = |error: inference::InferenceError| EnclaveError::Model { code: error.code() };
            let files: ModelFiles<'_> = open
                .names()
                .filter_map(|name| Some((name, open.file(name)?.expose())))
                .collect();
            if Embedder::recognises(&files) {
                let shared = |embedder| Service::Embeddings(SharedEmbedder::new(embedder, places));
                return Embedder::load(&files).map(shared).map_err(fault);
            }
            let model = Model::load(&files).map_err(fault)?;
            drop(open); // it is not counted as taken
            let engine = model.engine(EngineConfig {
                cache_bytes_max: cache_bytes_max.unwrap_or_else(memory::cache_bytes),
                ..engine_config
            });
            engine
                .map(|engine| Service::Completions(Arc::new(engine)))
                .map_err(fault)
        })
        .await
        .map_err(|_| EnclaveError::Model {
            code: "model-load-panicked",
        })??;
        let trail = AuditTrail::new(parts.log.clone());
        let created = now().seconds();
        trail.boot(
            &parts.identity,
            &Boot {
                time: created,
                config_digest: &parts.config_digest,
                model_digest: &parts.manifest_digest,
                release_record_sha256: &record_sha256,
            },
        );
        let serving = Arc::new(Serving {
            config: parts.config.clone(),
            identity: Arc::clone(&parts.identity),
            requests: Arc::clone(&parts.front.requests),
            evidence: Arc::clone(&parts.front.evidence),
            service,
            model_digest: parts.manifest_digest,
            created,
            trail,
            board: Arc::clone(&parts.front.board),
            lease: RwLock::new(lease),
        });
        let _ = parts.front.serving.set(Arc::clone(&serving)); // the phase is consumed: there is no second time
        parts.phase(Phase::Serving, "");
        Ok(Ready {
            parts,
            serving,
            _rotation: rotation,
        })
    }
}

impl Ready {
    /// Serves, and renews the lease, for as long as nobody stops it. When the broker does not renew in time, requests
    /// are refused until it does.
    pub(crate) async fn serve(self) -> Result<()> {
        let Self { parts, serving, .. } = &self;
        loop {
            let left = serving.lease_expires().saturating_duration_since(Instant::now());
            tokio::time::sleep(left.mul_f64(0.5)).await;
            let mut backoff = Backoff::new();
            loop {
                match parts.gate().ask().await {
                    Ok(released) => {
                        serving.renew(Lease::begin(&released));
                        parts.log.write(&Event::Released {
                            record_sha256: released.record_sha256,
                        });
                        parts.front.board.set_phase(Phase::Serving, "");
                        break;
                    }
                    Err(error) if error.is_transient() => {
                        if Instant::now() >= serving.lease_expires() {
                            parts.front.board.set_phase(Phase::Attested, LEASE_EXPIRED);
                        }
                        let wait = backoff.next(&error)?;
                        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                        parts.log.write(&Event::Waiting {
                            code: error.code(),
                            wait_ms,
                        });
                        tokio::time::sleep(wait).await;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

impl Parts {
    fn gate(&self) -> Gate<'_> {
        Gate {
            config: &self.config,
            identity: &self.identity,
            evidence: &self.front.evidence,
            channel: &self.channel,
            manifest_digest: &self.manifest_digest,
        }
    }

    fn phase(&self, phase: Phase, detail_code: &'static str) {
        self.front.board.set_phase(phase, detail_code);
        let uptime_ms = self.front.board.uptime_ms();
        self.log.write(&Event::Phase {
            phase: phase.as_str(),
            uptime_ms,
        });
    }

    /// Makes request keys, states them, begins to open requests to them, and only then gives evidence over them.
    fn begin_epoch(&self) -> Result<Arc<Statement>> {
        let pending = self
            .front
            .requests
            .prepare()
            .map_err(|_| EnclaveError::Keys("request keys"))?;
        let fields = StatementFields {
            role: Role::Inference,
            key_configs: pending.key_configs().to_vec(),
            receipt_key: self.identity.receipts.public_key(),
            tls_spki_sha256: self.identity.tls.spki_sha256,
            wrap_key: self.identity.wrap.key_config().encode(),
            boot_id: self.identity.boot_id,
            model_digests: vec![self.manifest_digest],
            config_digest: self.config_digest,
            policy_digest: [0; 32],
            key_lifetime_seconds: self.config.key_epoch_seconds,
            software_version: concat!("adyton ", env!("CARGO_PKG_VERSION")).to_owned(),
            device_digests: self
                .devices
                .get()
                .map_or_else(Vec::new, |devices| devices.digests().to_vec()),
        };
        let statement = fields
            .encode()
            .map_err(|_| EnclaveError::Keys("the statement is over its bounds"))?;
        let statement = Arc::new(statement);
        let epoch = self.front.requests.install(pending, now());
        // What the old keys have opened lives no longer than they do.
        if let Some(Service::Completions(engine)) = self.front.serving.get().map(|serving| &serving.service) {
            engine.forget_prefixes();
        }
        self.front.evidence.publish(epoch, Arc::clone(&statement));
        self.log.write(&Event::Epoch {
            epoch,
            statement_sha256: statement.sha256(),
        });
        Ok(statement)
    }
}

/// Begins a new epoch whenever one is due, for as long as the enclave lives.
async fn rotate(parts: Arc<Parts>) {
    let step = Duration::from_secs(u64::from(parts.config.key_epoch_seconds)).div_f64(16.0);
    loop {
        tokio::time::sleep(step.min(Duration::from_secs(1))).await;
        parts.front.requests.expire(now()); // old keys are wiped on time, also when no request comes
        if parts.front.requests.rotation_due(now())
            && let Err(error) = parts.begin_epoch()
        {
            parts.log.write(&Event::Fault {
                part: "rotation",
                code: error.code(),
            });
        }
    }
}

fn engine_config(config: &Config) -> EngineConfig {
    let limits = &config.limits;
    EngineConfig {
        max_concurrent: limits.concurrent_requests_max,
        max_waiting: limits.waiting_requests_max(),
        prefix_tenants_max: limits.prefix_cache_tenants,
        context_tokens_max: None,
        completion_tokens_max: limits.completion_tokens_max,
        prompt_bytes_max: 2 * limits.prompt_bytes_max + (64 << 10), // the chat template adds to it
        ..EngineConfig::default()
    }
}
