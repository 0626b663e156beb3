//! The main job in a SIMULATED machine that boots the measured image, and what each change of what it is launched with
//! ends in: the broker releases no key, or the machine halts.
//!
//! The image is `scripts/build-image --simulated`'s, in target/image/simulated or where `ADYTON_TEST_IMAGE` says.

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    time::{Duration, Instant},
};

use harness::deployment::{Deployment, binary, succeed, workspace};
use serde_json::Value;
use toml::Table;

use crate::main_job::{QUESTION, ask, written_answer};

/// An emulated machine boots in ten seconds; a loaded computer gets much more.
const LAUNCH_SECONDS_MAX: u64 = 280;
/// Machines at a time.
const MACHINES: usize = 2;
const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// The image, or `None` said plainly. One that is named must be there.
pub(crate) fn image() -> Option<PathBuf> {
    let named = std::env::var_os("ADYTON_TEST_IMAGE").map(PathBuf::from);
    let required = named.is_some();
    let folder = named.unwrap_or_else(|| workspace().join("target/image/simulated"));
    if folder.join("firmware.fd").is_file() {
        return Some(folder);
    }
    assert!(!required, "no simulated image in {}", folder.display());
    eprintln!(
        "NOT RUN: no simulated image in {}: scripts/build-image --simulated",
        folder.display()
    );
    None
}

/// A launch that differs in one thing from the deployment's own.
pub(crate) struct Launch<'a> {
    pub(crate) folder: &'a Path,
    host: Table,
}

impl Launch<'_> {
    fn machine(&mut self) -> &mut Table {
        self.host["simulated_vm"].as_table_mut().expect("a table")
    }

    pub(crate) fn set(&mut self, key: &str, value: impl Into<toml::Value>) {
        self.machine().insert(key.to_owned(), value.into());
    }

    pub(crate) fn text(&mut self, key: &str) -> String {
        self.machine()[key].as_str().expect("a text").to_owned()
    }

    /// Launches a changed copy of the file that `key` names.
    pub(crate) fn change_file(&mut self, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.text(key)).expect("a file of the image");
        change(&mut bytes);
        let copy = self.folder.join(key);
        fs::write(&copy, bytes).expect("ours");
        self.set(key, copy.to_str().expect("UTF-8"));
    }

    /// Gives QEMU more than the launcher does.
    fn add_arguments(&mut self, arguments: &str) {
        let script = self.folder.join("qemu");
        fs::write(&script, format!("#!/bin/sh\nexec {QEMU} \"$@\" {arguments}\n")).expect("ours");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("ours");
        self.set("qemu", script.to_str().expect("UTF-8"));
    }

    /// Supplies another archive: of the deployment's files after `change`.
    fn change_supply(&mut self, change: impl FnOnce(&Path)) {
        let files = self.folder.join("files");
        fs::create_dir(&files).expect("ours");
        let tar = |arguments: &[&str]| {
            let mut tar = Command::new("tar");
            succeed(tar.args(arguments).current_dir(&files));
        };
        let supply = self.text("supply");
        tar(&["-xf", &supply]);
        change(&files);
        let copy = self.folder.join("supply.img");
        let copy = copy.to_str().expect("UTF-8");
        tar(&[
            "--format=gnu",
            "--owner=0",
            "--group=0",
            "-cf",
            copy,
            "enclave.toml",
            "model",
        ]);
        self.set("supply", copy);
    }
}

/// How a changed launch ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// The broker refuses: a clause of the appraisal fails.
    Refused(&'static str),
    /// The machine halts, and its init or its engine says why.
    Halted(&'static str),
}

/// What is changed, how, and how it ends.
pub(crate) type Tampering = (&'static str, fn(&mut Launch<'_>), End);

/// The first byte that is `found`, changed.
pub(crate) fn flip(bytes: &mut [u8], found: &[u8]) {
    let at = bytes
        .windows(found.len())
        .position(|window| window == found)
        .expect("it is there");
    bytes[at] ^= 1;
}

/// The largest file of the sealed model: its weights.
fn largest(model: &Path) -> PathBuf {
    let files = fs::read_dir(model)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path());
    files
        .max_by_key(|path| path.metadata().expect("a file").len())
        .expect("a sealed model has files")
}

