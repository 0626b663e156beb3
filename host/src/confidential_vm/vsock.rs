//! The bridge's far side on a real host: vsock(7), one context id for each guest.

use std::io;

use tokio_vsock::{VMADDR_CID_ANY, VsockAddr, VsockListener, VsockStream};

use multiplex::bridge::{Accept, Connect};

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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// vsock(7): a host that talks to itself, where the kernel has vsock_loopback.
    const LOOPBACK: u32 = 1;

    #[tokio::test]
    #[allow(clippy::print_stderr, reason = "tests say what they did not run")]
    async fn a_stream_passes_where_the_kernel_has_a_loopback() {
        let port = 50_000 + std::process::id() % 10_000;
        let guest = GuestPort { cid: LOOPBACK, port };
        let streams = match HostPort::listen(port, LOOPBACK) {
            Ok(mut host) => tokio::join!(guest.connect(), async {
                tokio::time::timeout(std::time::Duration::from_secs(1), host.accept()).await
            }),
            Err(error) => {
                eprintln!("NOT RUN: vsock: {error}");
                return;
            }
        };
        let (Ok(mut near), Ok(Ok(mut far))) = streams else {
            eprintln!("NOT RUN: vsock: this kernel has no loopback");
            return;
        };
        near.write_all(b"over vsock").await.expect("written");
        let mut received = [0; 10];
        far.read_exact(&mut received).await.expect("read");
        assert_eq!(&received, b"over vsock");
    }
}
