//! The way to the host where there is neither virtio-serial nor vsock: one network card, one TCP port.
//!
//! 1. The one Ethernet card that is there is brought up, and gets an address from whoever answers ([`dhcp`]); IPv4 only, no
//!    names. Its address and route are set through rtnetlink(7) ([`netlink`]).
//! 2. One connection at a time to [`PORT`] is the host channel, many streams over it, exactly what virtio-serial
//!    carries ([`multiplex::session`]). When it ends, or nothing is heard over it, the next is taken: a relay may start
//!    again, and the engine stays up.
//!
//! Nothing here is trusted: who answers, who connects and what is sent is the host's, and the engine, which believes none of
//! it, has no part in this. It has no network either (`crate::confine`).

mod dhcp;
mod frame;
mod netlink;

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    net::Ipv4Addr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use multiplex::{bridge::UnixPath, current::Current, lively::Lively, session::Side};
use nix::{
    ifaddrs::getifaddrs,
    sys::{
        socket::{
            AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, bind, setsockopt, socket,
            sockopt::ReceiveTimeout,
        },
        time::{TimeVal, TimeValLike as _},
    },
};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::oneshot,
};

use self::{
    dhcp::{Change, Client},
    frame::Mac,
    netlink::Netlink,
};
use crate::error::{EnclaveError, Result};

/// The port of the host channel. Scripts and modules for clouds open it for the relay alone.
pub(super) const PORT: u16 = 7001;

/// A driver finds its card, and a network its machine, while init goes on.
const CARD_SECONDS_MAX: Duration = Duration::from_secs(10);
const ADDRESS_SECONDS_MAX: Duration = Duration::from_secs(60);
/// How long an answer is waited for. The socket hears every packet of the card, so that it is open no longer.
const LISTEN: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);
/// Connections that wait for the one before to end.
const WAITING_MAX: u32 = 8;
/// ARPHRD_ETHER (linux/if_arp.h).
const ETHERNET: &str = "1";
/// A card of Azure's that hv_netvsc's card uses by itself, and that has no address of its own.
const HALF_CARD: &str = "mana";

fn fault(what: &'static str) -> EnclaveError {
    EnclaveError::Init(what)
}

/// The network, with an address.
pub(super) struct Network {
    card: Card,
    client: Client,
    netlink: Netlink,
}

impl Network {
    /// Brings the card up, and waits for its address.
    pub(super) fn up() -> Result<Self> {
        Self::on(Card::find(Path::new("/sys/class/net"))?)
    }

    fn on(card: Card) -> Result<Self> {
        let mut netlink = Netlink::of(card.interface).map_err(|_| fault("no socket of rtnetlink"))?;
        netlink
            .up()
            .map_err(|_| fault("the network card does not come up"))?;
        let exchange = getrandom::u32().map_err(|_| fault("no randomness"))?;
        let client = Client::new(card.mac, exchange, Instant::now());
        let mut network = Self {
            card,
            client,
            netlink,
        };
        let until = Instant::now() + ADDRESS_SECONDS_MAX;
        if network.converse(until)? {
            Ok(network)
        } else {
            Err(fault("no server lends an address"))
        }
    }

    /// Listens on the port, renews the lease, and serves one connection after another until the network is lost.
    pub(super) async fn carry(self, current: Arc<Current>, to_engine: Arc<UnixPath>) -> EnclaveError {
        let listener = match listen(PORT) {
            Ok(listener) => listener,
            Err(_) => return fault("the port of the channel"),
        };
        let (lost, is_lost) = oneshot::channel();
        std::thread::spawn(move || lost.send(self.keep()));
        tokio::select! {
            () = serve(listener, &current, to_engine) => fault("the port of the channel"),
            lost = is_lost => lost.unwrap_or(fault("the network's thread ended")),
        }
    }

    /// Renews the lease when it is time; returns when the network is lost.
    fn keep(mut self) -> EnclaveError {
        loop {
            std::thread::sleep(self.client.due().saturating_duration_since(Instant::now()));
            if let Err(error) = self.converse(Instant::now() + LISTEN) {
                return error;
            }
        }
    }