const TAMPERINGS: [Tampering; 12] = [
    // A byte of the version that only people read.
    (
        "kernel",
        |launch| launch.change_file("kernel", |bytes| flip(bytes, b"debian-kernel@lists")),
        End::Refused(MEASUREMENT),
    ),
    (
        "initrd",
        |launch| launch.change_file("initrd", |bytes| flip(bytes, b"1793491200\n")),
        End::Refused(MEASUREMENT),
    ),
    (
        "command line",
        |launch| {
            let line = launch.text("command_line").replace(" slab_nomerge", "");
            launch.set("command_line", line);
        },
        End::Refused(MEASUREMENT),
    ),
    // A byte of the firmware that is erased flash.
    (
        "firmware",
        |launch| launch.change_file("firmware", |bytes| flip(bytes, &[0xff; 64])),
        End::Refused(MEASUREMENT),
    ),
    (
        "ACPI table",
        |launch| {
            let table = launch.folder.join("ssdt.aml");
            fs::write(&table, ssdt()).expect("ours");
            launch.add_arguments(&format!("-acpitable file={}", table.display()));
        },
        End::Halted("the host adds an ACPI table with code"),
    ),
    (
        "vCPU count",
        |launch| launch.set("vcpus", 2),
        End::Refused(MEASUREMENT),
    ),
    (
        "host data",
        |launch| launch.set("host_data", "01".repeat(32)),
        End::Refused("snp-host-data"),
    ),
    (
        "disk",
        |launch| launch.change_file("supply", |bytes| bytes.truncate(bytes.len() / 2)),
        End::Halted("the supply is cut"),
    ),
    (
        "model",
        |launch| {
            launch.change_supply(|files| {
                let segment = largest(&files.join("model"));
                let mut bytes = fs::read(&segment).expect("a file");
                let at = bytes.len() / 2;
                bytes[at] ^= 1;
                fs::set_permissions(&segment, fs::Permissions::from_mode(0o600)).expect("ours");
                fs::write(&segment, bytes).expect("ours");
            });
        },
        End::Halted("bit-flipped"),
    ),
    (
        "config",
        |launch| {
            launch.change_supply(|files| {
                let config = files.join("enclave.toml");
                let text = fs::read_to_string(&config).expect("a file");
                fs::write(&config, text.replace("3600", "7200")).expect("ours");
            });
        },
        End::Refused("statement-config"),
    ),
    (
        "time",
        |launch| launch.add_arguments("-rtc base=2026-01-01"),
        End::Halted("the clock is before the image"),
    ),
    (
        "device",
        |launch| launch.add_arguments("-device virtio-rng-pci,disable-legacy=on"),
        End::Halted("a device that the image does not know"),
    ),
];
/// The clause that compares launch digests.
pub(crate) const MEASUREMENT: &str = "snp-measurement";

/// The smallest table that adds code: a header (ACPI 6.5, section 5.2.6) and no instruction.
fn ssdt() -> Vec<u8> {
    let mut table = Vec::from(*b"SSDT");
    table.extend(36_u32.to_le_bytes());
    table.extend([2, 0]); // revision, checksum
    table.extend(*b"ADYTONTAMPERED");
    table.extend([1, 0, 0, 0]);
    table.extend(*b"TEST\x01\0\0\0");
    let sum = table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    table[9] = sum.wrapping_neg();
    table
}

/// What a changed launch did.
struct Outcome {
    /// The machine's console.
    boot_log: String,
    /// What the enclave and the launcher said.
    said: String,
}

impl Outcome {
    fn of(folder: &Path) -> Self {
        let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let logs = fs::read_dir(folder.join("log")).expect("ours");
        let lines = logs.map(|entry| read(&entry.expect("an entry").path()));
        Self {
            boot_log: read(&folder.join("run/boot.log")),
            said: lines.collect(),
        }
    }

    fn serves(&self) -> bool {
        self.said.contains("\"phase\":\"serving\"")
    }

    fn is_refused(&self) -> bool {
        self.said.contains("\"code\":\"evidence-rejected\"")
    }

    fn is(&self, end: End) -> bool {
        let as_expected = match end {
            End::Refused(_) => self.is_refused(),
            End::Halted(line) => {
                !self.is_refused() && (self.boot_log.contains(line) || self.said.contains(line))
            }
        };
        as_expected && !self.serves()
    }
}

