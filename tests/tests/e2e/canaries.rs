//! The measurable privacy promise: unique canaries in a prompt, a completion, an API token, the model key and a weight
//! row; a hundred requests; none of them, in any encoding, in what an untrusted party holds: the host's memory, any file
//! it or the broker writes, any log, the metrics, or the traffic on either side of the host.
//!
//! The same search then finds leaks that the test makes on purpose.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use harness::{
    canary::{Canary, Hit, search_bytes, search_files, search_process},
    deployment::{Deployment, binary, succeed, workspace},
    tap::Tap,
};
use sealed_model::{TenantKek, Wrap, WrapContext};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::main_job::written_answer;

const REQUESTS: usize = 100;
const QUESTION: &str = "What does remote attestation prove?";

/// A second host in front of the deployment's broker, with taps on both of its sides and files of its own.
struct TappedHost {
    child: Child,
    relay: Tap,
    broker: Tap,
    ops: SocketAddr,
    enclave_pid: u32,
}

impl TappedHost {
    fn launch(deployment: &Deployment, folder: &Path) -> Self {
        let text =
            std::fs::read_to_string(deployment.state().join("config/host.toml")).expect("written by up");
        let mut config: toml::Table = text.parse().expect("TOML");
        let released_at: SocketAddr = text_at(&config, "broker", "address").parse().expect("an address");
        let broker = Tap::new(released_at).expect("loopback");
        set(&mut config, "broker", "address", &broker.address().to_string());
        set(
            &mut config,
            "channel",
            "directory",
            path_text(&folder.join("channel")),
        );
        set(&mut config, "log", "directory", path_text(&folder.join("log")));
        set(
            &mut config,
            "log",
            "audit_directory",
            path_text(&folder.join("audit")),
        );
        let file = folder.join("host.toml");
        std::fs::write(&file, config.to_string()).expect("the folder is ours");

        let mut child = Command::new(binary("adyton-host"))
            .args(["launch", "--tee", "simulated", "--json", "--config"])
            .arg(file)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it was built");
        let mut events = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut listening = None;
        let mut enclave_pid = 0;
        for line in events.by_ref().map_while(Result::ok) {
            let event: Value = serde_json::from_str(&line).expect("one JSON object a line");
            match event["event"].as_str() {
                Some("listening") => listening = Some(event),
                Some("started") => enclave_pid = event["pid"].as_u64().expect("a pid") as u32,
                Some("phase") if event["phase"] == "serving" => break,
                _ => {}
            }
        }
        std::thread::spawn(move || events.for_each(drop)); // so that the host's pipe never fills
        let listening = listening.expect("the host said where it listens");
        let address = |key: &str| {
            listening[key]
                .as_str()
                .expect("an address")
                .parse()
                .expect("an address")
        };
        let relay = Tap::new(address("relay")).expect("loopback");
        Self {
            child,
            relay,
            broker,
            ops: address("ops"),
            enclave_pid,
        }
    }
}

impl Drop for TappedHost {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

fn stop(child: &mut Child) {
    let pid = rustix::process::Pid::from_child(child);
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM); // it may have ended
    let _ = child.wait();
}

/// `adyton proxy` towards the tapped host.
struct TappedProxy {
    child: Child,
    address: SocketAddr,
}

impl TappedProxy {
    fn start(deployment: &Deployment, host: SocketAddr, token_file: &Path, folder: &Path) -> Self {
        let ready = folder.join("proxy.json");
        let child = deployment
            .adyton()
            .args(["proxy", "--listen", "127.0.0.1:0", "--quiet", "--url"])
            .arg(format!("https://{host}"))
            .arg("--token-file")
            .arg(token_file)
            .arg("--ready-file")
            .arg(&ready)
            .stdout(Stdio::null())
            .spawn()
            .expect("it was built");
        let started = Instant::now();
        let run: Value = loop {
            if let Some(run) = std::fs::read(&ready)
                .ok()
                .and_then(|text| serde_json::from_slice(&text).ok())
            {
                break run;
            }
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "the proxy is not ready"
            );
            std::thread::sleep(Duration::from_millis(20));
        };
        let base = run["base_url"].as_str().expect("a URL");
        let address = base
            .trim_start_matches("http://")
            .split('/')
            .next()
            .expect("an authority");
        Self {
            child,
            address: address.parse().expect("an address"),
        }
    }

    /// The body of the answer to one chat request.
    fn chat(&self, body: &Value) -> String {
        let body = body.to_string();
        let mut socket = TcpStream::connect(self.address).expect("the proxy listens");
        write!(
            socket,
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .expect("the proxy reads");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("a whole answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer
    }
}

impl Drop for TappedProxy {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// What is planted, and what it reads as.
struct Planted {
    canaries: Vec<Canary>,
    prompt: String,
}

fn plant(deployment: &Deployment, token: &str) -> Planted {
    let mut random = [0; 24];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut random))
        .expect("random bytes");
    let prompt = format!("canary {}", hex::encode(random));
    let answer = written_answer(QUESTION);
    let (identity, signature) = token.trim().rsplit_once('.').expect("a token has a signature");
    Planted {
        canaries: vec![
            Canary::new("prompt", prompt.as_bytes()),
            Canary::new("completion", &answer.as_bytes()[..40]),
            Canary::new("token", signature.as_bytes()),
            Canary::new("token identity", identity.as_bytes()),
            Canary::new("model key", &*model_key(deployment)),
            Canary::new("weight row", &weight_row()),
        ],
        prompt,
    }
}

