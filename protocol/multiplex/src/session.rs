//! Many streams over one byte stream.
//!
//! 1. One task reads frames and hands data to the stream it is for; it waits for nobody, because credit bounds what a
//!    stream can hold.
//! 2. Each stream has two tasks: one takes from its user, waits for credit and sends; one gives to its user and then
//!    returns credit. A user that does not read stops its own stream only.
//! 3. One task writes frames, from a bounded queue.
//!
//! When the transport ends or a rule is broken, every stream ends and nothing more is accepted.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use tokio::{
    io::{
        AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, BufWriter, DuplexStream,
        ReadHalf, WriteHalf,
    },
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

use crate::{
    bridge::{Accept, Connect},
    frame::{self, DATA_BYTES_MAX, Frame},
};

/// Bytes of one stream that its sender may have in flight.
pub const WINDOW_BYTES: usize = 256 << 10;
/// Streams open at once, from both sides.
pub const STREAMS_MAX: usize = 1024;
const QUEUE_FRAMES: usize = 64;
const LOCAL_BYTES: usize = 64 << 10;

/// Which end this is: the two number their streams apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Odd numbers.
    Host,
    /// Even numbers.
    Guest,
}

/// Opens streams.
#[derive(Clone)]
pub struct Opener(Arc<Shared>);

/// Takes the streams that the other side opens.
pub struct Incoming(mpsc::Receiver<DuplexStream>);

struct Shared {
    streams: Mutex<Streams>,
    frames: mpsc::Sender<Frame>,
    side: Side,
}

struct Streams {
    open: HashMap<u32, Stream>,
    next: u32,
    ended: bool,
}

struct Stream {
    credit: Arc<Semaphore>,
    inbound: mpsc::UnboundedSender<Option<Bytes>>,
    /// Bytes that the peer may still send.
    allowed: usize,
    /// Its tasks; dropped, they end. The one that removes its own stream ends by itself.
    _tasks: JoinSet<()>,
    /// Halves that are not finished.
    halves: u8,
}

/// Begins a session over `transport`. The returned future is the session: it ends with the transport, or with the
/// first broken rule, and with it every stream.
pub fn session<T>(transport: T, side: Side) -> (Opener, Incoming, impl Future<Output = io::Result<()>> + Send)
where
    T: AsyncRead + AsyncWrite + Send + 'static,
{
    let (frames, queue) = mpsc::channel(QUEUE_FRAMES);
    let (arrivals, incoming) = mpsc::channel(STREAMS_MAX);
    let first = match side {
        Side::Host => 1,
        Side::Guest => 2,
    };
    let shared = Arc::new(Shared {
        streams: Mutex::new(Streams {
            open: HashMap::new(),
            next: first,
            ended: false,
        }),
        frames,
        side,
    });
    let opener = Opener(Arc::clone(&shared));
    let run = async move {
        let (read, write) = tokio::io::split(transport);
        let outcome = tokio::select! {
            outcome = read_frames(read, &shared, arrivals) => outcome,
            outcome = write_frames(write, queue) => outcome,
        };
        let mut streams = shared.lock();
        streams.ended = true;
        streams.open.clear();
        outcome
    };
    (opener, Incoming(incoming), run)
}

impl Connect for Opener {
    type Stream = DuplexStream;

    async fn connect(&self) -> io::Result<DuplexStream> {
        let mut streams = self.0.lock();
        if streams.ended || streams.open.len() >= STREAMS_MAX {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let id = streams.next;
        streams.next = id.checked_add(2).ok_or(io::ErrorKind::ConnectionRefused)?;
        Ok(begin(&self.0, &mut streams, id, true))
    }
}

impl Accept for Incoming {
    type Stream = DuplexStream;

