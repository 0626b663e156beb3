//! `adyton up` as a person runs it: SIMULATED, with the other binaries as they were built.

#![allow(clippy::print_stdout, reason = "a test says what it did not run")]

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

const ADYTON: &str = env!("CARGO_BIN_EXE_adyton");
const SIBLINGS: [&str; 4] = [
    "adyton-broker",
    "adyton-host",
    "adyton-enclave-simulated",
    "adyton-seal",
];
/// How long a start may take on a busy machine.
const READY_SECONDS_MAX: u64 = 180;

/// Whether the other binaries were built; says plainly when these tests could not run.
fn siblings_are_built() -> bool {
    let missing: Vec<_> = SIBLINGS
        .iter()
        .filter(|name| !Path::new(ADYTON).with_file_name(name).is_file())
        .collect();
    if missing.is_empty() {
        return true;
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "not built: {missing:?}"
    );
    println!("NOT RUN: {missing:?} are not built; run cargo build --release --workspace --bins first");
    false
}

fn adyton(arguments: &[&str]) -> Command {
    let mut command = Command::new(ADYTON);
    command
        .args(arguments)
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("PATH", "/usr/bin:/bin");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> Output {
    adyton(arguments).output().expect("the binary starts")
}

struct Up {
    child: Child,
    run: Value,
}

impl Up {
    fn start(dir: &Path, extra: &[&str]) -> Self {
        let ready = dir.with_extension("ready");
        let _ = std::fs::remove_file(&ready);
        let mut arguments = vec!["up", "--dir", text(dir), "--ready-file", text(&ready)];
        arguments.extend(extra);
        let mut child = adyton(&arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("it starts");
        let began = Instant::now();
        while !ready.exists() {
            if let Some(status) = child.try_wait().expect("our child") {
                panic!("up ended with {status}");
            }
            assert!(began.elapsed().as_secs() < READY_SECONDS_MAX, "up is not ready");
            std::thread::sleep(Duration::from_millis(50));
        }
        let run = serde_json::from_slice(&std::fs::read(&ready).expect("readable")).expect("JSON");
        Self { child, run }
    }

    /// This process and everything below it.
    fn family(&self) -> Vec<u32> {
        let mut family = vec![self.child.id()];
        let mut at = 0;
        while at < family.len() {
            family.extend(children_of(family[at]));
            at += 1;
        }
        family
    }

    fn signal(&mut self, name: &str) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &pid])
                .status()
                .expect("kill(1)")
                .success()
        );
        self.child.wait().expect("our child").code()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn children_of(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<u32>>()
        })
        .collect()
}

fn all_gone(family: &[u32]) -> bool {
    let began = Instant::now();
    let alive = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !status.is_empty() && !status.contains(") Z ")
    };
    while family.iter().any(alive) {
        if began.elapsed() > Duration::from_secs(15) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn code_of(output: &Output) -> String {
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    document["error"]["code"].as_str().unwrap_or_default().to_owned()
}

fn every_file(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("readable").flatten();
    entries
        .flat_map(|entry| {
            if entry.path().is_dir() {
                every_file(&entry.path())
            } else {
                vec![entry.path()]
            }
        })
        .collect()
}

#[test]
fn up_serves_refuses_a_second_start_keeps_its_state_and_leaves_no_orphan() {
    if !siblings_are_built() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary directory");
    let dir = folder.path().join("state");
    let mut up = Up::start(&dir, &[]);
    assert_eq!(up.run["assurance"], "simulated");
    let family = up.family();
    assert!(family.len() >= 4, "broker, host and enclave run: {family:?}");
    let config = dir.join("config/client.toml");
    let with_config = |arguments: &[&str]| run(&[&["--config", text(&config)], arguments].concat());

    let verified = with_config(&["verify", "--json"]);
    assert_eq!(
        verified.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&verified.stdout)
    );
    let asked = with_config(&[
        "chat",
        "--json",
        "--max-tokens",
        "60",
        "What does remote attestation prove?",
    ]);
    let answer: Value = serde_json::from_slice(&asked.stdout).expect("JSON");
    assert!(
        answer["answer"]
            .as_str()
            .is_some_and(|text| text.contains("attestation")),
        "{answer}"
    );
    assert_eq!(answer["receipt"]["verified"], true);
    for log in ["audit/requests.jsonl", "audit/releases.jsonl"] {
        let checked = with_config(&["audit", "verify", "--json", text(&dir.join(log))]);
        assert_eq!(
            checked.status.code(),
            Some(0),
            "{log}: {}",
            String::from_utf8_lossy(&checked.stdout)
        );
    }

    let foreign = folder.path().join("foreign");
    client::up::pki::issue(&foreign, client::discovery::now()).expect("another CA");
    let foreign = foreign.join("ca.pem");
    let unknown = with_config(&["verify", "--json", "--ca", text(&foreign)]);
    assert_eq!(
        (unknown.status.code(), code_of(&unknown).as_str()),
        (Some(1), "host-unreachable")
    );

    let second = run(&["--json", "up", "--dir", text(&dir)]);
    assert_eq!(
        (second.status.code(), code_of(&second).as_str()),
        (Some(1), "already-running")
    );
    assert_eq!(up.signal("INT"), Some(0));
    assert!(all_gone(&family), "nothing runs after Ctrl-C");
    assert!(!dir.join("run.json").exists());

    for file in every_file(&dir) {
        let mode = file.metadata().expect("a file").permissions().mode() & 0o777;
        let secret = file
            .extension()
            .is_some_and(|kind| kind == "key" || kind == "token");
        assert!(!secret || mode == 0o600, "{} is {mode:o}", file.display());
    }
    assert_eq!(
        dir.metadata().expect("a folder").permissions().mode() & 0o777,
        0o700
    );
    no_weights_in(&dir);

    // The second start uses the sealed model of the first, and dies with everything below it even when it is killed.
    let manifest = std::fs::read(dir.join("models/sample.sealed/manifest.json")).expect("readable");
    let mut again = Up::start(&dir, &[]);
    assert_eq!(
        std::fs::read(dir.join("models/sample.sealed/manifest.json")).expect("readable"),
        manifest
    );
    let family = again.family();
    again.signal("KILL");
    assert!(all_gone(&family), "nothing runs after SIGKILL");
}

