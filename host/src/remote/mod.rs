//! `adyton-host launch --tee remote`: relays to a guest that somebody else started, over its network: a confidential VM of a
//! cloud, or of another host.
//!
//! 1. One TCP connection to the guest's port carries every stream ([`crate::streams`]). It is made again when it ends, and
//!    when nothing is heard over it ([`multiplex::lively`]): the guest, the relay and the network may each start again.
//! 2. The enclave's phase is asked over it, as in every other mode; that there is an answer keeps the connection.
//!
//! Nothing here knows who answers. That is for evidence to say, to those who rely on it.

pub mod config;
mod dial;

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep};
use wire::message::Phase;

use self::dial::News;
pub(crate) use self::dial::dial;
use crate::{channel, config::Config, error::HostError, launch::Event, server::stopped, streams::Streams};

/// The guest's port of the host channel, in every image.
pub(crate) const GUEST_PORT: u16 = 7001;

const ASK_STARTING: Duration = Duration::from_millis(250);
const ASK_SERVING: Duration = Duration::from_secs(5);

/// Keeps the connection until `stop` turns true. A guest that is not there yet is no error: it may be about to start.
///
/// # Errors
/// [`HostError::Config`] without the table, [`HostError::Listen`] when another host serves in the channel's folder.
pub async fn launch(
    config: Arc<Config>,
    events: watch::Sender<Option<Event>>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), HostError> {
    let remote = config.remote()?;
    let streams = Streams::open(&config.channel.directory, stop.clone())?;
    let tell = |news| {
        events.send_replace(Some(match news {
            News::Connected => Event::Connected {
                address: remote.address.to_string(),
            },
            News::Ended { status, wait } => Event::Ended {
                status,
                wait_ms: wait.as_millis() as u64,
            },
        }));
    };
    tokio::select! {
        () = dial(&streams, remote.address, Duration::from_secs(remote.connect_seconds_max), tell) => {}
        () = ask(&config, &events) => {}
        () = stopped(&mut stop) => {}
    }
    events.send_replace(Some(Event::Stopped));
    Ok(())
}

/// Asks for the phase, often until it serves. Never returns.
async fn ask(config: &Config, events: &watch::Sender<Option<Event>>) {
    let mut serves = false;
    loop {
        sleep(if serves { ASK_SERVING } else { ASK_STARTING }).await;
        let Ok(status) = channel::status(&config.channel.directory).await else {
            serves = false; // nobody answers: look again soon
            continue;
        };
        serves = status.phase == Phase::Serving;
        events.send_if_modified(|last| {
            let event = Some(Event::Status(status));
            let changed = *last != event;
            *last = event;
            changed
        });
    }
}
