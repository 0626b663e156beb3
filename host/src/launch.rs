//! Starts the enclave process, watches its phase, starts it again with backoff, stops it.
//!
//! 1. The child gets an empty environment, no standard input and a fixed command line: nothing the host's own
//!    environment holds can reach it.
//! 2. Its standard error (allow-listed lines only) goes to `enclave.stderr` in the log folder.
//! 3. The phase is asked over the channel twice a second until it serves, then every five seconds.
//! 4. When it ends, it is started again after 0.5 s, doubling to 30 s; a minute of service resets the wait.

use std::{process::Stdio, sync::Arc, time::Duration};

use tokio::{
    process::{Child, Command},
    sync::watch,
    time::{Instant, sleep},
};
use wire::message::{Phase, Status};

use crate::{channel, config::Config, error::HostError, metrics::Metrics, server::stopped};

const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
const HEALTHY_AFTER: Duration = Duration::from_secs(60);
const ASK_STARTING: Duration = Duration::from_millis(50);
const ASK_SERVING: Duration = Duration::from_secs(5);
const STOP_GRACE: Duration = Duration::from_secs(5);

/// What the supervisor tells whoever watches.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A process was started.
    Started {
        /// Its process id.
        pid: u32,
    },
    /// A remote guest's port was reached.
    Connected {
        /// Its address.
        address: String,
    },
    /// The enclave answered with its state.
    Status(Status),
    /// The process or the connection ended; the next start comes after the wait.
    Ended {
        /// Exit status or error, in words.
        status: String,
        /// Milliseconds until the next start.
        wait_ms: u64,
    },
    /// The supervisor has stopped it.
    Stopped,
}

/// Keeps one enclave running until `stop` turns true.
///
/// # Errors
/// [`HostError::Io`] when the binary cannot be started at all; [`HostError::EnclaveEnded`] or
/// [`HostError::EnclaveSilent`] when the first start fails, so that a wrong configuration is an error at once.
pub async fn supervise(
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    events: watch::Sender<Option<Event>>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), HostError> {
    let mut backoff = BACKOFF_MIN;
    let mut first = true;
    let start_seconds_max = config.enclave()?.start_seconds_max;
    loop {
        let started = Instant::now();
        let mut child = start(&config)?;
        events.send_replace(Some(Event::Started {
            pid: child.id().unwrap_or_default(),
        }));
        let end = tokio::select! {
            end = watch_child(&config, start_seconds_max, &mut child, &events) => end,
            () = stopped(&mut stop) => {
                terminate(&mut child).await;
                events.send_replace(Some(Event::Stopped));
                return Ok(());
            }
        };
        if let End::Silent = end {
            terminate(&mut child).await;
        }
        if first && started.elapsed() < HEALTHY_AFTER && !matches!(end, End::AfterServing(_)) {
            return Err(end.into_error(start_seconds_max));
        }
        first = false;
        if started.elapsed() > HEALTHY_AFTER {
            backoff = BACKOFF_MIN;
        }
        let wait = backoff;
        events.send_replace(Some(Event::Ended {
            status: end.words(),
            wait_ms: wait.as_millis() as u64,
        }));
        backoff = (backoff * 2).min(BACKOFF_MAX);
        tokio::select! {
            () = sleep(wait) => metrics.enclave_restarted(),
            () = stopped(&mut stop) => return Ok(()),
        }
    }
}

/// How one run of the process ended.
enum End {
    BeforeServing(String),
    AfterServing(String),
    Silent,
}

impl End {
    fn words(&self) -> String {
        match self {
            Self::BeforeServing(status) | Self::AfterServing(status) => status.clone(),
            Self::Silent => "no answer".to_owned(),
        }
    }

    fn into_error(self, seconds: u64) -> HostError {
        match self {
            Self::BeforeServing(status) | Self::AfterServing(status) => HostError::EnclaveEnded { status },
            Self::Silent => HostError::EnclaveSilent { seconds },
        }
    }
}

fn start(config: &Config) -> Result<Child, HostError> {
    use std::os::unix::fs::OpenOptionsExt;
    let enclave = config.enclave()?;
    let _ = std::fs::remove_file(config.channel.directory.join(channel::ENCLAVE_SOCKET));
    let log = config.log.directory.join("enclave.stderr");
    let stderr = std::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&log)
        .map_err(HostError::io(format!("open {}", log.display())))?;
    Command::new(&enclave.binary)
        .env_clear()
        .current_dir("/")
        .arg("run")
        .args(["--flavor", enclave.flavor.as_str()])
        .arg("--platform")
        .arg(&enclave.platform)
        .arg("--config")
        .arg(&enclave.config)
        .arg("--channel")
        .arg(&config.channel.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .kill_on_drop(true)
        .spawn()
        .map_err(HostError::io(format!("start {}", enclave.binary.display())))
}

async fn watch_child(
    config: &Config,
    start_seconds_max: u64,
    child: &mut Child,
    events: &watch::Sender<Option<Event>>,
) -> End {
    let started = Instant::now();
    let bound = Duration::from_secs(start_seconds_max);
    let mut answered = false;
    let mut served = false;
    loop {
        tokio::select! {
            status = child.wait() => {
                let words = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                return if served { End::AfterServing(words) } else { End::BeforeServing(words) };
            }
            () = sleep(if served { ASK_SERVING } else { ASK_STARTING }) => {}
        }
        if let Ok(status) = channel::status(&config.channel.directory).await {
            answered = true;
            served |= status.phase == Phase::Serving;
            events.send_if_modified(|last| {
                let event = Some(Event::Status(status));
                let changed = *last != event;
                *last = event;
                changed
            });
        } else if !answered && started.elapsed() > bound {
            return End::Silent;
        }
    }
}

/// SIGTERM, then SIGKILL after the grace.
async fn terminate(child: &mut Child) {
    if let Some(pid) = child
        .id()
        .and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()))
    {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM); // it may have ended
    }
    if tokio::time::timeout(STOP_GRACE, child.wait()).await.is_err() {
        let _ = child.kill().await; // it may have ended
    }
}
