//! Puts the broker together: keys, verified log, listeners, and an orderly end.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use attestation::UnixTime;
use audit::LogVerifier;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinHandle,
};
use tokio_util::task::TaskTracker;

use crate::{
    admin::AdminService,
    audit_log::AuditLog,
    config::Config,
    directory::Directory,
    error::{BrokerError, Result},
    key_store::{FirstStart, TenantKeys},
    log::{Event, Line, Log},
    log_key,
    metrics::Metrics,
    ops,
    registration::RegistrationKey,
    release::ReleaseService,
    store::{Reader, Store},
    tls::{self, Identity},
};

/// How long an accept error (out of descriptors) is waited out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Seconds since 1970 by the system's clock, read where the sockets are.
pub(crate) fn now() -> UnixTime {
    UnixTime::from_seconds(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
    )
}

/// Waits until the broker stops.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // The sender cannot be gone before it said so; if it were, stopping is right.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// What the listeners share.
pub(crate) struct Shared {
    pub(crate) directory: Arc<Directory>,
    keys: Arc<RwLock<TenantKeys>>,
    pub(crate) registration_key: RegistrationKey,
    pub(crate) audit: AuditLog,
    pub(crate) log_verifier: LogVerifier,
    pub(crate) reader: Reader,
    pub(crate) metrics: Metrics,
    pub(crate) log: Log,
    stopping: watch::Sender<bool>,
}

impl Shared {
    /// The tenant's key, for reading.
    pub(crate) fn keys(&self) -> RwLockReadGuard<'_, TenantKeys> {
        // A panic between two versions of the key leaves the old ones in place.
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the broker can do its work: it is not stopping, and records can be written.
    pub(crate) async fn is_ready(&self) -> bool {
        !*self.stopping.borrow() && self.audit.is_writable().await
    }
}

/// A running broker.
pub struct Broker {
    shared: Arc<Shared>,
    addresses: Addresses,
    spki_sha256: tls::SpkiDigest,
    accepting: Vec<JoinHandle<()>>,
    writer: JoinHandle<()>,
    connections: TaskTracker,
    step: Duration,
}

/// Where the listeners are.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// Enclaves.
    pub release: SocketAddr,
    /// Owners.
    pub admin: SocketAddr,
    /// The operator.
    pub ops: SocketAddr,
}

/// The part of a broker that needs no network: its keys and its verified store.
pub(crate) struct Opened {
    pub(crate) log: audit::Log<Store>,
    pub(crate) reader: Reader,
    pub(crate) keys: TenantKeys,
    pub(crate) directory: Directory,
}

/// Opens keys and store, making both on the first start, and verifies the whole log.
pub(crate) async fn open(config: &Config) -> Result<Opened> {
    let (store, reader) = Store::open(&config.store.file, config.store.bytes_max).await?;
    let first_start = if reader.entries(0, 1).await?.signed_checkpoint.is_empty() {
        FirstStart::Yes
    } else {
        FirstStart::No
    };
    let signer = log_key::load(&config.audit.log_key, &config.audit.origin, first_start)?;
    let keys = TenantKeys::load(&config.kek.file, &config.kek.id, first_start)?;
    let log = audit::Log::resume(store, signer).await?;
    let history = log.store().history();
    if history.unreadable {
        return Err(BrokerError::LogDamaged(
            "it holds an entry that this program does not write",
        ));
    }
    let directory = Directory::new(reader.models(history).await?, history.kek_disabled);
    Ok(Opened {
        log,
        reader,
        keys,
        directory,
    })
}

