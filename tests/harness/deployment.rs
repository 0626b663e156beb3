//! One SIMULATED deployment, run by `adyton up` exactly as a user runs it, in a folder of its own.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use serde_json::Value;

/// A start takes about a second, that of an emulated machine ten; a loaded computer gets much more.
const START_SECONDS_MAX: u64 = 300;

/// A running deployment; dropping it stops everything it started.
pub struct Deployment {
    folder: tempfile::TempDir,
    up: Child,
    run: Value,
}

impl Deployment {
    /// Starts one with the sample model; `flavor` is `snp` or `tdx`.
    pub fn start(flavor: &str) -> Self {
        Self::start_in(
            tempfile::Builder::new()
                .prefix("adyton-")
                .tempdir()
                .expect("temporary folder"),
            flavor,
        )
    }

    /// Starts one that seals and serves the model in `model`.
    pub fn start_with_model(model: &Path, flavor: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("adyton-")
            .tempdir()
            .expect("temporary folder");
        Self::launch(folder, &["--flavor".as_ref(), flavor.as_ref()], model)
    }

    /// Starts one whose enclave is a SIMULATED machine that boots the image in `image`.
    pub fn start_machine(image: &Path) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("adyton-")
            .tempdir()
            .expect("temporary folder");
        Self::launch(folder, &["--vm".as_ref(), image.as_ref()], &sample_model())
    }

    /// The same as a machine like one of Azure's: it boots from a disk, has a vTPM, and is reached over its network.
    pub fn start_azure_like_machine(image: &Path) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("adyton-")
            .tempdir()
            .expect("temporary folder");
        let kind = [
            "--vm".as_ref(),
            image.as_ref(),
            "--azure-like".as_ref(),
            "--network".as_ref(),
        ];
        Self::launch(folder, &kind, &sample_model())
    }

    /// Starts one over what `folder` holds already.
    pub fn start_in(folder: tempfile::TempDir, flavor: &str) -> Self {
        Self::launch(folder, &["--flavor".as_ref(), flavor.as_ref()], &sample_model())
    }

    fn launch(folder: tempfile::TempDir, kind: &[&OsStr], model: &Path) -> Self {
        let ready = folder.path().join("ready.json");
        let _ = std::fs::remove_file(&ready); // left by an earlier start
        let log = std::fs::File::create(folder.path().join("up.log")).expect("the folder is ours");
        let mut up = Command::new(binary("adyton"))
            .arg("up")
            .args(kind)
            .arg("--dir")
            .arg(folder.path().join("state"))
            .arg("--ready-file")
            .arg(&ready)
            .arg("--model")
            .arg(model)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .spawn()
            .expect("adyton was built");
        let started = Instant::now();
        let run = loop {
            if let Some(run) = std::fs::read(&ready)
                .ok()
                .and_then(|text| serde_json::from_slice(&text).ok())
            {
                break run;
            }
            let said = || std::fs::read_to_string(folder.path().join("up.log")).unwrap_or_default();
            if let Some(status) = up.try_wait().expect("our child") {
                panic!(
                    "adyton up ended ({status}):\n{}\n{}",
                    said(),
                    logs(&folder.path().join("state"))
                );
            }
            if started.elapsed() > Duration::from_secs(START_SECONDS_MAX) {
                let _ = up.kill();
                panic!("adyton up was not ready in {START_SECONDS_MAX} s:\n{}", said());
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        Self { folder, up, run }
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// A text of run.json.
    pub fn run(&self, key: &str) -> &str {
        self.run[key]
            .as_str()
            .unwrap_or_else(|| panic!("run.json has {key}: {}", self.run))
    }

    /// The process id of `adyton up`, which holds client, proxy and secrets.
    pub fn up_pid(&self) -> u32 {
        self.up.id()
    }

    /// Process ids by name, the enclave's (a child of the host) among them.
    pub fn pid(&self, name: &str) -> u32 {
        if name == "enclave" {
            let host = self.pid("host");
            return processes()
                .into_iter()
                .find(|process| process.parent == host)
                .unwrap_or_else(|| panic!("the host {host} has no child"))
                .pid;
        }
        let pids = self.run["pids"].as_object().expect("run.json has pids");
        let found = pids
            .iter()
            .find(|(key, _)| key.contains(name))
            .and_then(|(_, pid)| pid.as_u64());
        u32::try_from(found.unwrap_or_else(|| panic!("run.json has no pid of {name}: {}", self.run)))
            .expect("a pid")
    }

    /// The `adyton` command with this deployment's client configuration.
    pub fn adyton(&self) -> Command {
        let mut command = Command::new(binary("adyton"));
        command
            .arg("--config")
            .arg(self.run("client_config"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// Stops it as Ctrl-C does and returns the folder, so that it can be looked at or started again.
    pub fn stop(mut self) -> tempfile::TempDir {
        terminate(&mut self.up);
        std::mem::replace(&mut self.folder, tempfile::tempdir().expect("temporary folder"))
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        terminate(&mut self.up);
    }
}

fn terminate(up: &mut Child) {
    if matches!(up.try_wait(), Ok(None)) {
        let pid = rustix::process::Pid::from_child(up);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM); // it may have just ended
        let _ = up.wait();
    }
}

/// Standard output of a command that must succeed.
pub fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("it was built");
    assert!(output.status.success(), "{command:?}: {}", told(&output));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Both outputs of a command, for messages.
pub fn told(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!(
        "{}\n{}\n{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    )
}

/// A process of this machine.
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its parent's id.
    pub parent: u32,
    /// Its executable's name, at most 15 bytes.
    pub name: String,
}

/// All processes that can be seen.
pub fn processes() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
            let parent = rest.split_whitespace().nth(1)?.parse().ok()?;
            Some(Process {
                pid,
                parent,
                name: name.to_owned(),
            })
        })
        .collect()
}

/// The repository.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("tests is in the workspace")
}

fn sample_model() -> PathBuf {
    workspace().join("models/sample")
}

/// A binary of the workspace; all of them are built once where that has not happened.
pub fn binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        // target/release/{deps,examples}/this -> target/release
        let this = std::env::current_exe().expect("this process has a file");
        let folder = this
            .ancestors()
            .nth(2)
            .expect("target/<profile>/<kind>/<this>")
            .to_owned();
        let status = Command::new(env!("CARGO"))
            .args([
                "build",
                "--release",
                "--locked",
                "--workspace",
                "--bins",
                "--quiet",
            ])
            .current_dir(workspace())
            .status()
            .expect("cargo runs: it ran this test");
        assert!(status.success(), "the binaries do not build");
        folder
    });
    folder.join(name)
}

/// What the processes of a deployment have said, for the message of a failed test.
fn logs(state: &Path) -> String {
    let mut said = String::new();
    for entry in std::fs::read_dir(state.join("log"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        let tail: Vec<_> = text.lines().rev().take(15).collect();
        said.push_str(&format!("--- {}\n", entry.path().display()));
        for line in tail.into_iter().rev() {
            said.push_str(line);
            said.push('\n');
        }
    }
    said
}
