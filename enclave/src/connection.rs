//! The way back to the client while something runs: what happens next, and sending what is sealed.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, Interval, sleep_until, timeout_at};
use wire::frame::Frame;

use crate::{
    engine::{Progress, Running},
    transport::Frames,
};

/// How long a host may leave the last pieces unread once the deadline has passed.
const LAST_SECONDS_MAX: Duration = Duration::from_secs(5);

/// What happens next.
pub(crate) enum Step {
    /// The engine has something.
    Progress(Progress),
    /// The cadence of the profile `constant`.
    Tick,
    /// The request took too long.
    Deadline,
    /// The host closed the connection, or sent something after the end: nobody reads the answer.
    Gone,
}

/// How some other work ended.
pub(crate) enum During<T> {
    /// It is done.
    Done(T),
    /// The request took too long.
    Deadline,
    /// Nobody reads the answer.
    Gone,
}

/// The stream of one request after its last frame. The host keeps its side open until it has the answer's end:
/// closing it earlier cancels.
pub(crate) struct Connection {
    frames: Frames,
    deadline: Instant,
}

impl Connection {
    pub(crate) fn new(frames: Frames, deadline: Instant) -> Self {
        Self { frames, deadline }
    }

    /// Waits for the next thing to happen.
    pub(crate) async fn next(&mut self, running: &mut Running, ticks: Option<&mut Interval>) -> Step {
        tokio::select! {
            progress = running.next() => Step::Progress(progress),
            _ = self.frames.next() => Step::Gone,
            () = sleep_until(self.deadline) => Step::Deadline,
            () = tick(ticks) => Step::Tick,
        }
    }

    /// Waits for work that has one result.
    pub(crate) async fn during<T>(&mut self, work: impl Future<Output = T>) -> During<T> {
        tokio::select! {
            done = work => During::Done(done),
            _ = self.frames.next() => During::Gone,
            () = sleep_until(self.deadline) => During::Deadline,
        }
    }

    /// Sends ciphertext; false when the host is gone or does not read before the deadline.
    pub(crate) async fn send(&mut self, sealed: Vec<u8>) -> bool {
        let send = async {
            for frame in Frame::data(Bytes::from(sealed)) {
                self.frames.feed(frame).await?;
            }
            self.frames.flush().await
        };
        matches!(timeout_at(self.deadline, send).await, Ok(Ok(())))
    }

    /// The request is over within `wait` from now, if that is sooner than before.
    pub(crate) fn shorten(&mut self, wait: Duration) {
        self.deadline = self.deadline.min(Instant::now() + wait);
    }

    /// Gives what is computed already, or a refusal for being late, a moment to go out.
    pub(crate) fn grant_moment(&mut self) {
        self.deadline = self.deadline.max(Instant::now() + LAST_SECONDS_MAX);
    }

    /// Sends the last ciphertext and the end.
    pub(crate) async fn finish(&mut self, sealed: Vec<u8>) -> bool {
        self.grant_moment();
        self.send(sealed).await
            && matches!(
                timeout_at(self.deadline, self.frames.send(Frame::End)).await,
                Ok(Ok(()))
            )
    }
}

async fn tick(ticks: Option<&mut Interval>) {
    match ticks {
        Some(ticks) => {
            ticks.tick().await;
        }
        None => core::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::{net::UnixStream, sync::mpsc};
    use tokio_util::codec::Framed;
    use wire::frame::FrameCodec;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    fn pair() -> (Connection, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap_or_else(|error| panic!("{error}"));
        (
            Connection::new(Framed::new(ours, FrameCodec), Instant::now() + SOON),
            theirs,
        )
    }

    /// A generation that never says anything.
    fn silent() -> (mpsc::Sender<Progress>, Running) {
        let (sender, progress) = mpsc::channel(1);
        (
            sender,
            Running::new(0, progress, tokio::task::spawn_blocking(|| ())),
        )
    }

    #[tokio::test]
    async fn a_request_ends_at_its_deadline() {
        let (mut connection, _host) = pair();
        let (_sender, mut running) = silent();
        assert!(matches!(
            connection.next(&mut running, None).await,
            Step::Deadline
        ));
    }

    #[tokio::test]
    async fn a_client_can_only_bring_the_deadline_nearer() {
        let (mut connection, _host) = pair();
        let before = connection.deadline;
        connection.shorten(Duration::from_secs(60));
        assert_eq!(connection.deadline, before);
        connection.shorten(Duration::ZERO);
        assert!(connection.deadline < before);
    }

    #[tokio::test]
    async fn a_host_that_goes_away_is_noticed_while_nothing_is_sent() {
        let (mut connection, host) = pair();
        connection.deadline += Duration::from_secs(60);
        let (_sender, mut running) = silent();
        drop(host);
        assert!(matches!(connection.next(&mut running, None).await, Step::Gone));
    }

    #[tokio::test]
    async fn a_host_that_does_not_read_holds_nothing_after_the_deadline() {
        let (mut connection, host) = pair();
        assert!(!connection.send(vec![0; 16 << 20]).await);
        drop(host);
    }
}