impl Broker {
    /// Starts the broker: verifies the log, opens the listeners.
    ///
    /// # Errors
    /// Whatever keeps it from starting; nothing listens then.
    pub async fn start(config: &Config, log: Log) -> Result<Self> {
        let release_identity = Identity::load(&config.release.certificate, &config.release.private_key)?;
        let admin_identity = Identity::load(&config.admin.certificate, &config.admin.private_key)?;
        let release_tls = tls::release_config(&release_identity)?;
        let admin_tls = tls::admin_config(&admin_identity, &config.admin.client_ca)?;
        let release = listen(config.release.listen).await?;
        let admin = listen(config.admin.listen).await?;
        let ops = listen(config.ops.listen).await?;
        let addresses = Addresses {
            release: address(&release)?,
            admin: address(&admin)?,
            ops: address(&ops)?,
        };

        let opened = open(config).await?;
        let metrics = Metrics::new();
        let directory = Arc::new(opened.directory);
        let keys = Arc::new(RwLock::new(opened.keys));
        let log_verifier = opened.log.verifier().clone();
        let (audit, writer) = AuditLog::start(
            opened.log,
            directory.clone(),
            keys.clone(),
            metrics.clone(),
            config.audit.refusals_per_minute_max,
        );
        let shared = Arc::new(Shared {
            directory,
            keys,
            registration_key: RegistrationKey::generate()?,
            audit,
            log_verifier,
            reader: opened.reader,
            metrics,
            log,
            stopping: watch::Sender::new(false),
        });

        let step = Duration::from_secs(config.release.step_seconds_max);
        let spki_sha256 = release_identity.spki_sha256();
        let release_service = Arc::new(ReleaseService::new(
            shared.clone(),
            release_tls,
            spki_sha256,
            config.release.appraisals_max,
            step,
        ));
        let admin_service = Arc::new(AdminService::new(shared.clone(), admin_tls));
        let connections = TaskTracker::new();
        let accepting = vec![
            accept(
                release,
                config.release.connections_max,
                &shared,
                &connections,
                move |stream| release_service.clone().serve(stream),
            ),
            accept(
                admin,
                config.admin.connections_max,
                &shared,
                &connections,
                move |stream| admin_service.clone().serve(stream),
            ),
            tokio::spawn(ops::serve(ops, shared.clone(), shared.stopping.subscribe())),
        ];
        for (what, address) in [
            ("release", addresses.release),
            ("admin", addresses.admin),
            ("ops", addresses.ops),
        ] {
            log.write(Line::new(Event::Listening).what(what).address(address));
        }
        log.write(Line::new(Event::Started).audit_index(shared.audit.head().entries));
        Ok(Self {
            shared,
            addresses,
            spki_sha256,
            accepting,
            writer,
            connections,
            step,
        })
    }

    /// Where the listeners are.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// SHA-256 of the release certificate's SubjectPublicKeyInfo: what enclaves pin.
    pub fn spki_sha256(&self) -> tls::SpkiDigest {
        self.spki_sha256
    }

    /// Stops: no new connections, those that are open end within one step, every record that was begun is written.
    pub async fn stop(self) {
        let log = self.shared.log;
        log.write(Line::new(Event::Stopping));
        self.shared.stopping.send_replace(true);
        for task in self.accepting {
            // A task that panicked has stopped as well.
            let _ = task.await;
        }
        self.connections.close();
        let _ = tokio::time::timeout(self.step, self.connections.wait()).await;
        self.shared.reader.close().await;
        drop(self.shared);
        let _ = tokio::time::timeout(self.step, self.writer).await;
        log.write(Line::new(Event::Stopped));
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|source| BrokerError::Listen { address, source })
}

fn address(listener: &TcpListener) -> Result<SocketAddr> {
    listener.local_addr().map_err(|source| BrokerError::Listen {
        address: SocketAddr::from(([0, 0, 0, 0], 0)),
        source,
    })
}

/// Accepts connections, each with a place among `connections_max`, until the broker stops.
fn accept<F>(
    listener: TcpListener,
    connections_max: usize,
    shared: &Arc<Shared>,
    connections: &TaskTracker,
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(connections_max));
    let mut stopping = shared.stopping.subscribe();
    let connections = connections.clone();
    tokio::spawn(async move {
        loop {
            let next = next_connection(&listener, &places);
            let (stream, place) = tokio::select! {
                () = stopped(&mut stopping) => return,
                accepted = next => accepted,
            };
            let connection = serve(stream);
            connections.spawn(async move {
                connection.await;
                drop(place);
            });
        }
    })
}

async fn next_connection(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, OwnedSemaphorePermit) {
    let place = places
        .clone()
        .acquire_owned()
        .await
        .expect("nobody closes this semaphore");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Makes the keys and the store of a configuration, without listening.
///
/// # Errors
/// As [`Broker::start`], but for the network.
pub async fn init(config: &Config) -> Result<LogVerifier> {
    open(config).await.map(|opened| opened.log.verifier().clone())
}

/// The public half of the log's key, from the file beside the private one.
///
/// # Errors
/// `key-file` or `key-malformed`.
pub fn log_verifier(log_key_file: &Path) -> Result<LogVerifier> {
    log_key::load_public(log_key_file)
}
