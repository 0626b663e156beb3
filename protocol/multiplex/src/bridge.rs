//! Carries streams between the channel's unix sockets and a guest: one connection on one side is one on the other.
//!
//! Bounded in connections and, through the kernels' socket buffers, in bytes: a side that does not read stops the side
//! that writes. A guest that restarts breaks its connections, and the next ones reach the new guest.

use std::{future::Future, io, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, watch},
    time::timeout,
};

const CONNECT_SECONDS_MAX: Duration = Duration::from_secs(5);
/// Connections that one bridge carries at once, in one direction.
const CONNECTIONS_MAX: usize = 1024;
const BUFFER_BYTES: usize = 64 << 10;

/// Where connections go to.
pub trait Connect: Send + Sync + 'static {
    /// One connection.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin;

    /// Opens a connection.
    fn connect(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// Where connections come from.
pub trait Accept: Send + 'static {
    /// One connection.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Takes the next connection.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// A unix socket that somebody listens on.
pub struct UnixPath(pub PathBuf);

impl Connect for UnixPath {
    type Stream = UnixStream;

    async fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(&self.0).await
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    async fn accept(&mut self) -> io::Result<UnixStream> {
        UnixListener::accept(self).await.map(|(stream, _)| stream)
    }
}

/// Carries connections from `from` to `to` until `stop` turns true.
pub async fn carry<A: Accept, C: Connect>(mut from: A, to: Arc<C>, mut stop: watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return; // the semaphore is never closed
        };
        let accepted = tokio::select! {
            accepted = from.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return, // also when nobody is left to stop it
        };
        let Ok(mut near) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await; // out of descriptors: let some close
            continue;
        };
        let to = Arc::clone(&to);
        tokio::spawn(async move {
            let _slot = slot;
            // A guest that is not there closes the connection, and the relay says so.
            if let Ok(Ok(mut far)) = timeout(CONNECT_SECONDS_MAX, to.connect()).await {
                let _ = copy_bidirectional_with_sizes(&mut near, &mut far, BUFFER_BYTES, BUFFER_BYTES).await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A guest that sends everything back.
    fn echo(path: &std::path::Path) -> tokio::task::JoinHandle<()> {
        let listener = UnixListener::bind(path).expect("a fresh path");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = UnixListener::accept(&listener).await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        })
    }

    async fn round_trip(path: &std::path::Path, bytes: usize) -> io::Result<Vec<u8>> {
        let (mut read, mut write) = UnixStream::connect(path).await?.into_split();
        let sent = vec![7; bytes];
        let writing = tokio::spawn(async move {
            write.write_all(&sent).await?;
            write.shutdown().await
        });
        let mut received = Vec::new();
        read.read_to_end(&mut received).await?;
        let _ = writing.await;
        Ok(received)
    }

    #[tokio::test]
    async fn streams_are_carried_whole_and_survive_a_restart_of_the_guest() {
        let folder = tempfile::tempdir().expect("a folder");
        let (near, far) = (folder.path().join("near"), folder.path().join("far"));
        let guest = echo(&far);
        let (stop, stopped) = watch::channel(false);
        let listener = UnixListener::bind(&near).expect("a fresh path");
        let bridge = tokio::spawn(carry(listener, Arc::new(UnixPath(far.clone())), stopped));
        for bytes in [0, 1, 1 << 20] {
            assert_eq!(round_trip(&near, bytes).await.expect("carried").len(), bytes);
        }
        guest.abort();
        let _ = guest.await;
        std::fs::remove_file(&far).expect("it was there");
        assert!(
            round_trip(&near, 10).await.unwrap_or_default().is_empty(),
            "nobody answers"
        );
        let _guest = echo(&far);
        assert_eq!(round_trip(&near, 100_000).await.expect("carried").len(), 100_000);
        stop.send_replace(true);
        bridge.await.expect("it ends");
        assert!(UnixStream::connect(&near).await.is_err(), "nobody listens");
    }

    #[tokio::test]
    async fn a_reader_that_waits_stops_the_writer() {
        let folder = tempfile::tempdir().expect("a folder");
        let (near, far) = (folder.path().join("near"), folder.path().join("far"));
        let guest = UnixListener::bind(&far).expect("a fresh path");
        let (_stop, stopped) = watch::channel(false);
        let listener = UnixListener::bind(&near).expect("a fresh path");
        tokio::spawn(carry(listener, Arc::new(UnixPath(far)), stopped));
        let mut client = UnixStream::connect(&near).await.expect("a bridge");
        let (_held, _) = UnixListener::accept(&guest).await.expect("a connection");
        let mut written = 0;
        while let Ok(Ok(bytes)) = timeout(Duration::from_millis(200), client.write(&[0; 65536])).await {
            written += bytes;
            assert!(written < 64 << 20, "nothing stops the writer");
        }
        assert!(written > 0);
    }
}
