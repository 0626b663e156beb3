//! Measures attest-to-key on loopback with simulated evidence: latency one after another, releases per second with
//! several at once, and the broker's own processor time for one release.
//!
//! `cargo build --release -p adyton-broker && cargo run --release -p adyton-broker --example release_speed -- 5`
//!
//! The enclaves run on the same cores: their part (handshake, evidence, opening) is in the rate and not in the broker's
//! processor time. SIMULATED evidence costs the broker what real evidence costs: the same structures and signatures.

#![allow(clippy::print_stdout, reason = "a measurement prints its figures")]
#![allow(
    dead_code,
    unused_imports,
    reason = "the tests' own deployment, of which this needs a part"
)]

#[path = "../tests/broker/support/mod.rs"]
mod support;

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use simulated::Flavor;
use support::{Deployment, Enclave, MANIFEST, MODEL, Options, Owner, released};

/// Clock ticks in a second (`sysconf(_SC_CLK_TCK)` on Linux).
const TICKS_PER_SECOND: f64 = 100.0;

#[tokio::main]
async fn main() {
    let seconds = std::env::args()
        .nth(1)
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(5);
    let span = Duration::from_secs(seconds);
    println!(
        "SIMULATED evidence; {} processors",
        std::thread::available_parallelism().map_or(0, usize::from)
    );
    for flavor in [Flavor::Snp, Flavor::Tdx] {
        let deployment = Deployment::new(Options::default());
        let mut broker = Process::start(&deployment);
        let enclave = Arc::new(Enclave::new(flavor));
        let owner = Owner::new(broker.admin, &deployment.owner);
        let answer = owner
            .register(MODEL, MANIFEST, 1, &deployment.policy(&enclave))
            .await;
        assert_eq!(answer.status, 200, "{:?}", answer.json);

        let bundle = enclave
            .bundle(&attestation::Nonce::from_bytes([0; 32]))
            .encode()
            .expect("within bounds");
        println!("{}: bundle of {} bytes", flavor.as_str(), bundle.len());
        latency(&enclave, broker.release, span).await;
        for clients in [4, 16] {
            rate(&enclave, &broker, clients, span).await;
        }
        let _ = broker.child.kill();
        let _ = broker.child.wait();
    }
}

async fn latency(enclave: &Enclave, address: SocketAddr, span: Duration) {
    let began = Instant::now();
    let mut whole = Vec::new();
    let mut evidence = Vec::new();
    while began.elapsed() < span {
        let start = Instant::now();
        let mut session = enclave.connect(address).await;
        let collecting = Instant::now();
        let bundle = enclave.bundle(&session.nonce(enclave));
        evidence.push(collecting.elapsed());
        let (record, sealed) = released(session.ask_with(MODEL, &bundle).await);
        let _ = enclave.open(&record, &sealed);
        whole.push(start.elapsed());
    }
    println!(
        "  one after another: attest to key {} (of which making simulated evidence {})",
        quantiles(&mut whole),
        quantiles(&mut evidence)
    );
}

fn quantiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    format!("p50 {:.2} ms, p99 {:.2} ms", at(0.5), at(0.99))
}

async fn rate(enclave: &Arc<Enclave>, broker: &Process, clients: usize, span: Duration) {
    let before = broker.processor_seconds();
    let began = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let (enclave, address) = (enclave.clone(), broker.release);
            tokio::spawn(async move {
                let mut count = 0u32;
                while began.elapsed() < span {
                    let _ = released(enclave.ask(address).await);
                    count += 1;
                }
                count
            })
        })
        .collect();
    let mut count = 0;
    for task in tasks {
        count += task.await.expect("no panic");
    }
    let (elapsed, count) = (began.elapsed().as_secs_f64(), f64::from(count));
    let cost = (broker.processor_seconds() - before) / count;
    println!(
        "  {clients} at once: {:.0} releases/s with their enclaves on the same processors; broker {:.2} ms of processor \
         time each, so {:.0} releases/s on two processors",
        count / elapsed,
        cost * 1000.0,
        2.0 / cost
    );
}

/// The broker as a process of its own, beside this example.
struct Process {
    child: Child,
    release: SocketAddr,
    admin: SocketAddr,
}

impl Process {
    fn start(deployment: &Deployment) -> Self {
        let own = std::env::current_exe().expect("a path");
        let binary = own
            .parent()
            .and_then(|examples| examples.parent())
            .expect("a folder")
            .join("adyton-broker");
        let mut child = Command::new(binary)
            .args(["serve", "--json", "--config"])
            .arg(deployment.path("broker.toml"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("build the broker first: cargo build --release -p adyton-broker");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (mut release, mut admin) = (None, None);
        for line in lines.by_ref() {
            let line: serde_json::Value = serde_json::from_str(&line.expect("text")).expect("JSON");
            let address = || line["address"].as_str().and_then(|address| address.parse().ok());
            match (line["event"].as_str(), line["what"].as_str()) {
                (Some("listening"), Some("release")) => release = address(),
                (Some("listening"), Some("admin")) => admin = address(),
                (Some("started"), _) => break,
                _ => {}
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            release: release.expect("listens"),
            admin: admin.expect("listens"),
        }
    }

    /// User and system time so far (proc(5), fields 14 and 15).
    fn processor_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        let (_, fields) = stat.rsplit_once(')').expect("a command name");
        let ticks: f64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<f64>().ok())
            .sum();
        ticks / TICKS_PER_SECOND
    }
}
