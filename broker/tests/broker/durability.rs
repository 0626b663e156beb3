//! No release without a durable record: full disks, restarts, kills.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use simulated::Flavor;
use tokio::time::{sleep, timeout};
use wire::release::{ReleaseAnswer, ReleaseRecord};

use crate::{
    ops::get,
    support::{Deployment, Enclave, MANIFEST, MODEL, MODEL_KEY, Options, Owner, refused, released},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_releases_nothing_and_recovers() {
    // The smallest store that the configuration allows: 256 pages.
    let small = Options {
        store_bytes_max: 1 << 20,
        ..Options::default()
    };
    let deployment = Deployment::new(small);
    let (broker, owner, enclave) = deployment.start_with_model(Flavor::Snp).await;
    let (address, ops) = (broker.addresses().release, broker.addresses().ops);
    assert_eq!(get(ops, "/readyz").await.0, 200);

    // Refusals fill it: each is a record.
    let mut full = false;
    for _ in 0..3000 {
        let mut session = enclave.connect(address).await;
        session.send(b"no request").await;
        let (code, _) = refused(session.answer().await.expect("an answer"));
        if code == "audit-unavailable" {
            full = true;
            break;
        }
        assert_eq!(code, "malformed-request");
    }
    assert!(full, "the store never filled");
    assert_eq!(get(ops, "/readyz").await.0, 503);
    for _ in 0..5 {
        let (code, hint) = refused(enclave.ask(address).await);
        assert_eq!(code, "audit-unavailable");
        assert!(!hint.is_empty());
    }
    assert_eq!(
        owner.post("/v1/tenant-kek/disable").await.code(),
        "audit-unavailable"
    );
    assert_eq!(owner.count("key-release").await, 0);
    assert_eq!(get(ops, "/healthz").await.0, 200);
    broker.stop().await;

    // With room again, nothing was lost, and the log verifies at start.
    let text = std::fs::read_to_string(deployment.path("broker.toml")).expect("reads");
    let text = text.replace(&format!("bytes_max = {}", 1 << 20), "bytes_max = 100000000");
    std::fs::write(deployment.path("broker.toml"), text).expect("writes");
    let broker = deployment.start().await;
    let (record, sealed) = released(enclave.ask(broker.addresses().release).await);
    assert_eq!(enclave.open(&record, &sealed).0, MODEL_KEY);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_everything() {
    let deployment = Deployment::new(Options::default());
    let (broker, owner, enclave) = deployment.start_with_model(Flavor::Snp).await;
    let other = crate::support::policy(&enclave, &[MANIFEST]).replace(MODEL, "second");
    assert_eq!(owner.register("second", MANIFEST, 7, &other).await.status, 200);
    assert_eq!(owner.delete("/v1/models/second").await.status, 200);
    let _ = released(enclave.ask(broker.addresses().release).await);
    let (models, log) = (owner.get("/v1/models").await.json, owner.log().await);
    let spki = broker.spki_sha256();
    broker.stop().await;

    let broker = deployment.start().await;
    let owner = Owner::new(broker.addresses().admin, &deployment.owner);
    assert_eq!(broker.spki_sha256(), spki);
    assert_eq!(owner.get("/v1/models").await.json, models);
    assert_eq!(owner.log().await, log);
    let (record, sealed) = released(enclave.ask(broker.addresses().release).await);
    assert_eq!(enclave.open(&record, &sealed).0, MODEL_KEY);
    // The floor outlives the restart as well.
    let lower = owner.register("second", MANIFEST, 6, &other).await;
    assert_eq!(lower.code(), "rolled-back");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_broker_on_the_same_store_is_refused() {
    let deployment = Deployment::new(Options::default());
    let broker = deployment.start().await;
    let second = broker::service::Broker::start(&deployment.config(), broker::log::Log::discard()).await;
    assert_eq!(second.err().map(|error| error.code()), Some("already-running"));
    broker.stop().await;
    deployment.start().await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_record_of_a_disablement_no_release_is_recorded() {
    let deployment = Deployment::new(Options::default());
    let (broker, owner, enclave) = deployment.start_with_model(Flavor::Snp).await;
    let (address, enclave) = (broker.addresses().release, Arc::new(enclave));
    let clients: Vec<_> = (0..6)
        .map(|_| {
            let enclave = enclave.clone();
            tokio::spawn(async move {
                let mut count = 0;
                while let ReleaseAnswer::Released { .. } = enclave.ask(address).await {
                    count += 1;
                }
                count
            })
        })
        .collect();
    sleep(Duration::from_millis(200)).await;
    let disabled = owner.post("/v1/tenant-kek/disable").await;
    let at = disabled.json["audit_index"].as_u64().expect("an index");
    let mut releases = 0;
    for client in clients {
        releases += client.await.expect("no panic");
    }
    let log = owner.log().await;
    assert_eq!(log[at as usize]["event"], "kek-disablement");
    assert!(releases > 0);
    assert!(
        log.iter()
            .skip(at as usize)
            .all(|entry| entry["event"] != "key-release")
    );
    assert_eq!(
        log.iter().filter(|entry| entry["event"] == "key-release").count(),
        releases
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_records_as_releases_however_many_at_once() {
    let deployment = Deployment::new(Options::default());
    let (broker, owner, enclave) = deployment.start_with_model(Flavor::Tdx).await;
    let (address, enclave) = (broker.addresses().release, Arc::new(enclave));
    let mut indexes = BTreeSet::new();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let enclave = enclave.clone();
            tokio::spawn(async move {
                let mut indexes = Vec::new();
                for _ in 0..10 {
                    indexes.push(index(&enclave.ask(address).await).expect("released"));
                }
                indexes
            })
        })
        .collect();
    for client in clients {
        for index in client.await.expect("no panic") {
            assert!(indexes.insert(index), "two releases under one record");
        }
    }
    assert_eq!(indexes.len(), 80);
    assert_eq!(owner.count("key-release").await, 80);
    broker.stop().await;
}

fn index(answer: &ReleaseAnswer) -> Option<u64> {
    match answer {
        ReleaseAnswer::Released { record, .. } => {
            Some(ReleaseRecord::from_cbor(record).expect("a record").audit_index)
        }
        ReleaseAnswer::Refused { .. } => None,
    }
}

/// The broker as a process of its own.
struct Process {
    child: Child,
    release: SocketAddr,
    admin: SocketAddr,
}

impl Process {
    fn start(deployment: &Deployment) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_adyton-broker"))
            .args(["serve", "--json", "--config"])
            .arg(deployment.path("broker.toml"))
            .env_clear()
            .stderr(Stdio::piped())
            .spawn()
            .expect("the broker starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (mut release, mut admin) = (None, None);
        for line in lines.by_ref() {
            let line: serde_json::Value = serde_json::from_str(&line.expect("text")).expect("JSON");
            let address = || line["address"].as_str().expect("an address").parse().ok();
            match (line["event"].as_str(), line["what"].as_str()) {
                (Some("listening"), Some("release")) => release = address(),
                (Some("listening"), Some("admin")) => admin = address(),
                (Some("started"), _) => break,
                (Some("failed"), _) => panic!("{line}"),
                _ => {}
            }
        }
        // Read on, so that the broker never waits for the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            release: release.expect("listens"),
            admin: admin.expect("listens"),
        }
    }

    fn kill(mut self) {
        self.child.kill().expect("kills");
        self.child.wait().expect("ends");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_at_any_moment_leaves_no_release_without_its_record() {
    let deployment = Deployment::new(Options::default());
    let enclave = Arc::new(Enclave::new(Flavor::Snp));
    let process = Process::start(&deployment);
    let owner = Owner::new(process.admin, &deployment.owner);
    let answer = owner
        .register(MODEL, MANIFEST, 1, &deployment.policy(&enclave))
        .await;
    assert_eq!(answer.status, 200, "{:?}", answer.json);
    process.kill();

    let mut received = BTreeSet::new();
    for round in 0..8u64 {
        let process = Process::start(&deployment);
        let address = process.release;
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let enclave = enclave.clone();
                tokio::spawn(async move {
                    let mut indexes = Vec::new();
                    // Until the broker is gone.
                    while let Ok(Ok(mut session)) =
                        timeout(Duration::from_secs(2), enclave.try_connect(address)).await
                    {
                        let bundle = enclave
                            .bundle(&session.nonce(&enclave))
                            .encode()
                            .expect("within bounds");
                        let model_id = wire::ids::ModelId::new(MODEL).expect("well-formed");
                        session
                            .send(&wire::release::ReleaseRequest { model_id, bundle }.to_cbor())
                            .await;
                        let Ok(Ok(answer)) = timeout(Duration::from_secs(2), session.answer()).await else {
                            break;
                        };
                        indexes.extend(index(&answer));
                    }
                    indexes
                })
            })
            .collect();
        sleep(Duration::from_millis(120 + 37 * round)).await;
        process.kill();
        for client in clients {
            for index in client.await.expect("no panic") {
                assert!(received.insert(index), "two releases under one record");
            }
        }
    }
    assert!(!received.is_empty(), "nothing was ever released");

    // Every key that arrived has its record; there may be records whose key never left.
    let broker = deployment.start().await;
    let owner = Owner::new(broker.addresses().admin, &deployment.owner);
    let log = owner.log().await;
    for index in &received {
        assert_eq!(log[*index as usize]["event"], "key-release", "{index}");
    }
    let recorded = log.iter().filter(|entry| entry["event"] == "key-release").count();
    assert!(recorded >= received.len());
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_the_process_in_order_and_the_log_can_be_exported() {
    let deployment = Deployment::new(Options::default());
    let config = deployment.path("broker.toml");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adyton-broker"));
        command
            .args(arguments)
            .arg("--config")
            .arg(&config)
            .output()
            .expect("runs")
    };
    assert!(run(&["init"]).status.success());
    let empty = run(&["audit", "verify"]);
    assert_eq!(empty.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&empty.stderr).contains("log-empty"));

    let mut process = Process::start(&deployment);
    let enclave = Enclave::new(Flavor::Snp);
    let owner = Owner::new(process.admin, &deployment.owner);
    let answer = owner
        .register(MODEL, MANIFEST, 1, &deployment.policy(&enclave))
        .await;
    assert_eq!(answer.status, 200, "{:?}", answer.json);
    let _ = released(enclave.ask(process.release).await);
    let busy = run(&["audit", "verify"]);
    assert!(String::from_utf8_lossy(&busy.stderr).contains("already-running"));
    let pid = process.child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill runs")
            .success()
    );
    let status = tokio::task::spawn_blocking(move || process.child.wait())
        .await
        .expect("no panic");
    assert!(status.expect("ends").success());

    let verified = run(&["audit", "verify", "--json"]);
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stderr)
    );
    let report: serde_json::Value = serde_json::from_slice(&verified.stdout).expect("JSON");
    assert_eq!(report["entries"], 2);
    let exported = run(&["audit", "export"]);
    let lines: Vec<_> = exported
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| audit::Entry::parse(line).is_ok()));
}