/// The key that `adyton seal` drew, unwrapped with the broker's key-encryption key.
fn model_key(deployment: &Deployment) -> Zeroizing<[u8; 32]> {
    let state = deployment.state();
    let read = |path: PathBuf| std::fs::read_to_string(path).expect("written by up");
    let wraps: Value =
        serde_json::from_str(&read(state.join("models/sample.sealed/wraps.json"))).expect("JSON");
    let wrap: Wrap = serde_json::from_value(wraps["wraps"][0].clone()).expect("a wrap");
    let kek = read(state.join("broker/kek.key"));
    let bytes = kek
        .lines()
        .last()
        .and_then(|line| line.split(' ').nth(2))
        .expect("tag, version, key");
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, bytes).expect("base64");
    let kek = TenantKek::from_bytes(
        &wrap.kek_id,
        wrap.version,
        Zeroizing::new(bytes.try_into().expect("32 bytes")),
    );
    let inspected = succeed(
        Command::new(binary("adyton-seal"))
            .args(["inspect", "--json"])
            .arg(state.join("models/sample.sealed")),
    );
    let inspected: Value = serde_json::from_str(&inspected).expect("JSON");
    let digest = hex::decode(inspected["manifest_digest"].as_str().expect("a digest")).expect("hex");
    let context = WrapContext {
        model_id: inspected["model_id"].as_str().expect("an id"),
        manifest_digest: &digest.try_into().expect("32 bytes"),
    };
    Zeroizing::new(
        *kek.unwrap(&wrap, &context)
            .expect("the broker's key opens its wrap")
            .expose_bytes(),
    )
}

/// Sixty-four bytes from the middle of the weights.
fn weight_row() -> Vec<u8> {
    let weights =
        std::fs::read(workspace().join("models/sample/model.safetensors")).expect("the sample model");
    weights[weights.len() / 2..][..64].to_vec()
}

fn text_at(config: &toml::Table, table: &str, key: &str) -> String {
    config[table][key].as_str().expect("a text").to_owned()
}

fn set(config: &mut toml::Table, table: &str, key: &str, value: &str) {
    config[table]
        .as_table_mut()
        .expect("a table")
        .insert(key.to_owned(), value.to_owned().into());
}

fn path_text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn metrics(ops: SocketAddr) -> Vec<u8> {
    let mut socket = TcpStream::connect(ops).expect("the ops listener");
    socket
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: ops\r\nconnection: close\r\n\r\n")
        .expect("it reads");
    let mut text = Vec::new();
    socket.read_to_end(&mut text).expect("a whole answer");
    text
}

