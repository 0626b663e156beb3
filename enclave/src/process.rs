//! One process: runtime, log stream, signals, and the life in it.

use std::{
    future::Future,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use attester::Attester;
use bytes::Bytes;
use futures_util::SinkExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::AbortOnDropHandle;
use wire::{frame::Frame, message::StreamPurpose};

use crate::{
    config::MeasuredConfig,
    confine::{Confined, confine},
    error::{EnclaveError, Result},
    hardening::{self, Hardened},
    lifecycle::Booted,
    log::{Event, Log, LogLines, to_standard_error},
    transport::{Channel, Frames},
};

/// How long requests in flight may take once the process is asked to stop.
const STOP_GRACE: Duration = Duration::from_secs(4);
/// How long the last lines may take to reach the host.
const LAST_LINES_SECONDS_MAX: Duration = Duration::from_millis(200);
/// Threads for blocking work beside one for each request.
const OTHER_BLOCKING_THREADS: usize = 16;

/// First thing in `main`: refuses an environment, gives up privileges.
pub fn prepare() -> Result<Hardened> {
    hardening::refuse_environment(std::env::vars_os().map(|(name, _)| name))?;
    hardening::harden()
}

/// Confines the process, and runs the enclave until SIGTERM or SIGINT, or until a fault that waiting cannot mend.
///
/// Only simulated evidence comes from a process whose kernel knows some of the rules over files: it protects nothing.
pub fn run(
    config: MeasuredConfig,
    channel: &Path,
    attester: Arc<dyn Attester>,
    hardened: Hardened,
) -> Result<()> {
    let confined = confine(&config.values.model.path, channel, &attester.access())?;
    if !confined.files && !attester.platform().is_simulated() {
        return Err(EnclaveError::Hardening("landlock is older than its rules"));
    }
    let limits = &config.values.limits;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.values.threads.clamp(1, 8)) // set, so that no environment variable is asked
        .max_blocking_threads(limits.places() + OTHER_BLOCKING_THREADS)
        .enable_all()
        .build()
        .map_err(|_| EnclaveError::Hardening("no threads"))?;
    let outcome = runtime.block_on(live(
        config,
        channel,
        attester,
        hardened,
        Some(confined),
        stop_signal(),
    ));
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}

/// The life of one enclave, until `stop`. `confined` is what holds for this process, told to the host.
///
/// # Errors
/// Faults that waiting cannot mend; the process is to end.
pub async fn live(
    config: MeasuredConfig,
    directory: &Path,
    attester: Arc<dyn Attester>,
    hardened: Hardened,
    confined: Option<Confined>,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    let started = Instant::now();
    let channel = Channel::new(directory);
    let listener = channel.listen()?;
    let (log, lines) = Log::new();
    log.write(&Event::Hardened {
        memory_locked: hardened.memory_locked,
    });
    if let Some(confined) = confined {
        log.write(&Event::Confined {
            files: confined.files,
        });
    }
    let mut pump = AbortOnDropHandle::new(tokio::spawn(pump(channel.clone(), lines)));
    let outcome = match Booted::boot(config, attester, channel, listener, log.clone(), started) {
        Ok(booted) => {
            let stopper = booted.stopper();
            let life = async {
                booted
                    .attest()
                    .await?
                    .provision()
                    .await?
                    .load()
                    .await?
                    .serve()
                    .await
            };
            tokio::pin!(life);
            tokio::select! {
                ended = &mut life => ended,
                () = stop => {
                    // The life goes on meanwhile: it serves what is in flight.
                    tokio::select! {
                        ended = &mut life => ended,
                        () = stopper.stop(STOP_GRACE) => Ok(()),
                    }
                }
            }
        }
        Err(error) => Err(error),
    };
    if let Err(error) = &outcome {
        let fault = Event::Fault {
            part: "lifecycle",
            code: error.code(),
        };
        to_standard_error(&fault);
        log.write(&fault);
    }
    drop(log); // the pump ends with the last line
    let _ = tokio::time::timeout(LAST_LINES_SECONDS_MAX, &mut pump).await; // the host may not read
    outcome
}

async fn stop_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return core::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Carries lines to the host, connecting again when it went away. A line that could not be sent is sent again.
async fn pump(channel: Channel, mut lines: LogLines) {
    let mut stream: Option<Frames> = None;
    while let Some(line) = lines.next().await {
        let line = Bytes::from(line);
        loop {
            if stream.is_none() {
                stream = channel.open(StreamPurpose::Log).await.ok();
            }
            if let Some(frames) = &mut stream
                && frames.send(Frame::Data(line.clone())).await.is_ok()
            {
                break;
            }
            stream = None;
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
    if let Some(mut frames) = stream {
        let _ = frames.send(Frame::End).await; // the host may be gone
    }
}
