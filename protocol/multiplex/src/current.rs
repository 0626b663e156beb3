//! Sessions that come one after another: a machine that starts again, a relay that does.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    sync::watch,
};

use crate::{
    bridge::{Connect, carry},
    session::{Opener, Side, session},
};

/// The session that runs, if one does. Streams are opened in it; while there is none they are refused.
#[derive(Default)]
pub struct Current(Mutex<Option<Opener>>);

impl Connect for Current {
    type Stream = DuplexStream;

    async fn connect(&self) -> io::Result<DuplexStream> {
        let opener = self.lock().clone();
        match opener {
            Some(opener) => opener.connect().await,
            None => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}

impl Current {
    /// Runs a session over `transport` to its end, and carries what the other side opens to `to`. One at a time: the
    /// caller begins the next when this one has ended.
    ///
    /// # Errors
    /// The transport's, or the rule that was broken.
    pub async fn run<T, C>(&self, transport: T, side: Side, to: Arc<C>) -> io::Result<()>
    where
        T: AsyncRead + AsyncWrite + Send + 'static,
        C: Connect,
    {
        let (opener, incoming, run) = session(transport, side);
        *self.lock() = Some(opener);
        let ends = Ends(self);
        let (_runs, ended) = watch::channel(false); // dropped at the end, which stops the carrying
        tokio::spawn(carry(incoming, to, ended));
        let outcome = run.await;
        drop(ends);
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, Option<Opener>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets the session also when it is dropped before its end.
struct Ends<'a>(&'a Current);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::UnixListener,
        time::timeout,
    };

    use super::*;
    use crate::bridge::UnixPath;

    /// Answers with its name.
    fn named(path: &Path, name: &'static [u8]) {
        let listener = UnixListener::bind(path).expect("a fresh path");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = UnixListener::accept(&listener).await {
                stream.write_all(name).await.expect("written");
            }
        });
    }

    async fn asked(current: &Current) -> io::Result<Vec<u8>> {
        let mut stream = current.connect().await?;
        let mut answer = Vec::new();
        timeout(Duration::from_secs(5), stream.read_to_end(&mut answer))
            .await
            .expect("an answer or an end")?;
        Ok(answer)
    }

    #[tokio::test]
    async fn each_session_has_its_streams_and_between_them_there_are_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let (host, guest) = (folder.path().join("host"), folder.path().join("guest"));
        named(&host, b"host");
        named(&guest, b"guest");
        let (near, far) = (Arc::new(Current::default()), Arc::new(Current::default()));
        for round in 0..3 {
            assert!(asked(&near).await.is_err(), "{round}: nobody is there");
            let (left, right) = tokio::io::duplex(1 << 20);
            let (near_ends, far_ends) = (Arc::clone(&near), Arc::clone(&far));
            let (to_host, to_guest) = (
                Arc::new(UnixPath(host.clone())),
                Arc::new(UnixPath(guest.clone())),
            );
            let running = tokio::spawn(async move { near_ends.run(left, Side::Host, to_host).await });
            let other = tokio::spawn(async move { far_ends.run(right, Side::Guest, to_guest).await });
            tokio::task::yield_now().await;
            assert_eq!(asked(&near).await.expect("a session"), b"guest", "{round}");
            assert_eq!(asked(&far).await.expect("a session"), b"host", "{round}");
            other.abort();
            let ended = timeout(Duration::from_secs(5), running).await.expect("it ends");
            assert!(
                ended.expect("no panic").is_err(),
                "{round}: the other end is gone"
            );
        }
        assert!(
            asked(&far).await.is_err(),
            "a session that was dropped is forgotten"
        );
    }
}
