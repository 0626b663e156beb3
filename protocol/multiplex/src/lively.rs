//! A transport that ends when nothing is heard over it.
//!
//! TCP alone tells nobody of a peer that is gone without a word: a connection stays half open for as long as nothing is
//! sent. Over a session the host asks the guest for its state every few seconds, and gets an answer, so that silence on
//! either side means that the other is not there.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// How long a peer that is there may take for its first byte. A forwarded port is connected before anybody listens behind it.
pub const FIRST_SECONDS_MAX: Duration = Duration::from_secs(10);
/// Longest silence of a peer that is there.
pub const SILENCE_SECONDS_MAX: Duration = Duration::from_secs(30);

/// A transport whose reads fail with [`TimedOut`](io::ErrorKind::TimedOut) after a silence.
pub struct Lively<T> {
    transport: T,
    silence_max: Duration,
    silence: Pin<Box<Sleep>>,
}

impl<T> Lively<T> {
    /// The transport, which may be silent for [`FIRST_SECONDS_MAX`], and once it was heard for [`SILENCE_SECONDS_MAX`].
    pub fn new(transport: T) -> Self {
        Self::with(transport, FIRST_SECONDS_MAX, SILENCE_SECONDS_MAX)
    }

    fn with(transport: T, first_max: Duration, silence_max: Duration) -> Self {
        Self {
            transport,
            silence_max,
            silence: Box::pin(sleep(first_max)),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Lively<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.transport).poll_read(context, buffer);
        if read.is_ready() {
            let until = Instant::now() + self.silence_max;
            self.silence.as_mut().reset(until);
            return read;
        }
        ready!(self.silence.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Lively<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn silence_ends_it_and_a_byte_now_and_then_keeps_it() {
        let silence = Duration::from_millis(400);
        let (near, mut far) = tokio::io::duplex(64);
        let mut near = Lively::with(near, silence, silence);
        let begun = Instant::now();
        let writing = tokio::spawn(async move {
            for _ in 0..5 {
                sleep(silence / 4).await;
                far.write_all(b".").await.expect("written");
            }
            far
        });
        let mut heard = [0; 5];
        near.read_exact(&mut heard).await.expect("heard");
        assert!(begun.elapsed() >= silence, "longer than the silence in all");
        let _open = writing.await.expect("no panic");
        let error = near.read_exact(&mut heard).await.expect_err("silence");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn who_never_says_a_word_is_let_go_sooner() {
        let (near, _far) = tokio::io::duplex(64);
        let mut near = Lively::with(near, Duration::from_millis(50), Duration::from_secs(3600));
        let error = near.read_exact(&mut [0]).await.expect_err("silence");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
