//! From launch to attested, to serving and to the first token, in a process and in a SIMULATED machine that boots the
//! image; the sizes of the image; the enclave's memory.
//!
//! `cargo run --release --workspace --example machine_speed [ROUNDS]`, after `scripts/build-image --simulated`

#![allow(clippy::print_stdout, reason = "a command for a person")]

use std::{
    fs,
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use harness::deployment::{Deployment, binary, workspace};
use serde_json::Value;
use toml::Table;

const MIB: f64 = 1_048_576.0;
const LAUNCH_SECONDS_MAX: u64 = 280;

/// Seconds since the launcher was started.
struct Launch {
    attested: f64,
    serving: f64,
    first_token: f64,
}

fn main() {
    let rounds = std::env::args()
        .nth(1)
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(3);
    let image = workspace().join("target/image/simulated");
    for name in ["vmlinuz", "initrd.cpio", "adyton.efi"] {
        let bytes = fs::metadata(image.join(name)).expect("the image was built").len();
        println!("{name:<28} {:>8.1} MiB", bytes as f64 / MIB);
    }
    let process = Deployment::start("snp");
    let model =
        fs::metadata(workspace().join("models/sample/model.safetensors")).map_or(0, |file| file.len());
    println!(
        "enclave at its peak          {:>8.1} MiB, {:.1} of them the model",
        peak_mib(process.pid("enclave")),
        model as f64 / MIB
    );
    report("process", "simulated", process, rounds);
    report(
        "machine",
        "simulated-vm",
        Deployment::start_machine(&image),
        rounds,
    );
}

fn report(name: &str, tee: &str, deployment: Deployment, rounds: usize) {
    let state = deployment.state();
    let launches: Vec<_> = (0..rounds).map(|_| launch(&state, tee)).collect();
    let median = |of: fn(&Launch) -> f64| {
        let mut values: Vec<_> = launches.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!(
        "{name:<10} key released {:>6.2} s   serving {:>6.2} s   first token {:>6.2} s",
        median(|launch| launch.attested),
        median(|launch| launch.serving),
        median(|launch| launch.first_token)
    );
}

/// A launch beside the deployment's own, against its broker.
fn launch(state: &Path, tee: &str) -> Launch {
    let folder = tempfile::Builder::new()
        .prefix("adyton-")
        .tempdir()
        .expect("a folder");
    let mut host: Table = read(&state.join("config/host.toml")).parse().expect("TOML");
    for (table, key) in [
        ("channel", "directory"),
        ("log", "directory"),
        ("log", "audit_directory"),
        ("endorsements", "directory"),
        ("simulated_vm", "run_directory"),
    ] {
        let part = folder.path().join(table);
        fs::create_dir_all(&part).expect("ours");
        if let Some(table) = host.get_mut(table).and_then(toml::Value::as_table_mut) {
            table.insert(key.to_owned(), part.to_str().expect("UTF-8").into());
        }
    }
    let config = folder.path().join("host.toml");
    fs::write(&config, host.to_string()).expect("ours");
    let log = folder.path().join("launcher");
    let started = Instant::now();
    let mut host = Command::new(binary("adyton-host"))
        .args(["launch", "--json", "--tee", tee, "--config"])
        .arg(&config)
        .stdout(fs::File::create(&log).expect("ours"))
        .stderr(Stdio::null())
        .spawn()
        .expect("it was built");
    let enclave = folder.path().join("log/enclave.jsonl");
    let attested = wait_for(&enclave, started, |line| {
        (line["event"] == "key-released").then(String::new)
    })
    .1;
    let serving = wait_for(&log, started, |line| {
        (line["phase"] == "serving").then(String::new)
    })
    .1;
    let (relay, _) = wait_for(&log, started, |line| line["relay"].as_str().map(str::to_owned));
    let mut client: Table = read(&state.join("config/client.toml")).parse().expect("TOML");
    client.insert("url".to_owned(), format!("https://{relay}").into());
    let client_config = folder.path().join("client.toml");
    fs::write(&client_config, client.to_string()).expect("ours");
    let mut chat = Command::new(binary("adyton"))
        .arg("--config")
        .arg(&client_config)
        .args(["chat", "What does remote attestation prove?"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it was built");
    let mut first = [0];
    let answered = chat
        .stdout
        .take()
        .expect("piped")
        .read(&mut first)
        .expect("it answers");
    let first_token = started.elapsed().as_secs_f64();
    assert_eq!(answered, 1, "the enclave answers");
    let _ = chat.wait();
    let pid = rustix::process::Pid::from_child(&host);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    let _ = host.wait();
    Launch {
        attested,
        serving,
        first_token,
    }
}

/// What a line of a log says, and when it was there.
fn wait_for(log: &Path, started: Instant, found: impl Fn(&Value) -> Option<String>) -> (String, f64) {
    loop {
        let text = fs::read_to_string(log).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        if let Some(found) = lines.into_iter().find_map(|line| found(&line)) {
            return (found, started.elapsed().as_secs_f64());
        }
        assert!(
            started.elapsed().as_secs() < LAUNCH_SECONDS_MAX,
            "no answer:\n{text}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("it is there")
}

/// The most memory that a process has had resident.
fn peak_mib(pid: u32) -> f64 {
    let status = read(Path::new(&format!("/proc/{pid}/status")));
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("a process has memory");
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib / 1024.0
}
