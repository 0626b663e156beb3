//! The gateway: request keys, their epochs, the replay cache.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sealing::stream::Encapsulated;
use sealing::{KeyPair, Profile};
use wire::KeyConfig;
use wire::message::Media;

use super::RequestReader;
use super::epoch::{Epochs, Lifetimes};
use crate::{ExchangeError, Padding, UnixTime};

/// What a gateway is configured with; all of it is measured.
#[derive(Debug, Clone, Copy)]
pub struct GatewayConfig {
    /// Which suites keys are made for.
    pub profile: Profile,
    /// How responses are shaped.
    pub padding: Padding,
    /// Life of a request key in seconds.
    pub epoch_seconds: u64,
    /// How long after its epoch a key still opens what was on its way, in seconds.
    pub grace_seconds: u64,
    /// How far the inner Date may be from `now`, either way, in seconds.
    pub date_window_seconds: u64,
    /// Requests that one epoch takes; about 50 bytes of memory each.
    pub replay_entries_max: usize,
    /// Largest encapsulated request in bytes.
    pub request_bytes_max: usize,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            profile: Profile::Default,
            padding: Padding::Sized,
            epoch_seconds: 3600,
            grace_seconds: 30,
            date_window_seconds: 300,
            replay_entries_max: 1 << 18,
            request_bytes_max: wire::limits::ENCAPSULATED_REQUEST_BYTES_MAX,
        }
    }
}

/// Request keys, epochs and the replay cache. Shared by all requests.
pub struct Gateway {
    config: GatewayConfig,
    epochs: Mutex<Epochs>,
    replays_refused: AtomicU64,
}

/// Keys that were made but are not used yet: attest them first.
pub struct PendingEpoch {
    keys: Vec<Arc<KeyPair>>,
    key_configs: Vec<u8>,
}

impl PendingEpoch {
    /// `application/ohttp-keys`, for the identity statement.
    pub fn key_configs(&self) -> &[u8] {
        &self.key_configs
    }
}

impl Gateway {
    /// A gateway without keys.
    pub fn new(config: GatewayConfig) -> Arc<Self> {
        Arc::new(Self {
            config,
            epochs: Mutex::default(),
            replays_refused: AtomicU64::new(0),
        })
    }

    /// The configuration.
    pub fn config(&self) -> &GatewayConfig {
        &self.config
    }

    /// Makes the keys of the next epoch, one per suite of the profile.
    pub fn prepare(&self) -> Result<PendingEpoch, ExchangeError> {
        let keys: Vec<_> = self
            .config
            .profile
            .suites()
            .iter()
            .map(|suite| {
                let key_id = self.epochs().next_key_id();
                KeyPair::generate(*suite, key_id).map(Arc::new)
            })
            .collect::<Result<_, _>>()?;
        let configs: Vec<_> = keys.iter().map(|key| key.key_config().clone()).collect();
        Ok(PendingEpoch {
            keys,
            key_configs: KeyConfig::encode_list(&configs),
        })
    }

    /// Begins the epoch: from now on requests to its keys are opened. Returns its number, counted from 1.
    pub fn install(&self, epoch: PendingEpoch, now: UnixTime) -> u64 {
        self.epochs().install(epoch.keys, self.lifetimes(), now)
    }

    /// Wipes keys that have ended. Happens by itself when a request comes; call it also when none comes.
    pub fn expire(&self, now: UnixTime) {
        self.epochs().expire(now);
    }

    /// Whether the next epoch should be prepared: three quarters of the lifetime or of the replay cache are used.
    pub fn rotation_due(&self, now: UnixTime) -> bool {
        self.epochs().rotation_due(self.lifetimes(), now)
    }

    /// Number of the current epoch; 0 before the first.
    pub fn epoch(&self) -> u64 {
        self.epochs().number()
    }

    /// Replays refused since the start.
    pub fn replays_refused_total(&self) -> u64 {
        self.replays_refused.load(Ordering::Relaxed)
    }

    /// Begins reading one request.
    pub fn begin(self: &Arc<Self>, media: Media) -> RequestReader {
        RequestReader::new(Arc::clone(self), media)
    }

    /// The key for a request, if its encapsulated key was not seen before.
    pub(super) fn admit(
        &self,
        request: &Encapsulated,
        now: UnixTime,
    ) -> Result<(Arc<KeyPair>, u64), ExchangeError> {
        let admitted = self.epochs().admit(request.key_id(), request.enc_sha256(), now);
        if matches!(admitted, Err(ExchangeError::Replayed)) {
            self.replays_refused.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    fn lifetimes(&self) -> Lifetimes {
        Lifetimes {
            epoch_seconds: self.config.epoch_seconds,
            grace_seconds: self.config.grace_seconds,
            replay_entries_max: self.config.replay_entries_max,
        }
    }

    /// No method panics while it holds the lock, so a poisoned lock still guards a consistent value.
    fn epochs(&self) -> MutexGuard<'_, Epochs> {
        self.epochs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
