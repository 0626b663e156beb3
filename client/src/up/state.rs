//! The state directory of `adyton up`: one owner, one process at a time.
//!
//! ```text
//! DIR/lock  DIR/run.json
//! DIR/config/{host,enclave,broker,client}.toml   DIR/policy/{client,release}.toml
//! DIR/pki/{ca,host,broker,owner}.{pem,key}       DIR/keys/{owner-signing,token-issuer}.key
//! DIR/platform/   DIR/models/sample.sealed/      DIR/broker/   DIR/tokens/demo.token
//! DIR/channel/    DIR/endorsements/              DIR/log/      DIR/audit/
//! ```

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use crate::{
    error::ClientError,
    private_file::{self, SECRET_MODE},
};

/// Longest path of a unix socket (`sun_path` of unix(7), without the final zero).
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Folders below the state directory.
const FOLDERS: [&str; 11] = [
    "config",
    "policy",
    "pki",
    "keys",
    "platform",
    "models",
    "broker",
    "tokens",
    "channel",
    "endorsements",
    "log",
];

/// The directory, held for as long as this value lives.
pub struct StateDir {
    root: PathBuf,
    // The kernel gives the lock back when the descriptor closes, however this process ends.
    _lock: File,
}

impl StateDir {
    /// Makes the directory where needed and takes its lock; a second holder is refused with `already-running`.
    pub fn acquire(root: &Path) -> Result<Self, ClientError> {
        private_file::create_directory(root)?;
        let failed = |source| ClientError::Write {
            path: root.to_owned(),
            source,
        };
        let root = root.canonicalize().map_err(failed)?;
        let owner = root.metadata().map_err(failed)?.uid();
        if owner != rustix::process::getuid().as_raw() {
            return Err(ClientError::State(format!(
                "{} belongs to another user",
                root.display()
            )));
        }
        let socket = root.join("channel").join("enclave.sock");
        if socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(ClientError::State(format!(
                "{} is too long: sockets below it would pass {SOCKET_PATH_BYTES_MAX} bytes",
                root.display()
            )));
        }
        let lock = take_lock(&root)?;
        for folder in FOLDERS.iter().chain(&["audit"]) {
            private_file::create_directory(&root.join(folder))?;
        }
        Ok(Self { root, _lock: lock })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path below it.
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }
}

/// `--dir`, else `$XDG_STATE_HOME/adyton`, else `~/.local/state/adyton`.
pub fn directory(named: Option<&Path>) -> Result<PathBuf, ClientError> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let default = || {
        absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
            .map(|state| state.join("adyton"))
    };
    named
        .map(Path::to_owned)
        .or_else(default)
        .ok_or_else(|| ClientError::Usage("HOME is not set; name a state directory with --dir".to_owned()))
}

fn take_lock(root: &Path) -> Result<File, ClientError> {
    let path = root.join("lock");
    let failed = |source| ClientError::Write {
        path: path.clone(),
        source,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(SECRET_MODE)
        .open(&path)
        .map_err(failed)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        let _ = file.take(20).read_to_string(&mut pid);
        return Err(ClientError::AlreadyRunning {
            dir: root.to_owned(),
            pid: pid.trim().to_owned(),
        });
    }
    file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_second_holder_is_refused_until_the_first_lets_go() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().join("state");
        let first = StateDir::acquire(&root).expect("free");
        let error = StateDir::acquire(&root).err().expect("held");
        assert_eq!(error.code(), "already-running");
        assert!(error.to_string().contains(&std::process::id().to_string()));
        drop(first);
        assert!(StateDir::acquire(&root).is_ok());
    }

    #[test]
    fn every_folder_is_entered_by_its_owner_only() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let state = StateDir::acquire(&dir.path().join("state")).expect("free");
        for folder in FOLDERS.iter().chain(&["audit", ""]) {
            let mode = state
                .path(folder)
                .metadata()
                .expect("exists")
                .permissions()
                .mode()
                & 0o777;
            assert_eq!(mode, 0o700, "{folder}");
        }
    }

    #[test]
    fn a_path_that_no_socket_fits_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let error = StateDir::acquire(&dir.path().join("d".repeat(120)))
            .err()
            .expect("too long");
        assert_eq!(error.code(), "state-inconsistent");
    }
}