    /// Speaks with servers until one lends an address or renews its lease, or the time is over; whether one did.
    fn converse(&mut self, until: Instant) -> Result<bool> {
        let broken = |_| fault("the network card is gone");
        let mut socket = self.card.open().map_err(broken)?;
        let mut frame = [0; frame::FRAME_BYTES_MAX + 1];
        loop {
            let now = Instant::now();
            if now >= until {
                return Ok(false);
            }
            if now >= self.client.due() {
                let (message, source, change) = self.client.message(now);
                self.apply(change)?;
                let frame = frame::write(self.card.mac, source, &message);
                socket.write_all(&frame).or_else(ignore_busy).map_err(broken)?;
            }
            let wait = self.client.due().min(until).saturating_duration_since(now);
            match receive(&mut socket, &mut frame, wait).map_err(broken)? {
                None => {}
                Some(bytes) => {
                    let message = frame
                        .get(..bytes)
                        .and_then(|frame| frame::read(frame, self.card.mac));
                    // What is not believed is as if it had not come: the next message may be.
                    if let Some(Ok(Some(change))) =
                        message.map(|message| self.client.hear(message, Instant::now()))
                    {
                        self.apply(Some(change))?;
                        if let Change::Bound(_) | Change::Renewed = change {
                            return Ok(true);
                        }
                    }
                }
            }
        }
    }

    fn apply(&mut self, change: Option<Change>) -> Result<()> {
        match change {
            None | Some(Change::Renewed) => Ok(()),
            Some(Change::Bound(lease)) => self.netlink.set(&lease),
            Some(Change::Lost(lease)) => self.netlink.unset(&lease),
        }
        .map_err(|_| fault("the kernel does not take the address"))
    }
}

/// A card without a carrier, or with a full queue, may have one or room the next time.
fn ignore_busy(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::NetworkDown | io::ErrorKind::WouldBlock => Ok(()),
        _ if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(()),
        _ => Err(error),
    }
}

/// The next frame, or nothing for so long.
fn receive(socket: &mut File, frame: &mut [u8], wait: Duration) -> io::Result<Option<usize>> {
    // Zero would wait for ever.
    let wait = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX).max(1000);
    setsockopt(socket, ReceiveTimeout, &TimeVal::microseconds(wait))?;
    match socket.read(frame) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::NetworkDown
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::UNSPECIFIED, port).into())?;
    socket.listen(WAITING_MAX)
}

/// One connection after another is the channel. Never returns.
async fn serve(listener: TcpListener, current: &Current, to_engine: Arc<UnixPath>) {
    loop {
        let Ok((relay, _)) = listener.accept().await else {
            tokio::time::sleep(LOOK).await; // the connection ended before it was taken
            continue;
        };
        let _ = relay.set_nodelay(true); // slower, and no worse
        // However it ended, the next relay may do better.
        let _ = current
            .run(Lively::new(relay), Side::Guest, Arc::clone(&to_engine))
            .await;
    }
}

/// The machine's Ethernet card.
struct Card {
    interface: u32,
    mac: Mac,
    address: LinkAddr,
}

impl Card {
    /// The only one, once it is there. `folder` has one entry for each interface.
    fn find(folder: &Path) -> Result<Self> {
        let begun = Instant::now();
        let name = loop {
            match cards(folder).as_slice() {
                [] if begun.elapsed() < CARD_SECONDS_MAX => std::thread::sleep(LOOK),
                [] => return Err(fault("there is no way to the host")),
                [name] => break name.clone(),
                _ => return Err(fault("there are two network cards")),
            }
        };
        Self::named(&name)
    }

    fn named(name: &str) -> Result<Self> {
        let gone = || fault("the network card is gone");
        let address = getifaddrs()
            .map_err(|_| gone())?
            .filter(|interface| interface.interface_name == name)
            .find_map(|interface| interface.address?.as_link_addr().copied())
            .ok_or_else(gone)?;
        let mac = address.addr().ok_or_else(gone)?;
        let interface = u32::try_from(address.ifindex()).map_err(|_| gone())?;
        Ok(Self {
            interface,
            mac,
            address,
        })
    }

    /// A socket that hears the card's IPv4 packets, and sends whole frames.
    fn open(&self) -> io::Result<File> {
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthIp,
        )?;
        bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &self.address)?;
        Ok(socket.into())
    }
}

