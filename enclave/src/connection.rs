//! The way back to the client while something runs: what happens next, and sending what is sealed.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, Interval, sleep_until, timeout_at};
use wire::frame::Frame;

use crate::{
    engine::{Progress, Running},
    transport::Frames,
};

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

    /// Sends the last ciphertext and the end. A refusal for being late still gets a moment.
    pub(crate) async fn finish(&mut self, sealed: Vec<u8>) -> bool {
        let last = Instant::now() + LAST_SECONDS_MAX;
        self.deadline = self.deadline.max(last);
        self.send(sealed).await
            && matches!(
                timeout_at(self.deadline, self.frames.send(Frame::End)).await,
                Ok(Ok(()))
            )
    }
}

const LAST_SECONDS_MAX: std::time::Duration = std::time::Duration::from_secs(5);

async fn tick(ticks: Option<&mut Interval>) {
    match ticks {
        Some(ticks) => {
            ticks.tick().await;
        }
        None => core::future::pending().await,
    }
}
