//! The host's side of the host channel: two unix sockets, one connection per stream.
//!
//! Host to enclave (`enclave.sock`): evidence, sealed requests, status.
//! Enclave to host (`host.sock`): a pipe to the broker, cached endorsements, lines to keep.

use std::{
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::copy_bidirectional,
    net::{TcpStream, UnixListener, UnixStream},
    sync::{Semaphore, watch},
    time::timeout,
};
use tokio_util::codec::Framed;
use wire::{
    ProblemCode,
    frame::{Frame, FrameCodec},
    limits,
    message::{Status, StreamPurpose},
};

use crate::{config::Config, endorsements, error::HostError, log::Sink, metrics::Metrics, server::stopped};

/// Socket on which the enclave listens, in the channel's folder.
pub const ENCLAVE_SOCKET: &str = "enclave.sock";
/// Socket on which the host listens, in the channel's folder.
pub const HOST_SOCKET: &str = "host.sock";

/// A stream between host and enclave.
pub type Stream = Framed<UnixStream, FrameCodec>;

const ANSWER_SECONDS_MAX: Duration = Duration::from_secs(10);
const CONNECT_SECONDS_MAX: Duration = Duration::from_secs(5);
/// Streams the enclave may hold open at the host.
const STREAMS_MAX: usize = 64;

/// Opens a stream to the enclave.
///
/// # Errors
/// [`HostError::Channel`] when the enclave does not listen or breaks the stream at once.
pub async fn open(directory: &Path, purpose: StreamPurpose) -> Result<Stream, HostError> {
    let connect = UnixStream::connect(directory.join(ENCLAVE_SOCKET));
    let socket = timeout(CONNECT_SECONDS_MAX, connect)
        .await
        .map_err(|_| HostError::Channel)?
        .map_err(|_| HostError::Channel)?;
    let mut stream = Framed::new(socket, FrameCodec);
    stream
        .send(Frame::Open(purpose))
        .await
        .map_err(|_| HostError::Channel)?;
    Ok(stream)
}

/// Asks the enclave for a fresh evidence bundle over `nonce`.
///
/// # Errors
/// [`HostError::Refused`] with the enclave's code, [`HostError::Channel`] when the answer is cut or too long.
pub async fn evidence(directory: &Path, nonce: [u8; 32]) -> Result<Vec<u8>, HostError> {
    let stream = open(directory, StreamPurpose::Evidence { nonce }).await?;
    whole(stream, limits::BUNDLE_BYTES_MAX).await
}

/// Asks the enclave for its phase and counters.
///
/// # Errors
/// As [`evidence`].
pub async fn status(directory: &Path) -> Result<Status, HostError> {
    let stream = open(directory, StreamPurpose::Status).await?;
    let bytes = whole(stream, limits::CONTROL_MESSAGE_BYTES_MAX).await?;
    Status::from_cbor(&bytes).map_err(|_| HostError::Channel)
}

/// Reads one whole answer: data until End.
async fn whole(mut stream: Stream, bytes_max: usize) -> Result<Vec<u8>, HostError> {
    let mut answer = Vec::new();
    loop {
        let frame = timeout(ANSWER_SECONDS_MAX, stream.next())
            .await
            .map_err(|_| HostError::Channel)?;
        match frame {
            Some(Ok(Frame::Data(data))) if answer.len() + data.len() <= bytes_max => {
                answer.extend_from_slice(&data)
            }
            Some(Ok(Frame::End)) => return Ok(answer),
            Some(Ok(Frame::Abort(code))) => return Err(HostError::Refused(code)),
            _ => return Err(HostError::Channel),
        }
    }
}

/// Makes the channel folder (0700) and listens for the enclave.
///
/// # Errors
/// [`HostError::Listen`] when another host already serves in this folder.
pub fn listen(directory: &Path) -> Result<UnixListener, HostError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(HostError::io(format!("create {}", directory.display())))?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))
        .map_err(HostError::io(format!("set the mode of {}", directory.display())))?;
    bind(&directory.join(HOST_SOCKET))
}

