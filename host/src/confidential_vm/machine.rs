//! One run of QEMU.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::{CommandLine, Tee, arguments::CONTROL_SOCKET, qmp};
use crate::error::HostError;

/// Bytes of the guest's console that are kept; the rest is read and dropped, so that the guest never waits for it.
const BOOT_LOG_BYTES_MAX: usize = 256 << 10;
const KILL_GRACE: Duration = Duration::from_secs(5);
/// `qemu --version` is short.
const VERSION_BYTES_MAX: usize = 4096;

/// How a run of QEMU is watched.
#[derive(Debug, Clone)]
pub struct Run {
    /// Folder of QEMU's control socket and the boot log.
    pub directory: PathBuf,
    /// Whether the guest's console is kept.
    pub console: bool,
    /// Seconds until the enclave's first answer.
    pub start_seconds_max: u64,
    /// Seconds from the press of the power button until it is killed.
    pub stop_seconds_max: u64,
}

/// A running machine.
pub struct Machine {
    child: Child,
    control: PathBuf,
    stop_seconds_max: u64,
}

impl Machine {
    /// Starts QEMU with an empty environment.
    ///
    /// # Errors
    /// [`HostError::Io`] when the run directory cannot be used or QEMU not be started.
    pub fn start(run: &Run, line: &CommandLine) -> Result<Self, HostError> {
        let directory = &run.directory;
        std::fs::create_dir_all(directory)
            .map_err(HostError::io(format!("create {}", directory.display())))?;
        let control = directory.join(CONTROL_SOCKET);
        let _ = std::fs::remove_file(&control); // left by a machine that was killed
        let errors = log_file(&directory.join("qemu.stderr"))?;
        let mut child = Command::new(line.program())
            .env_clear()
            .current_dir("/")
            .args(line.arguments())
            .stdin(Stdio::null())
            .stdout(if run.console {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .map_err(HostError::io(format!("start {}", line.program())))?;
        if let Some(console) = child.stdout.take() {
            let log = log_file(&directory.join("boot.log"))?;
            tokio::spawn(keep_console(console, tokio::fs::File::from_std(log)));
        }
        Ok(Self {
            child,
            control,
            stop_seconds_max: run.stop_seconds_max,
        })
    }

    /// QEMU's process id.
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Waits for its end, and says how it ended.
    pub async fn ended(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Presses the power button, waits, then kills.
    pub async fn stop(&mut self) {
        if qmp::power_button(&self.control).await.is_ok() {
            let grace = Duration::from_secs(self.stop_seconds_max);
            if timeout(grace, self.child.wait()).await.is_ok() {
                return;
            }
        }
        let _ = self.child.start_kill(); // it may have ended
        let _ = timeout(KILL_GRACE, self.child.wait()).await;
    }
}

fn log_file(path: &Path) -> Result<std::fs::File, HostError> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(HostError::io(format!("open {}", path.display())))
}

async fn keep_console(mut console: ChildStdout, mut log: tokio::fs::File) {
    let mut left = BOOT_LOG_BYTES_MAX;
    let mut buffer = [0; 4096];
    while let Ok(read) = console.read(&mut buffer).await {
        let kept = read.min(left);
        if read == 0 {
            break;
        }
        left -= kept;
        // A full disk loses the log of a development machine, nothing else.
        let _ = log.write_all(buffer.get(..kept).unwrap_or_default()).await;
        let _ = log.flush().await;
    }
}

/// Checks that QEMU is new enough for `tee`.
///
/// # Errors
/// [`HostError::Unfit`] with the version that is there.
pub async fn check_version(qemu: &Path, tee: Tee) -> Result<(), HostError> {
    let asked = Command::new(qemu)
        .arg("--version")
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(HostError::io(format!("start {}", qemu.display())))?;
    let said = String::from_utf8_lossy(
        asked
            .stdout
            .get(..VERSION_BYTES_MAX.min(asked.stdout.len()))
            .unwrap_or_default(),
    );
    let minimum = tee.qemu_minimum();
    match version(&said) {
        Some(version) if version >= minimum => Ok(()),
        found => Err(HostError::Unfit(format!(
            "--tee {} needs QEMU {}.{} or later, and {} is {}",
            tee.as_str(),
            minimum.0,
            minimum.1,
            qemu.display(),
            found.map_or("unknown".to_owned(), |(major, minor)| format!("{major}.{minor}")),
        ))),
    }
}

/// Major and minor version of `QEMU emulator version 10.0.2 (...)`.
pub(crate) fn version(said: &str) -> Option<(u32, u32)> {
    let words = said.strip_prefix("QEMU emulator version ")?;
    let mut numbers = words.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions_are_read() {
        let debian = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1)\nCopyright";
        assert_eq!(version(debian), Some((10, 0)));
        assert_eq!(version("QEMU emulator version 9.1.50"), Some((9, 1)));
        assert_eq!(version("bash: qemu: not found"), None);
    }
}