#[test]
fn no_untrusted_party_holds_a_canary_and_a_leak_would_be_found() {
    let deployment = Deployment::start("snp");
    let client = tempfile::tempdir().expect("temporary folder"); // the client's own: its token file is no leak
    let untrusted = tempfile::Builder::new()
        .prefix("adyton-host-")
        .tempdir()
        .expect("temporary folder");

    let token_file = client.path().join("canary.token");
    succeed(
        Command::new(binary("adyton"))
            .args([
                "token",
                "new",
                "--tenant",
                "canary-tenant",
                "--expires",
                "1h",
                "--issuer-key",
            ])
            .arg(deployment.state().join("keys/token-issuer.key"))
            .arg("--out")
            .arg(&token_file),
    );
    let token = std::fs::read_to_string(&token_file).expect("just made");
    let planted = plant(&deployment, &token);
    let host = TappedHost::launch(&deployment, untrusted.path());
    let proxy = TappedProxy::start(&deployment, host.relay.address(), &token_file, client.path());

    let answer = written_answer(QUESTION);
    for round in 0..REQUESTS {
        let prompt = if round % 2 == 0 { QUESTION } else { &planted.prompt };
        let body = json!({
            "model": deployment.run("model"),
            "stream": round % 4 < 2,
            "temperature": 0,
            "max_tokens": 80,
            "messages": [{"role": "user", "content": prompt}],
        });
        let said = proxy.chat(&body);
        if round % 4 == 2 {
            assert!(said.contains(&answer), "the completion canary was spoken: {said}");
        }
    }

    let mut hits = Vec::new();
    let relayed = host.relay.captured();
    let to_broker = host.broker.captured();
    let counted = metrics(host.ops);
    assert!(
        relayed.len() > REQUESTS * 1000 && to_broker.len() > 4000,
        "the taps saw the traffic"
    );
    assert!(String::from_utf8_lossy(&counted).contains("adyton_host_requests_total"));
    hits.extend(search_bytes(
        "traffic between client and host",
        &relayed,
        &planted.canaries,
    ));
    hits.extend(search_bytes(
        "traffic between host and broker",
        &to_broker,
        &planted.canaries,
    ));
    hits.extend(search_bytes("metrics of the host", &counted, &planted.canaries));
    for (name, pid) in [
        ("adyton-host", host.child.id()),
        ("adyton-broker", deployment.pid("broker")),
    ] {
        let (found, extent) = search_process(name, pid, &planted.canaries).expect("the test may read it");
        assert!(extent.bytes > 1 << 20, "{name}: {extent:?}");
        // The broker holds the key-encryption key and so, by its role, every model key; it must never hold the rest.
        let by_role = |hit: &Hit| name == "adyton-broker" && hit.canary == "model key";
        hits.extend(found.into_iter().filter(|hit| !by_role(hit)));
    }
    for folder in [untrusted.path(), &deployment.state()] {
        let (found, extent) = search_files(folder, &planted.canaries, &|_| false);
        assert!(extent.places > 3, "{}: {extent:?}", folder.display());
        hits.extend(found);
    }
    assert_eq!(hits, Vec::<Hit>::new());
    assert!(
        Path::new(&format!("/proc/{}", host.enclave_pid)).exists(),
        "the enclave served to the end"
    );

    nothing_of_an_answered_request_stays(&host, &deployment, &planted);
    leaks_are_found(&host, untrusted.path(), &planted);
}

/// The enclave itself: what it is configured with is in its memory, what it has answered is not.
fn nothing_of_an_answered_request_stays(host: &TappedHost, deployment: &Deployment, planted: &Planted) {
    let config =
        std::fs::read_to_string(deployment.state().join("config/enclave.toml")).expect("written by up");
    let config: toml::Table = config.parse().expect("TOML");
    let owner = hex::decode(config["owner_key"].as_str().expect("a text")).expect("hex");
    let search = |canaries: &[Canary]| -> Vec<&str> {
        let (hits, extent) =
            search_process("adyton-enclave", host.enclave_pid, canaries).expect("the test may read it");
        assert!(extent.bytes > 16 << 20, "{extent:?}");
        hits.iter().map(|hit| hit.canary).collect()
    };
    assert_eq!(
        search(&[Canary::new("owner", &owner)]),
        ["owner"],
        "the enclave's memory is searched"
    );
    let of_requests = ["prompt", "completion", "token", "token identity"];
    let mut held = search(&planted.canaries);
    held.retain(|name| of_requests.contains(name));
    assert_eq!(held, [""; 0], "what the enclave still holds");
}

/// The positive control: a log line, a body that was never sealed, a key in a file, weights in a file.
fn leaks_are_found(host: &TappedHost, folder: &Path, planted: &Planted) {
    let encoded = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        planted.prompt.as_bytes(),
    );
    std::fs::write(
        folder.join("log/leak.jsonl"),
        format!("{{\"debug\":\"{encoded}\"}}\n"),
    )
    .expect("ours");
    std::fs::write(folder.join("weights.tmp"), weight_row()).expect("ours");
    let (hits, _) = search_files(folder, &planted.canaries, &|_| false);
    let found = |name: &str| hits.iter().any(|hit| hit.canary == name);
    assert!(found("prompt") && found("weight row"), "{hits:?}");

    // A prompt sent unsealed reaches the host's memory; the host holds the open connection while we look.
    let address = {
        let text = String::from_utf8_lossy(&metrics(host.ops)).into_owned();
        assert!(text.contains("200"));
        host.ops
    };
    let mut socket = TcpStream::connect(address).expect("the ops listener");
    write!(
        socket,
        "POST /metrics HTTP/1.1\r\nhost: ops\r\nx-leak: {}\r\n",
        planted.prompt
    )
    .expect("it reads");
    socket.flush().expect("sent");
    std::thread::sleep(Duration::from_millis(300));
    let (hits, _) = search_process("adyton-host", host.child.id(), &planted.canaries).expect("readable");
    assert!(
        hits.iter().any(|hit| hit.canary == "prompt"),
        "the host's memory is searched: {hits:?}"
    );
    assert!(!search_bytes("traffic", format!("x={encoded}").as_bytes(), &planted.canaries).is_empty());
}
