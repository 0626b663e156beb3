//! Supervised children: none outlives this process, none inherits its environment.
//!
//! 1. Each child is this binary again, as `adyton tethered-exec PID COMMAND…`, in a process group of its own, so that a
//!    Ctrl-C reaches this process only and children are stopped in order.
//! 2. The tether asks the kernel for SIGTERM when its parent dies (`PR_SET_PDEATHSIG`, which survives exec), makes sure
//!    that the parent is still there, and becomes the command. This also holds when this process is killed with SIGKILL.
//! 3. Stopping is SIGTERM, a grace period, then SIGKILL to the whole group.

use std::{
    ffi::OsString,
    fs::File,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tokio::process::{Child as TokioChild, Command};

use crate::{error::ClientError, output::printable};

/// What a child may see of this process's environment: nothing that can hold a secret or change what code runs.
const ENVIRONMENT: [&str; 5] = ["PATH", "TMPDIR", "TZ", "LANG", "RUST_BACKTRACE"];
/// How long a child may take to stop.
const STOP_SECONDS_MAX: u64 = 10;
/// How many lines of each of a child's logs are quoted when it fails.
const LAST_LINES: usize = 3;
/// How much of such a line.
const LINE_CHARS_MAX: usize = 200;

/// A running child.
pub struct Process {
    name: &'static str,
    child: TokioChild,
    logs: Vec<PathBuf>,
    group: Pid,
}

/// The binary `name` beside this one.
pub fn sibling(name: &str) -> Result<PathBuf, ClientError> {
    let own = own_binary()?;
    let path = own.with_file_name(name);
    if path.is_file() {
        return Ok(path);
    }
    // Test binaries live one folder below the binaries of the same build.
    let above = own
        .parent()
        .and_then(Path::parent)
        .map(|folder| folder.join(name))
        .filter(|path| path.is_file());
    above.ok_or_else(|| ClientError::BinaryMissing {
        name: name.to_owned(),
        beside: own.parent().unwrap_or(Path::new("/")).to_owned(),
    })
}

fn own_binary() -> Result<PathBuf, ClientError> {
    std::env::current_exe().map_err(|source| ClientError::Read {
        path: "/proc/self/exe".into(),
        source,
    })
}

/// Becomes `command`, tied to the life of `parent`. Returns only what kept it from that.
pub fn tethered_exec(parent: u32, command: &[OsString]) -> ClientError {
    let failed = |problem: String| ClientError::Child {
        name: command[0].to_string_lossy().into_owned(),
        problem,
    };
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::TERM)) {
        return failed(format!("cannot be tied to its parent: {error}"));
    }
    // The parent may have died before the signal was asked for; then it never comes.
    let found = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if found != Some(parent) {
        return failed("has lost its parent".to_owned());
    }
    let error = std::process::Command::new(&command[0]).args(&command[1..]).exec();
    failed(format!("does not start: {error}"))
}

impl Process {
    /// Starts `binary` with its output in `log`. Must be called on the main thread: the tether is to the thread that
    /// starts the child.
    pub fn start(
        name: &'static str,
        binary: &Path,
        arguments: &[OsString],
        log: &Path,
    ) -> Result<Self, ClientError> {
        let unwritable = |source| ClientError::Write {
            path: log.to_owned(),
            source,
        };
        let output = File::create(log).map_err(unwritable)?;
        let errors = output.try_clone().map_err(unwritable)?;
        let mut command = tethered(binary, arguments)?;
        command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .kill_on_drop(true);
        let failed = |problem: String| ClientError::Child {
            name: name.to_owned(),
            problem,
        };
        let child = command
            .spawn()
            .map_err(|error| failed(format!("does not start: {error}")))?;
        let group = child
            .id()
            .and_then(|pid| Pid::from_raw(pid.cast_signed()))
            .ok_or_else(|| failed("ended at once".to_owned()))?;
        Ok(Self {
            name,
            child,
            logs: vec![log.to_owned()],
            group,
        })
    }

    /// Names another file that says why this child fails.
    pub fn also_logs_to(mut self, log: PathBuf) -> Self {
        self.logs.push(log);
        self
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.group.as_raw_nonzero().get().unsigned_abs()
    }

    /// Name in messages.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Waits until the child ends, which it is not meant to do, and says how.
    pub async fn ended(&mut self) -> ClientError {
        let waited = self.child.wait().await;
        self.end(waited)
    }