    async fn accept(&mut self) -> io::Result<DuplexStream> {
        match self.0.recv().await {
            Some(stream) => Ok(stream),
            None => core::future::pending().await, // the session has ended, and says so itself
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A half of the stream is finished; the second removes it.
    fn finished(&self, id: u32) {
        let mut streams = self.lock();
        if let Some(stream) = streams.open.get_mut(&id) {
            stream.halves -= 1;
            if stream.halves == 0 {
                streams.open.remove(&id);
            }
        }
    }
}

/// Makes a stream and its tasks; the user's end is returned.
fn begin(shared: &Arc<Shared>, streams: &mut Streams, id: u32, announce: bool) -> DuplexStream {
    let (user, ours) = tokio::io::duplex(LOCAL_BYTES);
    let (read, write) = tokio::io::split(ours);
    let credit = Arc::new(Semaphore::new(WINDOW_BYTES));
    let (inbound, arrived) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    tasks.spawn(outbound(
        Arc::clone(shared),
        id,
        read,
        Arc::clone(&credit),
        announce,
    ));
    tasks.spawn(give(Arc::clone(shared), id, write, arrived));
    let stream = Stream {
        credit,
        inbound,
        allowed: WINDOW_BYTES,
        _tasks: tasks,
        halves: 2,
    };
    streams.open.insert(id, stream);
    user
}

/// Takes from the user, waits for credit, sends.
async fn outbound(
    shared: Arc<Shared>,
    id: u32,
    mut user: ReadHalf<DuplexStream>,
    credit: Arc<Semaphore>,
    announce: bool,
) {
    if announce && shared.frames.send(Frame::Open(id)).await.is_err() {
        return; // the session has ended
    }
    let mut buffer = vec![0; DATA_BYTES_MAX];
    loop {
        let read = user.read(&mut buffer).await.unwrap_or_default();
        let frame = if read == 0 {
            Frame::Finish(id)
        } else {
            let permits = u32::try_from(read).expect("a frame's data is at most 16 KiB");
            let Ok(spent) = credit.acquire_many(permits).await else {
                return;
            };
            spent.forget();
            Frame::Data(id, Bytes::copy_from_slice(buffer.get(..read).unwrap_or_default()))
        };
        if shared.frames.send(frame).await.is_err() {
            return;
        }
        if read == 0 {
            return shared.finished(id);
        }
    }
}

/// Gives to the user, returns credit.
async fn give(
    shared: Arc<Shared>,
    id: u32,
    mut user: WriteHalf<DuplexStream>,
    mut arrived: mpsc::UnboundedReceiver<Option<Bytes>>,
) {
    while let Some(Some(data)) = arrived.recv().await {
        let bytes = u32::try_from(data.len()).expect("a frame's data is at most 16 KiB");
        if user.write_all(&data).await.is_err() {
            // The user is gone: nobody reads what the peer still sends.
            let _ = shared.frames.send(Frame::Reset(id)).await; // the session may have ended
            shared.lock().open.remove(&id);
            return;
        }
        if let Some(stream) = shared.lock().open.get_mut(&id) {
            stream.allowed += data.len();
        }
        if shared.frames.send(Frame::Credit(id, bytes)).await.is_err() {
            return;
        }
    }
    let _ = user.shutdown().await; // the user may be gone
    shared.finished(id);
}

async fn write_frames<W: AsyncWrite + Unpin>(
    transport: W,
    mut queue: mpsc::Receiver<Frame>,
) -> io::Result<()> {
    let mut transport = BufWriter::with_capacity(2 * DATA_BYTES_MAX, transport);
    while let Some(next) = queue.recv().await {
        frame::write(&mut transport, &next).await?;
        while let Ok(next) = queue.try_recv() {
            frame::write(&mut transport, &next).await?;
        }
        transport.flush().await?;
    }
    Ok(())
}

fn broken(rule: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, rule)
}

async fn read_frames<R: AsyncRead + Unpin>(
    transport: R,
    shared: &Arc<Shared>,
    arrivals: mpsc::Sender<DuplexStream>,
) -> io::Result<()> {
    let mut transport = BufReader::with_capacity(2 * DATA_BYTES_MAX, transport);
    loop {
        let next = frame::read(&mut transport).await?;
        let mut streams = shared.lock();
        match next {
            Frame::Open(id) => {
                if (id % 2 == 1) == (shared.side == Side::Host) {
                    return Err(broken("a stream with a number of ours"));
                }
                if streams.open.contains_key(&id) {
                    return Err(broken("a stream that is open"));
                }
                if streams.open.len() >= STREAMS_MAX {
                    return Err(broken("too many streams"));
                }
                let user = begin(shared, &mut streams, id, false);
                arrivals
                    .try_send(user)
                    .map_err(|_| broken("too many streams that nobody took"))?;
            }
            // What is on its way while a stream ends here is nobody's.
            Frame::Data(id, data) => {
                if let Some(stream) = streams.open.get_mut(&id) {
                    stream.allowed = stream
                        .allowed
                        .checked_sub(data.len())
                        .ok_or_else(|| broken("data without credit"))?;
                    let _ = stream.inbound.send(Some(data)); // after its finish: dropped
                }
            }
            Frame::Credit(id, bytes) => {
                if let Some(stream) = streams.open.get_mut(&id) {
                    let bytes = bytes as usize;
                    if bytes > WINDOW_BYTES - stream.credit.available_permits().min(WINDOW_BYTES) {
                        return Err(broken("credit for what was not sent"));
                    }
                    stream.credit.add_permits(bytes);
                }
            }
            Frame::Finish(id) => {
                if let Some(stream) = streams.open.get_mut(&id) {
                    let _ = stream.inbound.send(None); // a second finish changes nothing
                }
            }
            Frame::Reset(id) => {
                streams.open.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Two ends over memory.
    fn pair() -> ((Opener, Incoming), (Opener, Incoming)) {
        let (near, far) = tokio::io::duplex(1 << 20);
        let (host, host_incoming, run_host) = session(near, Side::Host);
        let (guest, guest_incoming, run_guest) = session(far, Side::Guest);
        tokio::spawn(run_host);
        tokio::spawn(run_guest);
        ((host, host_incoming), (guest, guest_incoming))
    }

    async fn send(stream: DuplexStream, bytes: usize) {
        let (mut read, mut write) = tokio::io::split(stream);
        tokio::spawn(async move { tokio::io::copy(&mut read, &mut tokio::io::sink()).await });
        write.write_all(&vec![7; bytes]).await.expect("written");
        write.shutdown().await.expect("finished");
    }

    async fn received(stream: &mut DuplexStream) -> usize {
        let mut data = Vec::new();
        stream.read_to_end(&mut data).await.expect("read");
        assert!(data.iter().all(|byte| *byte == 7));
        data.len()
    }

    #[tokio::test]
    async fn streams_go_both_ways_whole_and_are_forgotten() {
        let ((host, mut to_host), (guest, mut to_guest)) = pair();
        for round in 0..50 {
            for bytes in [0, 1, DATA_BYTES_MAX + 1, 3 * WINDOW_BYTES] {
                let out = host.connect().await.expect("opened");
                let mut at_guest = to_guest.accept().await.expect("accepted");
                let sending = tokio::spawn(send(out, bytes));
                assert_eq!(received(&mut at_guest).await, bytes, "{round}");
                at_guest.shutdown().await.expect("finished");
                sending.await.expect("sent");
                let back = guest.connect().await.expect("opened");
                let mut at_host = to_host.accept().await.expect("accepted");
                let sending = tokio::spawn(send(back, bytes));
                assert_eq!(received(&mut at_host).await, bytes);
                drop(at_host);
                sending.await.expect("sent");
                if round > 3 {
                    break; // the long ones a few times only
                }
            }
        }
        timeout(Duration::from_secs(10), async {
            while host.0.lock().open.len() + guest.0.lock().open.len() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("finished streams are forgotten on both sides");
    }

    #[tokio::test]
    async fn a_stream_that_nobody_reads_stops_itself_only() {
        let ((host, _to_host), (_guest, mut to_guest)) = pair();
        let mut stuck = host.connect().await.expect("opened");
        let _unread = to_guest.accept().await.expect("accepted");
        let mut written = 0;
        while let Ok(Ok(bytes)) = timeout(Duration::from_millis(200), stuck.write(&[0; 65536])).await {
            written += bytes;
            assert!(
                written <= WINDOW_BYTES + 4 * LOCAL_BYTES,
                "nothing stops the writer"
            );
        }
        let out = host.connect().await.expect("opened");
        let mut other = to_guest.accept().await.expect("accepted");
        let sending = tokio::spawn(send(out, 2 * WINDOW_BYTES));
        assert_eq!(
            received(&mut other).await,
            2 * WINDOW_BYTES,
            "another stream passes"
        );
        drop(other);
        sending.await.expect("sent");
    }

    #[tokio::test]
    async fn when_the_transport_ends_every_stream_does() {
        let (near, far) = tokio::io::duplex(1 << 20);
        let (host, _incoming, run) = session(near, Side::Host);
        let running = tokio::spawn(run);
        let mut stream = host.connect().await.expect("opened");
        drop(far);
        assert!(running.await.expect("no panic").is_err());
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.expect("it ends");
        assert!(host.connect().await.is_err(), "nothing opens after the end");
    }

    #[tokio::test]
    async fn each_broken_rule_ends_the_session() {
        let window = u32::try_from(WINDOW_BYTES).expect("small");
        let data = || Frame::Data(2, Bytes::from(vec![0; DATA_BYTES_MAX]));
        let flood: Vec<_> = core::iter::once(Frame::Open(2))
            .chain((0..=WINDOW_BYTES / DATA_BYTES_MAX + LOCAL_BYTES / DATA_BYTES_MAX).map(|_| data()))
            .collect();
        let crowd: Vec<_> = (0..=STREAMS_MAX as u32)
            .map(|number| Frame::Open(2 * number + 2))
            .collect();
        for (rule, frames) in [
            ("a number of ours", vec![Frame::Open(1)]),
            ("an open stream again", vec![Frame::Open(2), Frame::Open(2)]),
            ("data without credit", flood),
            ("credit for nothing", vec![Frame::Open(2), Frame::Credit(2, 1)]),
            (
                "credit over the window",
                vec![Frame::Open(2), Frame::Credit(2, window + 1)],
            ),
            ("too many streams", crowd),
        ] {
            let (near, mut far) = tokio::io::duplex(64 << 20);
            let (_host, _incoming, run) = session(near, Side::Host);
            for frame in &frames {
                frame::write(&mut far, frame).await.expect("into memory");
            }
            let ended = timeout(Duration::from_secs(5), run).await;
            let error = ended
                .unwrap_or_else(|_| panic!("{rule}: it goes on"))
                .expect_err(rule);
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{rule}");
        }
    }
}
