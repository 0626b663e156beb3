//! The host channel of the machine: over one port of virtio-serial, which each run of it connects once, or over its
//! network, as a remote guest's.

use std::{net::SocketAddrV4, path::Path, time::Duration};

use tokio::{net::UnixListener, sync::watch, task::JoinHandle};

use super::{arguments::CHANNEL_SOCKET, config::SimulatedVmConfig};
use crate::{channel, error::HostError, remote::dial, server::stopped, streams::Streams};

/// QEMU is on this machine.
const CONNECT_SECONDS_MAX: Duration = Duration::from_secs(5);

/// Opens the channel, and carries streams until `stop` turns true.
pub(super) fn open(
    config: &SimulatedVmConfig,
    directory: &Path,
    stop: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, HostError> {
    let run = &config.run_directory;
    std::fs::create_dir_all(run).map_err(HostError::io(format!("create {}", run.display())))?;
    let streams = Streams::open(directory, stop.clone())?;
    Ok(match config.network {
        None => {
            let machines = channel::bind(&run.join(CHANNEL_SOCKET))?;
            tokio::spawn(take_machines(machines, streams, stop))
        }
        Some(forwarded) => tokio::spawn(dial_machines(forwarded, streams, stop)),
    })
}

async fn take_machines(machines: UnixListener, streams: Streams, mut stop: watch::Receiver<bool>) {
    loop {
        let machine = tokio::select! {
            accepted = machines.accept() => accepted,
            () = stopped(&mut stop) => return,
        };
        let Ok((machine, _)) = machine else { continue };
        let _ = streams.run(machine).await; // the machine ended, or broke a rule: the supervisor sees either
    }
}

async fn dial_machines(forwarded: SocketAddrV4, streams: Streams, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        () = dial(&streams, forwarded, CONNECT_SECONDS_MAX, |_| ()) => {} // as above
        () = stopped(&mut stop) => {}
    }
}
