//! The folder that a sealed model is written into, until it gets its name.
//!
//! A hidden sibling of the output, holding ciphertext only. It is synced, then renamed without replacing anything: the
//! output appears whole or not at all. Whatever goes wrong before that removes it, unless it is kept to go on later.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use rustix::fs::{CWD, RenameFlags, renameat_with, statvfs};

use crate::manifest::MANIFEST_NAME;
use crate::wrap::WRAPS_NAME;
use crate::{Result, SealedModelError, WrapList};

/// The sibling that is being written.
pub(crate) struct Unfinished {
    path: PathBuf,
    out: PathBuf,
    kept: bool,
}

impl Unfinished {
    /// A new sibling under a random name, removed unless it gets its name.
    pub(crate) fn create(out: &Path) -> Result<Self> {
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| SealedModelError::Random)?;
        let path = sibling(out, &format!("unfinished-{}", hex::encode(random)))?;
        fs::create_dir(&path)
            .map_err(|error| SealedModelError::io("create", path.display().to_string(), error))?;
        Ok(Self {
            path,
            out: out.to_owned(),
            kept: false,
        })
    }

    /// The sibling under its own name for this output, made if it is not there; `kept` keeps it whatever goes wrong.
    pub(crate) fn open(out: &Path, kept: bool) -> Result<Self> {
        let path = sibling(out, "arriving")?;
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(SealedModelError::io("create", path.display().to_string(), error));
            }
            _ => {}
        }
        Ok(Self {
            path,
            out: out.to_owned(),
            kept,
        })
    }

    /// Whether one was kept for this output.
    pub(crate) fn is_begun(out: &Path) -> bool {
        sibling(out, "arriving").is_ok_and(|path| path.is_dir())
    }

    /// Leaves it where it is, which is returned: it is somebody else's, or of something else.
    pub(crate) fn keep(mut self) -> PathBuf {
        self.kept = true;
        self.path.clone()
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Says at the start what would otherwise be found out at the end of a long copy. Writing still checks.
    pub(crate) fn check_room(&self, needed: u64) -> Result<()> {
        match statvfs(&self.path) {
            Ok(room) if room.f_bavail.saturating_mul(room.f_frsize) < needed => {
                Err(SealedModelError::DiskFull {
                    action: "write",
                    name: format!("{needed} bytes"),
                })
            }
            _ => Ok(()),
        }
    }

    /// A new file in it.
    pub(crate) fn file(&self, name: &str) -> Result<Sink> {
        let file = File::create_new(self.path.join(name))
            .map_err(|error| SealedModelError::io("create", name, error))?;
        Ok(Sink::after(name, file, Context::new(&SHA256)))
    }

    /// Adds the signed manifest and an empty list of wraps, and gives the folder its name, which must still be free.
    pub(crate) fn complete(mut self, bundle: &[u8]) -> Result<()> {
        for (name, bytes) in [
            (MANIFEST_NAME, bundle),
            (WRAPS_NAME, &WrapList::default().to_bytes()),
        ] {
            // Left by an attempt that was stopped right here.
            let _ = fs::remove_file(self.path.join(name));
            self.file(name)?.finish(bytes)?;
        }
        let out = &self.out;
        let failed = |error: io::Error| SealedModelError::io("create", out.display().to_string(), error);
        sync(&self.path).map_err(failed)?;
        match renameat_with(CWD, &self.path, CWD, out, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(rustix::io::Errno::EXIST) => return Err(SealedModelError::OutputExists(out.to_owned())),
            // File systems without this flag: a plain rename replaces at most an empty folder.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                fs::rename(&self.path, out).map_err(failed)?
            }
            Err(error) => return Err(failed(error.into())),
        }
        self.kept = true;
        sync(parent(out)).map_err(failed)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// One file of the output, hashed as it is written.
pub(crate) struct Sink {
    name: String,
    file: File,
    hash: Context,
}

impl Sink {
    /// Goes on behind bytes that `hash` has seen.
    pub(crate) fn after(name: &str, file: File, hash: Context) -> Self {
        Self {
            name: name.to_owned(),
            file,
            hash,
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        self.file
            .write_all(bytes)
            .map_err(|error| SealedModelError::io("write", &self.name, error))
    }

    /// Writes the last bytes and waits until all are on stable storage; returns SHA-256 of the file.
    pub(crate) fn finish(mut self, bytes: &[u8]) -> Result<[u8; 32]> {
        self.write(bytes)?;
        self.file
            .sync_all()
            .map_err(|error| SealedModelError::io("write", &self.name, error))?;
        Ok(self
            .hash
            .finish()
            .as_ref()
            .try_into()
            .expect("SHA-256 has 32 bytes"))
    }
}

/// A hidden name beside an output that must not exist.
fn sibling(out: &Path, suffix: &str) -> Result<PathBuf> {
    let exists = || SealedModelError::OutputExists(out.to_owned());
    if out.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let name = out.file_name().ok_or_else(exists)?;
    Ok(parent(out).join(format!(".{}.{suffix}", name.to_string_lossy())))
}

fn parent(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
