//! The host channel over one byte stream after another: a port of virtio-serial, or a connection to a guest's network.
//! Many streams are in it ([`multiplex::session`]); the relay knows the channel's unix sockets alone.

use std::{io, path::Path, sync::Arc};

use multiplex::{
    bridge::{UnixPath, carry},
    current::Current,
    session::Side,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};

use crate::{
    channel::{self, ENCLAVE_SOCKET, HOST_SOCKET},
    error::HostError,
};

/// The channel's sockets, and the session that they are carried by, if one runs.
pub(crate) struct Streams {
    current: Arc<Current>,
    host: Arc<UnixPath>,
}

impl Streams {
    /// Listens in the enclave's place, in the channel's folder, and carries streams until `stop` turns true.
    pub(crate) fn open(directory: &Path, stop: watch::Receiver<bool>) -> Result<Self, HostError> {
        let enclave = channel::bind(&directory.join(ENCLAVE_SOCKET))?;
        let current = Arc::new(Current::default());
        tokio::spawn(carry(enclave, Arc::clone(&current), stop));
        Ok(Self {
            current,
            host: Arc::new(UnixPath(directory.join(HOST_SOCKET))),
        })
    }

    /// Runs a session with a guest to its end.
    pub(crate) async fn run<T>(&self, guest: T) -> io::Result<()>
    where
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        self.current.run(guest, Side::Host, Arc::clone(&self.host)).await
    }
}
