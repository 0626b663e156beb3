//! The host channel in process mode: two unix sockets in one folder, one connection for one stream.
//!
//! Everything that arrives here is the host's: framed, bounded, and believed by nobody. Backpressure is the
//! socket's own.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::AsyncWriteExt,
    net::{UnixListener, UnixStream},
    time::timeout,
};
use tokio_util::codec::Framed;
use wire::{
    ProblemCode,
    frame::{Frame, FrameCodec},
    message::StreamPurpose,
};

use crate::error::{EnclaveError, Result};

/// Socket on which the enclave listens.
pub(crate) const ENCLAVE_SOCKET: &str = "enclave.sock";
/// Socket on which the host listens.
pub(crate) const HOST_SOCKET: &str = "host.sock";

/// How long the host may take to accept a connection or to say what it opened one for.
const OPEN_SECONDS_MAX: Duration = Duration::from_secs(5);
/// How long the host may take for one frame of an answer.
const ANSWER_SECONDS_MAX: Duration = Duration::from_secs(10);

/// A framed stream.
pub(crate) type Frames = Framed<UnixStream, FrameCodec>;

/// The folder with the two sockets.
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    directory: PathBuf,
}

impl Channel {
    /// The channel in `directory`.
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    /// Listens for the host. A socket left by an enclave that is gone is replaced.
    ///
    /// # Errors
    /// [`EnclaveError::Channel`] when another enclave listens there, or the folder cannot be used.
    pub(crate) fn listen(&self) -> Result<UnixListener> {
        let path = self.directory.join(ENCLAVE_SOCKET);
        if std::os::unix::net::UnixStream::connect(&path).is_ok() {
            return Err(EnclaveError::Channel("another enclave listens there"));
        }
        let _ = std::fs::remove_file(&path); // it need not exist
        UnixListener::bind(&path).map_err(|_| EnclaveError::Channel("cannot listen"))
    }

    /// Opens a framed stream to the host.
    pub(crate) async fn open(&self, purpose: StreamPurpose) -> Result<Frames> {
        Ok(Framed::new(self.open_raw(purpose).await?, FrameCodec))
    }

    /// Opens a stream that is raw bytes after its first frame.
    pub(crate) async fn open_raw(&self, purpose: StreamPurpose) -> Result<UnixStream> {
        let open = async {
            let mut socket = UnixStream::connect(self.directory.join(HOST_SOCKET))
                .await
                .map_err(|_| EnclaveError::Channel("the host does not listen"))?;
            let mut first = BytesMut::new();
            Frame::Open(purpose)
                .encode(&mut first)
                .expect("a purpose is smaller than a frame");
            socket
                .write_all(&first)
                .await
                .map_err(|_| EnclaveError::Channel("the host closed the stream"))?;
            Ok(socket)
        };
        timeout(OPEN_SECONDS_MAX, open)
            .await
            .map_err(|_| EnclaveError::Channel("the host does not accept"))?
    }

    /// Opens a stream and reads its whole answer: data until End.
    pub(crate) async fn ask(&self, purpose: StreamPurpose, bytes_max: usize) -> Result<Vec<u8>> {
        let mut stream = self.open(purpose).await?;
        let mut answer = Vec::new();
        loop {
            let frame = timeout(ANSWER_SECONDS_MAX, stream.next())
                .await
                .map_err(|_| EnclaveError::Channel("the host does not answer"))?;
            match frame {
                Some(Ok(Frame::Data(data))) if answer.len() + data.len() <= bytes_max => {
                    answer.extend_from_slice(&data);
                }
                Some(Ok(Frame::Data(_))) => return Err(EnclaveError::Channel("the answer is too long")),
                Some(Ok(Frame::End)) => return Ok(answer),
                Some(Ok(Frame::Abort(_))) => return Err(EnclaveError::Channel("the host has no answer")),
                _ => return Err(EnclaveError::Channel("the answer was cut")),
            }
        }
    }
}

/// Reads what the host opened a stream for.
pub(crate) async fn purpose(frames: &mut Frames) -> Option<StreamPurpose> {
    match timeout(OPEN_SECONDS_MAX, frames.next()).await {
        Ok(Some(Ok(Frame::Open(purpose)))) => Some(purpose),
        _ => None,
    }
}

/// Sends a whole answer.
pub(crate) async fn send_whole(frames: &mut Frames, answer: Vec<u8>) {
    let send = async {
        for frame in Frame::data(Bytes::from(answer)) {
            frames.feed(frame).await?;
        }
        frames.send(Frame::End).await
    };
    let _ = timeout(ANSWER_SECONDS_MAX, send).await; // a host that does not read loses its answer
}

/// Refuses a stream.
pub(crate) async fn abort(frames: &mut Frames, code: ProblemCode) {
    let _ = timeout(ANSWER_SECONDS_MAX, frames.send(Frame::Abort(code))).await; // as above
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_enclave_in_the_same_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let channel = Channel::new(folder.path());
        let first = channel.listen();
        assert!(first.is_ok());
        assert!(matches!(
            channel.listen(),
            Err(EnclaveError::Channel("another enclave listens there"))
        ));
        drop(first);
        assert!(channel.listen().is_ok(), "a socket left behind is replaced");
    }

    #[tokio::test]
    async fn an_answer_without_its_end_is_an_error() {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let listener =
            UnixListener::bind(folder.path().join(HOST_SOCKET)).unwrap_or_else(|error| panic!("{error}"));
        let host = tokio::spawn(async move {
            for whole in [true, false] {
                let Ok((socket, _)) = listener.accept().await else {
                    return;
                };
                let mut frames = Framed::new(socket, FrameCodec);
                let _ = frames.next().await;
                let _ = frames.send(Frame::Data(Bytes::from_static(b"cached"))).await;
                if whole {
                    let _ = frames.send(Frame::End).await;
                }
            }
        });
        let channel = Channel::new(folder.path());
        assert_eq!(
            channel.ask(StreamPurpose::Status, 6).await.ok().as_deref(),
            Some(&b"cached"[..])
        );
        assert!(channel.ask(StreamPurpose::Status, 6).await.is_err());
        let _ = host.await;
        assert!(
            channel.ask(StreamPurpose::Status, 6).await.is_err(),
            "nobody listens"
        );
    }
}
