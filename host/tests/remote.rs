//! `launch --tee remote`: the example is valid, and one guest after another is relayed to.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use host::{channel, config::Config, launch::Event, remote};
use multiplex::{
    bridge::{Accept, Connect},
    session::{Opener, Side, session},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener},
    sync::watch,
    time::timeout,
};
use tokio_util::codec::Framed;
use wire::{
    frame::{Frame, FrameCodec},
    message::{Phase, Status},
};

const SOON: Duration = Duration::from_secs(20);

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/remote.toml")
}

fn config(folder: &Path, replace: &[(&str, &str)]) -> Result<Config, String> {
    let mut text = std::fs::read_to_string(example()).expect("the example");
    for (from, to) in replace {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let path = folder.join("host.toml");
    std::fs::write(&path, text).expect("written");
    Config::load(&path).map_err(|error| error.to_string())
}

#[test]
fn the_example_is_valid_and_every_wrong_value_is_refused_by_its_key() {
    let valid = Config::load(&example()).expect("valid");
    assert_eq!(
        valid.remote().expect("the table").address.to_string(),
        "10.42.0.4:7001"
    );
    assert!(valid.simulated_vm().is_err() && valid.confidential_vm().is_err());
    let folder = tempfile::tempdir().expect("a folder");
    let address = "10.42.0.4:7001";
    for (from, to, key) in [
        (address, "10.42.0.4:0", "remote.address"),
        (address, "0.0.0.0:7001", "remote.address"),
        (address, "224.0.0.1:7001", "remote.address"),
        (address, "255.255.255.255:7001", "remote.address"),
        (address, "guest.example.org:7001", "address"),
        (address, "10.42.0.4", "address"),
        (
            "connect_seconds_max = 5",
            "connect_seconds_max = 0",
            "connect_seconds_max",
        ),
        (
            "connect_seconds_max = 5",
            "connect_seconds_max = 61",
            "connect_seconds_max",
        ),
        (
            "connect_seconds_max = 5",
            "connect_seconds = 5",
            "connect_seconds",
        ),
    ] {
        let error = config(folder.path(), &[(from, to)]).expect_err(to);
        assert!(error.contains(key), "{to}: {error}");
    }
}

fn status() -> Status {
    Status {
        phase: Phase::Serving,
        detail_code: String::new(),
        epoch: 1,
        uptime_seconds: 1,
        requests_total: 0,
        requests_active: 0,
        replays_refused_total: 0,
        tokens_in_total: 0,
        tokens_out_total: 0,
    }
}

/// A guest's engine, as far as the host asks it for its state.
async fn answer(stream: tokio::io::DuplexStream) {
    let mut frames = Framed::new(stream, FrameCodec);
    let _ = frames.next().await; // what it is opened for
    for frame in Frame::data(Bytes::from(status().to_cbor())) {
        let _ = frames.send(frame).await; // the host may be gone
    }
    let _ = frames.send(Frame::End).await;
}

/// Serves one connection as a guest does.
async fn guest(connection: TcpStream) -> (Opener, tokio::task::JoinHandle<()>) {
    let (opener, mut incoming, run) = session(connection, Side::Guest);
    let running = tokio::spawn(async move {
        let serving = async {
            while let Ok(stream) = incoming.accept().await {
                tokio::spawn(answer(stream));
            }
        };
        tokio::select! {
            _ = run => {}
            () = serving => {}
        }
    });
    (opener, running)
}

async fn until(events: &mut watch::Receiver<Option<Event>>, wanted: impl Fn(&Event) -> bool) {
    let seen = events.wait_for(|event| event.as_ref().is_some_and(&wanted));
    timeout(SOON, seen).await.expect("in time").expect("it runs");
}

#[tokio::test]
async fn a_guest_that_starts_late_goes_and_comes_again_is_relayed_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address: SocketAddr = listener.local_addr().expect("bound");
    drop(listener); // it starts late
    let directory = folder.path().join("channel");
    let config = config(
        folder.path(),
        &[
            ("10.42.0.4:7001", &address.to_string()),
            ("/run/adyton/channel", &directory.display().to_string()),
        ],
    );
    let config = Arc::new(config.expect("valid"));
    // The host's own listener, which says its name here.
    let host = channel::listen(&directory).expect("a fresh folder");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = UnixListener::accept(&host).await {
            stream.write_all(b"host").await.expect("written");
        }
    });
    let (events, mut watched) = watch::channel(None);
    let (stop, stopped) = watch::channel(false);
    let launched = tokio::spawn(remote::launch(Arc::clone(&config), events, stopped));
    until(&mut watched, |event| matches!(event, Event::Ended { .. })).await;
    assert!(channel::status(&directory).await.is_err(), "nobody is there");

    let listener = TcpListener::bind(address).await.expect("the port");
    for round in 0..2 {
        let (connection, _) = timeout(SOON, listener.accept())
            .await
            .expect("in time")
            .expect("taken");
        let (opener, running) = guest(connection).await;
        until(&mut watched, |event| *event == Event::Status(status())).await;
        assert_eq!(
            channel::status(&directory).await.expect("asked"),
            status(),
            "{round}"
        );
        let mut stream = opener.connect().await.expect("a stream to the host");
        let mut said = Vec::new();
        timeout(SOON, stream.read_to_end(&mut said))
            .await
            .expect("in time")
            .expect("read");
        assert_eq!(said, b"host");
        running.abort();
        drop((opener, stream));
        until(&mut watched, |event| matches!(event, Event::Ended { .. })).await;
    }
    stop.send_replace(true);
    let ended = timeout(SOON, launched).await.expect("in time").expect("no panic");
    assert!(ended.is_ok());
    assert_eq!(*watched.borrow(), Some(Event::Stopped));
}