/// A piece of the weights, as they lie in the sample model, is in no file of the state directory.
fn no_weights_in(dir: &Path) {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/sample/model.safetensors");
    let weights = std::fs::read(sample).expect("the sample model");
    let piece = &weights[weights.len() / 2..weights.len() / 2 + 64];
    for file in every_file(dir) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        assert!(
            !bytes.windows(piece.len()).any(|window| window == piece),
            "weights in {}",
            file.display()
        );
    }
}

#[test]
fn a_rolled_back_model_is_refused_and_a_new_one_gets_the_next_version() {
    if !siblings_are_built() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary directory");
    let dir = folder.path().join("state");
    let (sealed, kept) = (dir.join("models/sample.sealed"), folder.path().join("kept"));
    Up::start(&dir, &["--flavor", "snp"]).signal("TERM");
    assert!(
        Command::new("cp")
            .arg("-r")
            .args([&sealed, &kept])
            .status()
            .expect("cp(1)")
            .success()
    );
    // Other evidence is another release policy, so the model is sealed again.
    Up::start(&dir, &["--flavor", "tdx"]).signal("TERM");
    let registered = std::fs::read_to_string(dir.join("models/registered.json")).expect("readable");
    assert!(registered.contains("\"version\": 2"), "{registered}");

    std::fs::remove_dir_all(&sealed).expect("removable");
    std::fs::rename(&kept, &sealed).expect("movable");
    let refused = run(&["--json", "up", "--dir", text(&dir), "--flavor", "tdx"]);
    assert_eq!(
        (refused.status.code(), code_of(&refused).as_str()),
        (Some(1), "state-inconsistent")
    );
}

#[test]
fn a_taken_port_is_told_before_anything_starts() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let dir = folder.path().join("state");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = taken.local_addr().expect("bound").port().to_string();
    let refused = run(&["--json", "up", "--dir", text(&dir), "--port", &port]);
    assert_eq!(
        (refused.status.code(), code_of(&refused).as_str()),
        (Some(1), "port-taken")
    );
    assert!(!dir.join("pki/ca.key").exists());
}

#[test]
fn a_tethered_process_ends_with_its_parent() {
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        &format!("{ADYTON} tethered-exec $$ -- sleep 1000 & echo $!; wait"),
    ]);
    let mut shell = shell.stdout(Stdio::piped()).spawn().expect("sh(1)");
    let mut line = String::new();
    let stdout = shell.stdout.as_mut().expect("piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("readable");
    let pid: u32 = line.trim().parse().expect("a process id");
    // Only once it has become sleep is the tether in place.
    let began = Instant::now();
    while std::fs::read_to_string(format!("/proc/{pid}/comm"))
        .unwrap_or_default()
        .trim()
        != "sleep"
    {
        assert!(began.elapsed().as_secs() < 60, "it does not become sleep");
        std::thread::sleep(Duration::from_millis(10));
    }
    shell.kill().expect("our child");
    shell.wait().expect("our child");
    assert!(all_gone(&[pid]));
}

#[test]
fn a_tether_to_a_parent_that_is_gone_starts_nothing() {
    let output = run(&["tethered-exec", "1", "--", "echo", "started"]);
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(1), b"".as_slice())
    );
}
