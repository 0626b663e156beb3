//! Keeps one confidential machine running: start, watch its phase, start again with backoff, stop.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use wire::message::Phase;

use super::{
    CommandLine,
    machine::{Machine, Run},
};
use crate::{channel, config::Config, error::HostError, launch::Event, metrics::Metrics, server::stopped};

const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
const HEALTHY_AFTER: Duration = Duration::from_secs(60);
const ASK_STARTING: Duration = Duration::from_millis(250);
const ASK_SERVING: Duration = Duration::from_secs(5);

/// How one run ended.
struct End {
    status: String,
    served: bool,
    silent: bool,
}

/// Keeps the machine of `line` running until `stop` turns true. `prepare` gives what each run needs beside QEMU; it is
/// dropped when the run ends.
///
/// # Errors
/// [`HostError::Io`] when QEMU cannot be started; [`HostError::EnclaveEnded`] or [`HostError::EnclaveSilent`] when the
/// first run fails, so that a wrong configuration is an error at once.
pub async fn supervise<T, P: Future<Output = Result<T, HostError>>>(
    config: Arc<Config>,
    run: &Run,
    line: &CommandLine,
    mut prepare: impl FnMut() -> P,
    metrics: Arc<Metrics>,
    events: watch::Sender<Option<Event>>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), HostError> {
    let mut backoff = BACKOFF_MIN;
    let mut first = true;
    loop {
        let started = Instant::now();
        let _needed = prepare().await?;
        let mut machine = Machine::start(run, line)?;
        events.send_replace(Some(Event::Started { pid: machine.pid() }));
        let end = tokio::select! {
            end = watch_machine(&config, run, &mut machine, &events) => end,
            () = stopped(&mut stop) => {
                machine.stop().await;
                events.send_replace(Some(Event::Stopped));
                return Ok(());
            }
        };
        machine.stop().await;
        if first && !end.served {
            return Err(if end.silent {
                HostError::EnclaveSilent {
                    seconds: run.start_seconds_max,
                }
            } else {
                HostError::EnclaveEnded { status: end.status }
            });
        }
        first = false;
        if started.elapsed() > HEALTHY_AFTER {
            backoff = BACKOFF_MIN;
        }
        let wait = backoff;
        backoff = (backoff * 2).min(BACKOFF_MAX);
        events.send_replace(Some(Event::Ended {
            status: end.status,
            wait_ms: wait.as_millis() as u64,
        }));
        tokio::select! {
            () = sleep(wait) => metrics.enclave_restarted(),
            () = stopped(&mut stop) => return Ok(()),
        }
    }
}

async fn watch_machine(
    config: &Config,
    run: &Run,
    machine: &mut Machine,
    events: &watch::Sender<Option<Event>>,
) -> End {
    let started = Instant::now();
    let bound = Duration::from_secs(run.start_seconds_max);
    let mut answered = false;
    let mut served = false;
    loop {
        tokio::select! {
            status = machine.ended() => return End { status, served, silent: false },
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
            return End {
                status: "no answer".to_owned(),
                served,
                silent: true,
            };
        }
    }
}