/// Listens on `path`, which may be left from a host that was killed.
///
/// # Errors
/// [`HostError::Listen`] when somebody serves there.
pub fn bind(path: &Path) -> Result<UnixListener, HostError> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        let source = std::io::Error::from(std::io::ErrorKind::AddrInUse);
        return Err(HostError::Listen {
            address: path.display().to_string(),
            source,
        });
    }
    let _ = std::fs::remove_file(path); // left by a host that was killed
    UnixListener::bind(path).map_err(|source| HostError::Listen {
        address: path.display().to_string(),
        source,
    })
}

/// Serves the enclave's streams until `stop` turns true.
pub async fn serve(
    listener: UnixListener,
    config: Arc<Config>,
    sink: Arc<Mutex<Sink>>,
    metrics: Arc<Metrics>,
    mut stop: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(STREAMS_MAX));
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(50)).await; // out of descriptors: let some close
                    continue;
                }
            },
            () = stopped(&mut stop) => return,
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            continue;
        };
        let (config, sink, metrics) = (Arc::clone(&config), Arc::clone(&sink), Arc::clone(&metrics));
        tokio::spawn(async move {
            let _slot = slot;
            // A stream that breaks its framing is dropped; the enclave asks again.
            let _ = serve_stream(socket, &config, &sink, &metrics).await;
        });
    }
}

async fn serve_stream(
    socket: UnixStream,
    config: &Config,
    sink: &Mutex<Sink>,
    metrics: &Metrics,
) -> Result<(), HostError> {
    let mut stream = Framed::new(socket, FrameCodec);
    let open = timeout(CONNECT_SECONDS_MAX, stream.next())
        .await
        .map_err(|_| HostError::Channel)?;
    match open {
        Some(Ok(Frame::Open(StreamPurpose::Broker))) => pipe_to_broker(stream, &config.broker.address).await,
        Some(Ok(Frame::Open(StreamPurpose::Endorsements { platform, subject }))) => {
            match endorsements::read(&config.endorsements.directory, &platform, &subject) {
                Some(blob) => send_whole(&mut stream, blob).await,
                None => send(&mut stream, Frame::Abort(ProblemCode::NotFound)).await,
            }
        }
        Some(Ok(Frame::Open(StreamPurpose::Log))) => keep_lines(stream, sink, metrics).await,
        _ => Err(HostError::Channel),
    }
}

/// From here on the connection is raw bytes: TLS between enclave and broker, opaque to the host.
async fn pipe_to_broker(stream: Stream, address: &str) -> Result<(), HostError> {
    let mut parts = stream.into_parts();
    let mut broker = timeout(CONNECT_SECONDS_MAX, TcpStream::connect(address))
        .await
        .map_err(|_| HostError::Channel)?
        .map_err(|_| HostError::Channel)?;
    broker.set_nodelay(true).map_err(|_| HostError::Channel)?;
    tokio::io::AsyncWriteExt::write_all(&mut broker, &parts.read_buf)
        .await
        .map_err(|_| HostError::Channel)?;
    copy_bidirectional(&mut parts.io, &mut broker)
        .await
        .map_err(|_| HostError::Channel)?;
    Ok(())
}

async fn keep_lines(mut stream: Stream, sink: &Mutex<Sink>, metrics: &Metrics) -> Result<(), HostError> {
    while let Some(frame) = stream.next().await {
        match frame {
            Ok(Frame::Data(line)) => {
                let kept = sink.lock().map_err(|_| HostError::Channel)?.append(&line);
                if kept.is_err() {
                    metrics.log_line_dropped();
                }
            }
            Ok(Frame::End) => return Ok(()),
            _ => return Err(HostError::Channel),
        }
    }
    Ok(())
}

async fn send_whole(stream: &mut Stream, blob: Vec<u8>) -> Result<(), HostError> {
    for frame in Frame::data(Bytes::from(blob)) {
        send(stream, frame).await?;
    }
    send(stream, Frame::End).await
}

async fn send(stream: &mut Stream, frame: Frame) -> Result<(), HostError> {
    timeout(ANSWER_SECONDS_MAX, stream.send(frame))
        .await
        .map_err(|_| HostError::Channel)?
        .map_err(|_| HostError::Channel)
}