    /// The same without waiting: `None` while the child runs.
    pub fn has_ended(&mut self) -> Option<ClientError> {
        let waited = self.child.try_wait().transpose()?;
        Some(self.end(waited))
    }

    /// The error of a child that runs and does not come up.
    pub fn is_stuck(&self, seconds: u64) -> ClientError {
        let problem = format!("is not ready after {seconds} seconds{}", self.last_words());
        ClientError::Child {
            name: self.name.to_owned(),
            problem,
        }
    }

    fn end(&self, waited: std::io::Result<ExitStatus>) -> ClientError {
        let problem = match waited {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("ended with status {code}"),
                (None, Some(signal)) => format!("was ended by signal {signal}"),
                (None, None) => "ended".to_owned(),
            },
            Err(error) => format!("is lost: {error}"),
        };
        ClientError::Child {
            name: self.name.to_owned(),
            problem: problem + &self.last_words(),
        }
    }

    /// Stops the child and everything it started.
    pub async fn stop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            let _ = rustix::process::kill_process_group(self.group, Signal::KILL);
            return;
        }
        let _ = rustix::process::kill_process(self.group, Signal::TERM);
        let waited = tokio::time::timeout(Duration::from_secs(STOP_SECONDS_MAX), self.child.wait()).await;
        // Also after an orderly end: whatever it left behind is in its group.
        let _ = rustix::process::kill_process_group(self.group, Signal::KILL);
        if waited.is_err() {
            let _ = self.child.wait().await;
        }
    }

    fn last_words(&self) -> String {
        let said: Vec<String> = self.logs.iter().flat_map(|log| last_lines(log)).collect();
        if said.is_empty() {
            String::new()
        } else {
            format!(":\n  {}", said.join("\n  "))
        }
    }
}

/// The last lines of a log, as a person reads them.
fn last_lines(log: &Path) -> Vec<String> {
    let text = std::fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines.iter().skip(lines.len().saturating_sub(LAST_LINES));
    last.map(|line| plain_words(line).chars().take(LINE_CHARS_MAX).collect())
        .collect()
}

/// The values of a line of JSON that say something, or the line itself.
fn plain_words(line: &str) -> String {
    let Ok(Value::Object(fields)) = serde_json::from_str(line) else {
        return printable(line.trim());
    };
    let words = ["event", "what", "part", "phase", "detail", "code", "message"];
    let values = words
        .iter()
        .filter_map(|word| fields.get(*word)?.as_str())
        .filter(|value| !value.is_empty());
    printable(&values.collect::<Vec<_>>().join(" "))
}

impl Drop for Process {
    /// Nothing is left behind, however this process comes to its end.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = rustix::process::kill_process_group(self.group, Signal::KILL);
        }
    }
}

/// Runs `binary` to its end and gives its standard output. When it fails, its own error is the error.
pub async fn run_to_end(
    name: &'static str,
    binary: &Path,
    arguments: &[OsString],
) -> Result<String, ClientError> {
    let failed = |problem: String| ClientError::Child {
        name: name.to_owned(),
        problem,
    };
    let mut command = tethered(binary, arguments)?;
    let output = command
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .output()
        .await;
    let output = output.map_err(|error| failed(format!("does not start: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let document: Value = serde_json::from_str(&text).unwrap_or_default();
    let field = |key: &str| document["error"][key].as_str().map(str::to_owned);
    Err(match (field("code"), field("message")) {
        (Some(code), Some(message)) => ClientError::Tool {
            name: name.to_owned(),
            code,
            message,
            hint: field("hint"),
        },
        _ => {
            let words = String::from_utf8_lossy(&output.stderr).into_owned() + &text;
            failed(format!("failed:\n  {}", words.trim().replace('\n', "\n  ")))
        }
    })
}

/// This binary, about to become `binary`, in an environment that holds nothing but an allow-list.
fn tethered(binary: &Path, arguments: &[OsString]) -> Result<Command, ClientError> {
    let mut command = Command::new(own_binary()?);
    command
        .arg("tethered-exec")
        .arg(std::process::id().to_string())
        .arg("--")
        .arg(binary)
        .args(arguments);
    command.env_clear().envs(
        ENVIRONMENT
            .iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?))),
    );
    Ok(command)
}
