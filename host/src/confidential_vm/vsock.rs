//! The bridge's far side on a real host: vsock(7), one context id for each guest.

use std::io;

use tokio_vsock::{VMADDR_CID_ANY, VsockAddr, VsockListener, VsockStream};

use super::bridge::{Accept, Connect};

/// A port of a guest.
pub struct GuestPort {
    /// The guest's context id.
    pub cid: u32,
    /// Its port.
    pub port: u32,
}

impl Connect for GuestPort {
    type Stream = VsockStream;

    async fn connect(&self) -> io::Result<VsockStream> {
        VsockStream::connect(VsockAddr::new(self.cid, self.port)).await
    }
}

/// A port of the host that one guest may connect to.
pub struct HostPort {
    listener: VsockListener,
    guest: u32,
}

impl HostPort {
    /// Listens on `port` for the guest of context id `guest`.
    ///
    /// # Errors
    /// The system's answer: without vsock, or with the port taken.
    pub fn listen(port: u32, guest: u32) -> io::Result<Self> {
        let listener = VsockListener::bind(VsockAddr::new(VMADDR_CID_ANY, port))?;
        Ok(Self { listener, guest })
    }
}

impl Accept for HostPort {
    type Stream = VsockStream;

    /// Connections of other guests are dropped: they have their own host process.
    async fn accept(&mut self) -> io::Result<VsockStream> {
        loop {
            let (stream, peer) = self.listener.accept().await?;
            if peer.cid() == self.guest {
                return Ok(stream);
            }
        }
    }
}