/// Launches until the broker refuses, or the launcher gives up, as it does when the first run of a machine ends.
fn launch(launch: &Launch<'_>) -> Outcome {
    let config = launch.folder.join("host.toml");
    fs::write(&config, launch.host.to_string()).expect("ours");
    let output = fs::File::create(launch.folder.join("log/launcher")).expect("ours");
    let mut host = Command::new(binary("adyton-host"))
        .args(["launch", "--tee", "simulated-vm", "--json", "--config"])
        .arg(&config)
        .stdout(output.try_clone().expect("a descriptor"))
        .stderr(output)
        .spawn()
        .expect("it was built");
    let began = Instant::now();
    loop {
        let ended = host.try_wait().expect("our child").is_some();
        let outcome = Outcome::of(launch.folder);
        let late = began.elapsed() > Duration::from_secs(LAUNCH_SECONDS_MAX);
        if ended || late || outcome.serves() || outcome.is_refused() {
            let pid = rustix::process::Pid::from_child(&host);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM); // it may have ended
            let _ = host.wait();
            return outcome;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Clauses that refusals in the broker's audit log name.
fn refused_clauses(log: &Path) -> Vec<String> {
    let text = fs::read_to_string(log).expect("the broker's log");
    text.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|record| find_clause(&record))
        .collect()
}

/// The clause, wherever the record's format has it.
fn find_clause(record: &Value) -> Option<String> {
    match record {
        Value::Object(fields) => fields
            .get("clause")
            .and_then(Value::as_str)
            .map(str::to_owned)
            .or_else(|| fields.values().find_map(find_clause)),
        Value::Array(values) => values.iter().find_map(find_clause),
        _ => None,
    }
}

/// Runs one tampering in a folder of its own, against the deployment's broker.
fn tamper(state: &Path, change: fn(&mut Launch<'_>)) -> Outcome {
    let folder = tempfile::Builder::new()
        .prefix("adyton-")
        .tempdir()
        .expect("a folder");
    let host = fs::read_to_string(state.join("config/host.toml")).expect("written by up");
    let mut changed = Launch {
        folder: folder.path(),
        host: host.parse().expect("TOML"),
    };
    let own = |part: &str| toml::Value::from(folder.path().join(part).to_str().expect("UTF-8"));
    for (table, key, part) in [
        ("channel", "directory", "channel"),
        ("log", "directory", "log"),
        ("log", "audit_directory", "audit"),
        ("endorsements", "directory", "endorsements"),
        ("simulated_vm", "run_directory", "run"),
    ] {
        fs::create_dir_all(folder.path().join(part)).expect("ours");
        changed.host[table]
            .as_table_mut()
            .expect("a table")
            .insert(key.to_owned(), own(part));
    }
    if changed.machine().contains_key("network") {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        changed.set("network", port.expect("a port").to_string());
    }
    change(&mut changed);
    launch(&changed)
}

#[test]
fn the_main_job_in_a_machine_and_twelve_tamperings() {
    let Some(image) = image() else { return };
    let deployment = Deployment::start_machine(&image);

    let explained = succeed(deployment.adyton().args(["verify", "--explain"]));
    assert!(explained.contains("SIMULATED"), "{explained}");
    assert!(!explained.contains("FAIL"), "{explained}");
    assert_eq!(ask(&deployment, QUESTION).trim(), written_answer(QUESTION));

    check_booted(&deployment);
    tamper_all(deployment, &TAMPERINGS);
}

/// What the machine showed of itself is what the image's policy allows.
pub(crate) fn check_booted(deployment: &Deployment) {
    let mut check = Command::new(binary("adyton-image"));
    let log = deployment.state().join("log/boot.log");
    let found = succeed(check.arg("check-booted").arg(log));
    assert!(found.contains("PASS") && !found.contains("FAIL"), "{found}");
}

/// Each tampering ends as it should, the broker's log has the clauses, and the deployment itself still serves.
pub(crate) fn tamper_all(deployment: Deployment, tamperings: &[Tampering]) {
    let state = deployment.state();
    let next = Mutex::new(tamperings.iter());
    let faults = Mutex::new(Vec::new());
    let expected: BTreeSet<_> = tamperings
        .iter()
        .filter_map(|(_, _, end)| match end {
            End::Refused(clause) => Some((*clause).to_owned()),
            End::Halted(_) => None,
        })
        .collect();
    let work = || {
        loop {
            let Some((name, change, end)) = next.lock().expect("no panic").next() else {
                return;
            };
            let outcome = tamper(&state, *change);
            let fine = outcome.is(*end);
            eprintln!(
                "{name}: {}",
                if fine {
                    "ends as it should"
                } else {
                    "DOES NOT END AS IT SHOULD"
                }
            );
            if !fine {
                let tail: Vec<_> = outcome.boot_log.lines().rev().take(12).collect();
                let said = format!("{name}: {end:?}\n{}\n{}", tail.join("\n"), outcome.said);
                faults.lock().expect("no panic").push(said);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..MACHINES {
            scope.spawn(work);
        }
    });
    let faults = faults.into_inner().expect("no panic");
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    // The broker that refused them all still serves whom it should.
    assert_eq!(ask(&deployment, QUESTION).trim(), written_answer(QUESTION));
    let folder = deployment.stop();
    let clauses: BTreeSet<_> = refused_clauses(&state.join("audit/releases.jsonl"))
        .into_iter()
        .collect();
    assert_eq!(clauses, expected);
    drop(folder);
}
