//! What carrying a stream to a guest costs: unix socket, multiplexed transport, unix socket, against the same two
//! programs with nothing between them, taken in turns in one run.
//!
//! `cargo run --release --workspace --example relay_speed`

#![allow(clippy::print_stdout, reason = "a command for a person")]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use multiplex::{
    bridge::{UnixPath, carry},
    session::{Side, session},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::watch,
};

const ROUNDS: usize = 5;
const BYTES: usize = 256 << 20;
const BLOCK: usize = 64 << 10;
const TRIPS: usize = 2000;

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = folder.path().join("server.sock");
    serve(UnixListener::bind(&server).expect("a socket"));
    let (_stop, stopped) = watch::channel(false);
    let relayed = relay(folder.path(), &server, &stopped);

    let (mut rates, mut trips) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..ROUNDS {
        for (way, path) in [&server, &relayed].into_iter().enumerate() {
            rates[way].push(throughput(path).await);
            trips[way].push(round_trip(path).await);
        }
    }
    let [direct, through] = rates.map(median);
    let [near, far] = trips.map(median);
    println!("direct                       {direct:>8.0} MB/s   round trip {near:>6.1} us");
    println!("through the guest's link     {through:>8.0} MB/s   round trip {far:>6.1} us");
    println!(
        "through / direct             {:>8.2}        added {:>6.1} us",
        through / direct,
        far - near
    );
}

/// The way of `--tee simulated-vm`, with a pair of sockets in place of the port of virtio-serial.
fn relay(folder: &Path, server: &Path, stopped: &watch::Receiver<bool>) -> PathBuf {
    let path = folder.join("relay.sock");
    let clients = UnixListener::bind(&path).expect("a socket");
    let (host, guest) = UnixStream::pair().expect("a pair");
    let (opener, _, host) = session(host, Side::Host);
    let (_, incoming, guest) = session(guest, Side::Guest);
    tokio::spawn(host);
    tokio::spawn(guest);
    tokio::spawn(carry(clients, Arc::new(opener), stopped.clone()));
    tokio::spawn(carry(
        incoming,
        Arc::new(UnixPath(server.to_owned())),
        stopped.clone(),
    ));
    path
}

/// Sends back each first byte of a block at once, and says how much it took when a stream ends.
fn serve(listener: UnixListener) {
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut block = vec![0; BLOCK];
                let mut taken = 0_u64;
                loop {
                    match stream.read(&mut block).await {
                        Ok(0) | Err(_) => break,
                        Ok(1) => drop(stream.write_all(&block[..1]).await),
                        Ok(length) => taken += length as u64,
                    }
                }
                let _ = stream.write_all(&taken.to_le_bytes()).await; // the client sees a short answer
            });
        }
    });
}

/// Megabytes a second in one direction, until the server says that all is there.
async fn throughput(path: &Path) -> f64 {
    let mut stream = UnixStream::connect(path).await.expect("it listens");
    let block = vec![7; BLOCK];
    let started = Instant::now();
    for _ in 0..BYTES / BLOCK {
        stream.write_all(&block).await.expect("it reads");
    }
    stream.shutdown().await.expect("it reads");
    assert_eq!(stream.read_u64_le().await.expect("an answer"), BYTES as u64);
    BYTES as f64 / 1e6 / started.elapsed().as_secs_f64()
}

/// Microseconds for one byte there and back: the median.
async fn round_trip(path: &Path) -> f64 {
    let mut stream = UnixStream::connect(path).await.expect("it listens");
    let mut times = Vec::with_capacity(TRIPS);
    for _ in 0..TRIPS {
        let started = Instant::now();
        stream.write_all(&[7]).await.expect("it reads");
        stream.read_u8().await.expect("an answer");
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    median(times)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