/// Names of Ethernet cards that are for themselves: with a device behind them, and not the half of another.
fn cards(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let is_card = |path: &Path| {
        let driver = fs::read_link(path.join("device/driver"));
        fs::read_to_string(path.join("type")).is_ok_and(|kind| kind.trim() == ETHERNET)
            && path.join("device").exists()
            && !path.join("master").exists()
            && !driver.is_ok_and(|driver| driver.ends_with(HALF_CARD))
    };
    entries
        .flatten()
        .filter(|entry| is_card(&entry.path()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

#[cfg(test)]
#[allow(clippy::print_stderr, reason = "tests say what they did not run")]
mod tests {
    use std::{
        os::unix::fs::symlink,
        process::Command,
        sync::atomic::{AtomicBool, Ordering},
    };

    use multiplex::bridge::Connect as _;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpStream, UnixListener},
        time::timeout,
    };

    use super::{dhcp::tests::Server, frame::tests::from_server, *};

    const SOON: Duration = Duration::from_secs(5);

    /// An interface as the kernel shows it.
    fn interface(folder: &Path, name: &str, kind: &str, driver: Option<&str>) -> std::path::PathBuf {
        let path = folder.join(name);
        fs::create_dir(&path).expect("made");
        fs::write(path.join("type"), format!("{kind}\n")).expect("written");
        if let Some(driver) = driver {
            fs::create_dir(path.join("device")).expect("made");
            symlink(
                Path::new("/sys/bus/drivers").join(driver),
                path.join("device/driver"),
            )
            .expect("linked");
        }
        path
    }

    #[test]
    fn the_one_card_is_found_and_two_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        assert_eq!(cards(folder), [""; 0]);
        interface(folder, "lo", "772", None);
        interface(folder, "bond0", "1", None);
        interface(folder, "ib0", "32", Some("mlx"));
        interface(folder, "eth1", "1", Some("mana"));
        let half = interface(folder, "eth2", "1", Some("other"));
        fs::create_dir(half.join("master")).expect("made");
        assert_eq!(cards(folder), [""; 0], "none is a card for itself");
        interface(folder, "eth0", "1", Some("hv_netvsc"));
        assert_eq!(cards(folder), ["eth0"]);
        interface(folder, "eth3", "1", Some("virtio_net"));
        let Err(refused) = Card::find(folder) else {
            panic!("two cards");
        };
        assert!(refused.to_string().contains("two network cards"), "{refused}");
    }

    /// The kernel itself, in a network namespace with a pair of cards: a client at one, a server at the other.
    #[test]
    fn a_card_gets_keeps_and_loses_an_address() {
        let this = std::env::current_exe().expect("it runs");
        let name = "init::network::tests::in_a_namespace_with_two_cards";
        let ran = Command::new("unshare")
            .args(["--map-root-user", "--net", "sh", "-c"])
            .arg("ip link add v0 address 02:00:00:00:00:07 type veth peer name v1 && ip link set v1 up && exec \"$@\"")
            .arg("sh")
            .arg(this)
            .args(["--exact", name, "--ignored", "--nocapture"])
            .output();
        match ran {
            Ok(output) if output.status.success() => {
                assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
            }
            Ok(output) if output.stdout.is_empty() => {
                eprintln!(
                    "NOT RUN: a pair of cards: {}",
                    String::from_utf8_lossy(&output.stderr)
                );
            }
            Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => eprintln!("NOT RUN: a pair of cards: unshare: {error}"),
        }
    }

    #[test]
    #[ignore = "a_card_gets_keeps_and_loses_an_address runs it where it harms nobody"]
    fn in_a_namespace_with_two_cards() {
        const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
        let has_address = || std::net::TcpListener::bind((ADDRESS, 0)).is_ok();
        let speaks = Arc::new(AtomicBool::new(true));
        let mut socket = Card::named("v1").expect("a card").open().expect("a socket");
        let server = Arc::clone(&speaks);
        std::thread::spawn(move || {
            let mut bytes = [0; 2048];
            loop {
                let read = socket.read(&mut bytes).expect("a frame");
                let sent = bytes.get(42..read).unwrap_or_default();
                // The client's messages alone; its own answers come back to the server's socket, too.
                if !server.load(Ordering::Relaxed) || bytes[36..38] != frame::SERVER_PORT.to_be_bytes() {
                    continue;
                }
                let answer = Server::new().answer(sent);
                let mut foreign = answer.clone();
                foreign[4] ^= 1;
                for message in [&b"nonsense"[..], &foreign, &answer[..250], &answer, &answer] {
                    socket.write_all(&from_server(message)).expect("sent");
                }
                socket.write_all(&[0xff; 60]).expect("sent");
            }
        });
        let soon = || Instant::now() + SOON;
        let hour = Duration::from_secs(3600);

        let mut network = Network::on(Card::named("v0").expect("a card")).expect("an address");
        assert!(has_address());
        let routes = fs::read_to_string("/proc/net/route").expect("a file");
        assert!(routes.contains("v0\t00000000\t0202000A\t0003"), "{routes}");
        network.client.hurry(hour / 2);
        assert!(network.converse(soon()).expect("a card"), "renewed");
        assert!(network.client.due() > Instant::now() + hour / 3);

        speaks.store(false, Ordering::Relaxed);
        network.client.hurry(hour / 2);
        let shortly = || Instant::now() + Duration::from_millis(300);
        assert!(!network.converse(shortly()).expect("a card"), "nobody answers");
        assert!(has_address(), "and the lease is not over");
        network.client.hurry(hour);
        assert!(!network.converse(shortly()).expect("a card"));
        assert!(!has_address(), "now it is");

        speaks.store(true, Ordering::Relaxed);
        assert!(network.converse(soon()).expect("a card"), "another one");
        assert!(has_address());
    }

    /// An engine that says its name to whoever connects.
    fn engine(path: &Path) {
        let listener = UnixListener::bind(path).expect("a fresh path");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(b"engine").await.expect("written");
            }
        });
    }

    /// The relay's side: a session over a connection, and what the engine says in it.
    async fn relay(address: std::net::SocketAddr) -> (Arc<Current>, tokio::task::JoinHandle<io::Result<()>>) {
        let stream = TcpStream::connect(address).await.expect("somebody listens");
        let current = Arc::new(Current::default());
        let running = Arc::clone(&current);
        let nobody = Arc::new(UnixPath("/nobody".into()));
        let session = tokio::spawn(async move { running.run(stream, Side::Host, nobody).await });
        tokio::task::yield_now().await;
        (current, session)
    }

    async fn heard(current: &Current) -> io::Result<Vec<u8>> {
        let mut stream = current.connect().await?;
        let mut said = Vec::new();
        timeout(SOON, stream.read_to_end(&mut said)).await??;
        Ok(said)
    }

    #[tokio::test]
    async fn a_relay_that_starts_again_finds_the_same_engine_and_nonsense_ends_itself_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("enclave.sock");
        engine(&socket);
        let listener = listen(0).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let address = (Ipv4Addr::LOCALHOST, address.port()).into();
        let guest = Arc::new(Current::default());
        let serving = Arc::clone(&guest);
        tokio::spawn(async move { serve(listener, &serving, Arc::new(UnixPath(socket))).await });
        for round in 0..3 {
            let (current, session) = relay(address).await;
            assert_eq!(heard(&current).await.expect("a stream"), b"engine", "{round}");
            assert!(guest.connect().await.is_ok(), "the engine reaches this relay");
            session.abort();
            let _ = session.await; // aborted

            let mut stranger = TcpStream::connect(address).await.expect("somebody listens");
            stranger
                .write_all(b"GET / HTTP/1.1\r\n\r\n")
                .await
                .expect("written");
            let mut answer = Vec::new();
            let ended = timeout(SOON, stranger.read_to_end(&mut answer)).await;
            assert!(ended.is_ok(), "{round}: a stranger is let go");
        }
    }

    #[tokio::test]
    async fn a_second_relay_waits_for_the_first_to_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("enclave.sock");
        engine(&socket);
        let listener = listen(0).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let address = (Ipv4Addr::LOCALHOST, address.port()).into();
        tokio::spawn(async move { serve(listener, &Current::default(), Arc::new(UnixPath(socket))).await });
        let (first, session) = relay(address).await;
        assert_eq!(heard(&first).await.expect("a stream"), b"engine");
        let (second, _session) = relay(address).await;
        let mut waiting = second.connect().await.expect("a stream");
        let mut said = Vec::new();
        let early = timeout(Duration::from_millis(200), waiting.read_to_end(&mut said)).await;
        assert!(early.is_err(), "one at a time");
        session.abort();
        timeout(SOON, waiting.read_to_end(&mut said))
            .await
            .expect("its turn")
            .expect("read");
        assert_eq!(said, b"engine");
    }
}
