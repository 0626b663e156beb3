//! The host channel over one port: each run of the machine connects once, and its streams are the channel's.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use multiplex::{
    bridge::{Connect, UnixPath, carry},
    session::{Opener, Side, session},
};
use tokio::{io::DuplexStream, net::UnixListener, sync::watch, task::JoinHandle};

use super::{arguments::CHANNEL_SOCKET, config::SimulatedVmConfig};
use crate::{
    channel::{self, ENCLAVE_SOCKET, HOST_SOCKET},
    error::HostError,
};

/// The machine that runs, if one does.
#[derive(Default)]
struct Current(Mutex<Option<Opener>>);

impl Connect for Current {
    type Stream = DuplexStream;

    async fn connect(&self) -> io::Result<DuplexStream> {
        let opener = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match opener {
            Some(opener) => opener.connect().await,
            None => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}

/// Listens for QEMU, and carries streams until `stop` turns true.
pub(super) fn open(
    config: &SimulatedVmConfig,
    directory: &Path,
    stop: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, HostError> {
    let run = &config.run_directory;
    std::fs::create_dir_all(run).map_err(HostError::io(format!("create {}", run.display())))?;
    let machines = channel::bind(&run.join(CHANNEL_SOCKET))?;
    let enclave = channel::bind(&directory.join(ENCLAVE_SOCKET))?;
    let host = Arc::new(UnixPath(directory.join(HOST_SOCKET)));
    let current = Arc::new(Current::default());
    tokio::spawn(carry(enclave, Arc::clone(&current), stop.clone()));
    Ok(tokio::spawn(take_machines(machines, current, host, stop)))
}

async fn take_machines(
    machines: UnixListener,
    current: Arc<Current>,
    host: Arc<UnixPath>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let machine = tokio::select! {
            accepted = machines.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let Ok((machine, _)) = machine else { continue };
        let (opener, incoming, run) = session(machine, Side::Host);
        *current.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(opener);
        let carrying = tokio::spawn(carry(incoming, Arc::clone(&host), stop.clone()));
        let _ = run.await; // the machine ended, or broke a rule: the supervisor sees either
        *current.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
        carrying.abort();
    }
}
