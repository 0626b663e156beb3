//! The release listener: the sockets around [`crate::gate`].
//!
//! 1. TLS handshake; the protocol must be negotiated and the client's key proven.
//! 2. Challenge out; its exporter value is computed from this connection.
//! 3. One request in, bounded before it is read.
//! 4. Appraisal on a blocking thread, within a bound of those waiting and running.
//! 5. Record, release, answer, end. Each step has the same time limit.

use std::{io, sync::Arc, time::Instant};

use attestation::Nonce;
use bytes::BytesMut;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    time::{Duration, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use wire::{
    limits,
    media::{RELEASE_ALPN, RELEASE_EXPORTER_LABEL},
    release::{read_message, write_message},
};

use crate::{
    gate::{
        Challenged, ConnectionBinding, Desk, EXPORTED_BYTES, Recorded, Refused, Released, exporter_context,
    },
    log::{Event, Line},
    metrics::Listener,
    refusal::RefusalCode,
    service::{Shared, now},
    tls::{self, SpkiDigest},
};

/// Serves release connections.
pub(crate) struct ReleaseService {
    shared: Arc<Shared>,
    acceptor: TlsAcceptor,
    broker_spki_sha256: SpkiDigest,
    appraisals: Arc<Semaphore>,
    step: Duration,
}

/// Why a connection ended without a request.
enum Broken {
    /// Our step limit.
    Slow,
    /// The peer closed, or spoke another protocol.
    Peer,
    /// Longer than a request can be.
    TooLarge,
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Peer
    }
}

impl ReleaseService {
    pub(crate) fn new(
        shared: Arc<Shared>,
        tls: ServerConfig,
        broker_spki_sha256: SpkiDigest,
        appraisals_max: usize,
        step: Duration,
    ) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let appraisals = Arc::new(Semaphore::new(appraisals_max));
        Self {
            shared,
            acceptor,
            broker_spki_sha256,
            appraisals,
            step,
        }
    }

    /// One connection from its beginning to its end.
    pub(crate) async fn serve(self: Arc<Self>, stream: TcpStream) {
        let _open = self.shared.metrics.connection(Listener::Release);
        let began = Instant::now();
        // 1.
        let Ok(Ok(mut stream)) = timeout(self.step, self.accept(stream)).await else {
            return self.failed("handshake");
        };
        // 2.
        let Some((challenged, binding)) = self.challenge(&stream) else {
            return self.failed("exporter");
        };
        if self.send(&mut stream, &challenged.message()).await.is_err() {
            return self.failed("challenge");
        }
        // 3.
        let answer = match self.request(&mut stream).await {
            Ok(request) => self.decide(challenged, request).await,
            Err(Broken::Peer) => return self.failed("request"),
            Err(Broken::Slow) => Err(Refused::before_request(RefusalCode::Timeout, &binding, now())),
            Err(Broken::TooLarge) => Err(Refused::before_request(RefusalCode::TooLarge, &binding, now())),
        };
        // 5.
        match answer {
            Ok(released) => {
                let sent = self.send(&mut stream, released.message()).await.is_ok();
                self.shared
                    .metrics
                    .released(released.assurance(), began.elapsed());
                let line = Line::new(Event::Released)
                    .model(released.model().model_id())
                    .audit_index(released.audit_index())
                    .duration(began.elapsed());
                self.shared
                    .log
                    .write(if sent { line } else { line.what("answer-not-sent") });
            }
            Err(refused) => self.refuse(&mut stream, refused).await,
        }
        // The answer stands, however the peer takes the end of the connection.
        let _ = timeout(self.step, stream.shutdown()).await;
    }

    async fn accept(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, Broken> {
        stream.set_nodelay(true)?;
        let stream = self.acceptor.accept(stream).await?;
        if stream.get_ref().1.alpn_protocol() != Some(RELEASE_ALPN) {
            return Err(Broken::Peer);
        }
        Ok(stream)
    }

    fn challenge(&self, stream: &TlsStream<TcpStream>) -> Option<(Challenged, ConnectionBinding)> {
        let connection = stream.get_ref().1;
        let enclave_spki_sha256 = tls::spki_sha256(connection.peer_certificates()?.first()?).ok()?;
        let mut bytes = [0; Nonce::BYTES];
        getrandom::fill(&mut bytes).ok()?;
        let nonce = Nonce::from_bytes(bytes);
        let exported_keying_material = connection
            .export_keying_material(
                [0; EXPORTED_BYTES],
                RELEASE_EXPORTER_LABEL.as_bytes(),
                Some(&exporter_context(&nonce)),
            )
            .ok()?;
        let broker_spki_sha256 = self.broker_spki_sha256;
        let binding = ConnectionBinding {
            exported_keying_material,
            enclave_spki_sha256,
            broker_spki_sha256,
        };
        Some((Challenged::new(nonce, binding), binding))
    }

    async fn request(&self, stream: &mut TlsStream<TcpStream>) -> Result<BytesMut, Broken> {
        let read = async {
            let mut received = BytesMut::with_capacity(16 * 1024);
            loop {
                match read_message(&mut received, limits::RELEASE_MESSAGE_BYTES_MAX) {
                    Ok(Some(message)) => return Ok(message),
                    Ok(None) => {}
                    Err(_) => return Err(Broken::TooLarge),
                }
                if stream.read_buf(&mut received).await? == 0 {
                    return Err(Broken::Peer);
                }
            }
        };
        timeout(self.step, read).await.unwrap_or(Err(Broken::Slow))
    }

    /// Steps 4 and 5 up to the answer.
    async fn decide(&self, challenged: Challenged, request: BytesMut) -> Result<Released, Refused> {
        let binding = *challenged.binding();
        let internal = move || Refused::before_request(RefusalCode::Internal, &binding, now());
        let Ok(place) = self.appraisals.clone().try_acquire_owned() else {
            return Err(Refused::before_request(RefusalCode::Busy, &binding, now()));
        };
        let shared = self.shared.clone();
        let appraised = tokio::task::spawn_blocking(move || {
            let keys = shared.keys();
            let desk = Desk {
                directory: &shared.directory,
                keys: &keys,
                now: now(),
            };
            challenged.appraise(&request, desk)
        })
        .await
        .map_err(|_| internal())??;
        let recorded: Recorded = self.shared.audit.record_release(appraised).await?;
        let released = tokio::task::spawn_blocking(move || recorded.release());
        let released = released.await.map_err(|_| internal())?;
        drop(place);
        released
    }

    async fn refuse(&self, stream: &mut TlsStream<TcpStream>, refused: Refused) {
        let refused = self.shared.audit.record_refusal(refused, now()).await;
        self.shared.metrics.refused(refused.code());
        let line = Line::new(Event::Refused).refusal(refused.code());
        self.shared.log.write(match refused.clause() {
            Some(clause) => line.what(clause),
            None => line,
        });
        // A peer that is gone needs no answer.
        let _ = self.send(stream, &refused.message()).await;
    }

    async fn send(&self, stream: &mut TlsStream<TcpStream>, message: &[u8]) -> Result<(), Broken> {
        let mut out = BytesMut::with_capacity(4 + message.len());
        write_message(message, &mut out).map_err(|_| Broken::TooLarge)?;
        let write = async {
            stream.write_all(&out).await?;
            stream.flush().await
        };
        timeout(self.step, write).await.map_err(|_| Broken::Slow)??;
        Ok(())
    }

    fn failed(&self, step: &'static str) {
        self.shared.metrics.connection_failed(Listener::Release);
        self.shared
            .log
            .write(Line::new(Event::ConnectionFailed).what(step));
    }
}
