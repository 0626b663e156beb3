//! The way to the host: its streams become connections of the engine's sockets, and the other way round.
//!
//! | transport | found by | streams |
//! |---|---|---|
//! | virtio-serial | a port called `adyton.channel` | many over one (`multiplex::session`) |
//! | vsock(7) | a device of its driver | connections: the engine's port 1, the host's port 2 |
//! | TCP | neither of the two, and one network card ([`network`]) | many over one connection to port 7001 |
//!
//! What passes is the host channel as in every other mode: the engine trusts none of it.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::Child,
    sync::Arc,
    time::Duration,
};

use multiplex::{
    bridge::{Accept, Connect, UnixPath, carry},
    current::Current,
    session::Side,
};
use tokio::{net::UnixListener, sync::watch};
use tokio_vsock::{VMADDR_CID_ANY, VMADDR_CID_HOST, VsockAddr, VsockListener, VsockStream};

use super::network::Network;
use crate::{
    error::{EnclaveError, Result},
    transport::{ENCLAVE_SOCKET, HOST_SOCKET},
};

/// Folder of the sockets.
pub(super) const CHANNEL: &str = "channel";
/// Where a vsock device stands once its driver has it. `/dev/vsock` is there without one.
const VSOCK_DRIVER: &str = "/sys/bus/virtio/drivers/vmw_vsock_virtio_transport";
/// The port of virtio-serial that carries the channel.
const PORT: &str = "adyton.channel";
const ENCLAVE_PORT: u32 = 1;
const HOST_PORT: u32 = 2;
/// How often the engine is looked after.
const LOOK: Duration = Duration::from_millis(50);

fn fault(what: &'static str) -> EnclaveError {
    EnclaveError::Init(what)
}

/// A way to the host.
pub(super) enum Link {
    /// One byte stream.
    Serial(PathBuf),
    /// Connections.
    Vsock,
    /// One byte stream after another.
    Network(Network),
}

/// Whether a driver has a device of its bus: virtio names them so.
fn has_device(driver: &Path) -> bool {
    fs::read_dir(driver).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().as_encoded_bytes().starts_with(b"virtio"))
    })
}

/// The device of the virtio-serial port called `name`.
pub fn port(name: &str) -> Option<PathBuf> {
    let ports = fs::read_dir("/sys/class/virtio-ports").ok()?;
    let found = ports
        .flatten()
        .find(|port| fs::read_to_string(port.path().join("name")).is_ok_and(|found| found.trim() == name))?;
    Some(Path::new("/dev").join(found.file_name()))
}

/// Opens a port's device for reading and writing. Reads and writes block, each on a thread of its own: a port gives one
/// buffer a read and tells of new data only, so that waiting for readiness would wait with data at hand.
fn open_port(device: &Path) -> io::Result<(tokio::fs::File, tokio::fs::File)> {
    let device = fs::File::options().read(true).write(true).open(device)?;
    let read = device.try_clone()?;
    Ok((read.into(), device.into()))
}

impl Link {
    /// The one way that is there, up, and the folder of the engine's sockets made.
    pub(super) fn find(run: &Path) -> Result<Self> {
        fs::DirBuilder::new()
            .mode(0o700)
            .create(run.join(CHANNEL))
            .map_err(|_| fault("the channel's folder"))?;
        match port(PORT) {
            Some(device) => Ok(Self::Serial(device)),
            None if has_device(Path::new(VSOCK_DRIVER)) => Ok(Self::Vsock),
            None => Network::up().map(Self::Network),
        }
    }

    /// Its name in the inventory.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Serial(_) => "serial",
            Self::Vsock => "vsock",
            Self::Network(_) => "network",
        }
    }

    /// Carries streams until the engine ends or the way does. `running` is called once the engine listens.
    pub(super) fn carry(self, run: &Path, engine: &mut Child, running: impl FnOnce()) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|_| fault("no threads"))?;
        let ended = runtime.block_on(self.carry_all(&run.join(CHANNEL), engine, running));
        runtime.shutdown_background(); // a read of the port may never end
        ended
    }

    async fn carry_all(self, channel: &Path, engine: &mut Child, running: impl FnOnce()) -> Result<()> {
        let listener =
            UnixListener::bind(channel.join(HOST_SOCKET)).map_err(|_| fault("the channel's socket"))?;
        let enclave = channel.join(ENCLAVE_SOCKET);
        let to_engine = Arc::new(UnixPath(enclave.clone()));
        let (_stop, stopped) = watch::channel(false);
        let watching = look_after(engine, &enclave, running);
        match self {
            Self::Serial(device) => {
                let (read, write) = open_port(&device).map_err(|_| fault("the port of the channel"))?;
                let current = Arc::new(Current::default());
                tokio::spawn(carry(listener, Arc::clone(&current), stopped));
                tokio::select! {
                    ended = watching => ended,
                    _ = current.run(tokio::io::join(read, write), Side::Guest, to_engine) => {
                        Err(fault("the host closed the channel"))
                    }
                }
            }
            Self::Network(network) => {
                let current = Arc::new(Current::default());
                tokio::spawn(carry(listener, Arc::clone(&current), stopped));
                tokio::select! {
                    ended = watching => ended,
                    lost = network.carry(current, to_engine) => Err(lost),
                }
            }
            Self::Vsock => {
                let incoming = EnginePort::listen().map_err(|_| fault("the vsock port"))?;
                tokio::spawn(carry(listener, Arc::new(HostPort), stopped.clone()));
                tokio::spawn(carry(incoming, to_engine, stopped));
                watching.await
            }
        }
    }
}

/// Waits for the engine's end, which is always a fault: nobody asks it to stop.
async fn look_after(engine: &mut Child, listens: &Path, running: impl FnOnce()) -> Result<()> {
    let mut running = Some(running);
    loop {
        tokio::time::sleep(LOOK).await;
        if engine
            .try_wait()
            .map_err(|_| fault("the engine is lost"))?
            .is_some()
        {
            return Err(fault("the engine ended"));
        }
        if running.is_some()
            && listens.exists()
            && let Some(running) = running.take()
        {
            running();
        }
    }
}

/// The host's port.
struct HostPort;

impl Connect for HostPort {
    type Stream = VsockStream;

    async fn connect(&self) -> io::Result<VsockStream> {
        VsockStream::connect(VsockAddr::new(VMADDR_CID_HOST, HOST_PORT)).await
    }
}

/// The engine's port, for the host only.
struct EnginePort(VsockListener);

impl EnginePort {
    fn listen() -> io::Result<Self> {
        VsockListener::bind(VsockAddr::new(VMADDR_CID_ANY, ENCLAVE_PORT)).map(Self)
    }
}

impl Accept for EnginePort {
    type Stream = VsockStream;

    async fn accept(&mut self) -> io::Result<VsockStream> {
        loop {
            let (stream, peer) = self.0.accept().await?;
            if peer.cid() == VMADDR_CID_HOST {
                return Ok(stream);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_without_a_device_is_no_way_to_the_host() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(!has_device(&folder.path().join("missing")));
        for name in ["bind", "module", "uevent"] {
            fs::write(folder.path().join(name), "").expect("written");
        }
        assert!(!has_device(folder.path()));
        fs::create_dir(folder.path().join("virtio3")).expect("made");
        assert!(has_device(folder.path()));
    }
}
