//! A host that does what the test tells it: pipes to the broker of the test, keeps lines, or neither.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use attestation::Endorsements;
use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::AsyncReadExt,
    net::{UnixListener, UnixStream},
};
use tokio_util::{codec::Framed, task::AbortOnDropHandle};
use wire::{
    frame::{Frame, FrameCodec},
    message::StreamPurpose,
};

use super::{
    Behaviour, Deployment,
    broker::{TestBroker, converse},
};

/// The host's side of the channel.
pub(crate) struct FakeHost {
    broker: Arc<TestBroker>,
    lines: Arc<Mutex<Vec<String>>>,
    reads_log: Arc<AtomicBool>,
    _listening: AbortOnDropHandle<()>,
}

impl FakeHost {
    pub(crate) fn start(deployment: &Deployment, behaviour: Behaviour) -> Self {
        let listener = UnixListener::bind(deployment.channel().join("host.sock")).expect("a new socket");
        let broker = Arc::new(TestBroker::new(deployment, behaviour));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let reads_log = Arc::new(AtomicBool::new(true));
        let (for_broker, for_lines, for_reading) = (broker.clone(), lines.clone(), reads_log.clone());
        let listening = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (broker, lines, reads_log) = (for_broker.clone(), for_lines.clone(), for_reading.clone());
                tokio::spawn(serve(socket, broker, lines, reads_log));
            }
        });
        Self {
            broker,
            lines,
            reads_log,
            _listening: AbortOnDropHandle::new(listening),
        }
    }

    /// The broker behaves differently from now on.
    pub(crate) fn set_broker(&self, behaviour: Behaviour) {
        self.broker.set(behaviour);
    }

    /// Conversations that the broker began.
    pub(crate) fn broker_conversations(&self) -> usize {
        self.broker.conversations()
    }

    /// Lines that hold a word.
    pub(crate) fn lines_with(&self, word: &str) -> usize {
        self.lines().iter().filter(|line| line.contains(word)).count()
    }

    /// Leaves what comes on the log stream in the socket from now on.
    pub(crate) fn stop_reading(&self) {
        self.reads_log.store(false, Relaxed);
    }

    /// Every line of the log stream so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no panic").clone()
    }
}

async fn serve(
    mut socket: UnixStream,
    broker: Arc<TestBroker>,
    lines: Arc<Mutex<Vec<String>>>,
    reads_log: Arc<AtomicBool>,
) {
    match first_frame(&mut socket).await {
        Some(Frame::Open(StreamPurpose::Broker)) => converse(&broker, socket).await,
        Some(Frame::Open(StreamPurpose::Log)) => {
            let mut frames = Framed::new(socket, FrameCodec);
            while let Some(Ok(Frame::Data(line))) = frames.next().await {
                let line = String::from_utf8(line.to_vec()).expect("lines are JSON");
                lines.lock().expect("no panic").push(line);
                while !reads_log.load(Relaxed) {
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
            }
        }
        Some(Frame::Open(StreamPurpose::Endorsements { .. })) => {
            let mut frames = Framed::new(socket, FrameCodec);
            for frame in Frame::data(Endorsements::default().encode().into()).chain([Frame::End]) {
                frames.send(frame).await.expect("the enclave reads");
            }
        }
        other => panic!("the enclave opened {other:?}"),
    }
}

/// Exactly one frame: what follows it is not the host's to read.
async fn first_frame(socket: &mut UnixStream) -> Option<Frame> {
    let mut bytes = BytesMut::new();
    loop {
        if let Some(frame) = Frame::decode(&mut bytes).ok()? {
            return Some(frame);
        }
        let mut byte = [0];
        socket.read_exact(&mut byte).await.ok()?;
        bytes.extend_from_slice(&byte);
    }
}
