//! Where the host knocks: one task for each stream, a bound on how many.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use attestation::Nonce;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Semaphore,
};
use tokio_util::codec::Framed;
use wire::{
    ProblemCode,
    frame::FrameCodec,
    message::{Phase, StreamPurpose},
};

use crate::{
    evidence::EvidenceDesk,
    gateway,
    log::{Event, Log},
    serving::Serving,
    status::StatusBoard,
    transport::{Frames, abort, purpose, send_whole},
};

/// What can be asked at any phase; requests only once `serving` is there.
pub(crate) struct Front {
    pub(crate) board: Arc<StatusBoard>,
    pub(crate) evidence: Arc<EvidenceDesk>,
    pub(crate) requests: Arc<exchange::server::Gateway>,
    pub(crate) serving: OnceLock<Arc<Serving>>,
    pub(crate) stopping: AtomicBool,
    pub(crate) log: Log,
    /// Streams open at once; further connections wait in the socket's queue.
    pub(crate) streams: Arc<Semaphore>,
}

impl Front {
    /// Accepts until the task is aborted.
    pub(crate) async fn listen(self: Arc<Self>, listener: UnixListener) {
        loop {
            let Ok(slot) = Arc::clone(&self.streams).acquire_owned().await else {
                return;
            };
            let Ok((socket, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await; // out of descriptors: let some close
                continue;
            };
            let front = Arc::clone(&self);
            tokio::spawn(async move {
                let _slot = slot;
                front.stream(socket).await;
            });
        }
    }

    async fn stream(&self, socket: UnixStream) {
        let mut frames = Framed::new(socket, FrameCodec);
        match purpose(&mut frames).await {
            Some(StreamPurpose::Status) => {
                let status = self
                    .board
                    .status(self.requests.epoch(), self.requests.replays_refused_total())
                    .to_cbor();
                send_whole(&mut frames, status).await;
            }
            Some(StreamPurpose::Evidence { nonce }) => self.evidence(&mut frames, nonce).await,
            Some(StreamPurpose::Gateway { media }) => match self.serving.get() {
                _ if self.stopping.load(Relaxed) => abort(&mut frames, ProblemCode::Stopping).await,
                Some(serving) => gateway::serve(frames, media, Arc::clone(serving)).await,
                None => abort(&mut frames, ProblemCode::NotReady).await,
            },
            // The other purposes are the enclave's to open.
            _ => abort(&mut frames, ProblemCode::MalformedRequest).await,
        }
    }

    async fn evidence(&self, frames: &mut Frames, nonce: [u8; 32]) {
        let bundle = match self.evidence.statement() {
            Ok(statement) => self.evidence.bundle(&statement, &Nonce::from_bytes(nonce)).await,
            Err(error) => Err(error),
        };
        match bundle {
            Ok(bundle) => send_whole(frames, bundle).await,
            Err(error) => {
                self.log.write(&Event::Fault {
                    part: "evidence",
                    code: error.code(),
                });
                abort(frames, ProblemCode::EvidenceUnavailable).await;
            }
        }
    }

    /// Takes no new requests from here on; what is in flight may finish within `grace`.
    pub(crate) async fn stop(&self, grace: Duration) {
        self.stopping.store(true, Relaxed);
        self.board.set_phase(Phase::Stopping, "");
        let step = Duration::from_millis(20);
        let mut waited = Duration::ZERO;
        while self.board.requests_active() > 0 && waited < grace {
            tokio::time::sleep(step).await;
            waited += step;
        }
    }
}
