//! The folder of a sealed model, held open: its objects are found by plain names relative to it, so that neither a
//! link nor a replaced folder leads elsewhere.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::{Result, SealedModelError};

pub(crate) struct Directory {
    fd: OwnedFd,
}

impl Directory {
    /// Opens a folder. The path itself is the operator's, and may lead over links.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, path, flags, Mode::empty())
            .map_err(|error| SealedModelError::io("open", path.display().to_string(), error.into()))?;
        Ok(Self { fd })
    }

    /// Opens a regular file in the folder. `name` is one of the crate's own names and has no separators.
    pub(crate) fn file(&self, name: &str) -> Result<File> {
        open_regular(&self.fd, Path::new(name), name).map_err(|error| match error {
            SealedModelError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                SealedModelError::ObjectMissing {
                    object: name.to_owned(),
                }
            }
            other => other,
        })
    }

    /// Reads a small file whole, up to `bytes_max`.
    pub(crate) fn read(&self, name: &str, what: &'static str, bytes_max: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.file(name)?.take(bytes_max + 1).read_to_end(&mut bytes);
        read.map_err(|error| SealedModelError::io("read", name, error))?;
        if bytes.len() as u64 > bytes_max {
            return Err(SealedModelError::TooLarge {
                what,
                limit: bytes_max,
            });
        }
        Ok(bytes)
    }
}

/// Opens `path` for reading if it is a regular file and not a link; does not wait for the other end of a pipe.
pub(crate) fn open_regular(folder: impl std::os::fd::AsFd, path: &Path, name: &str) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(folder, path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(rustix::io::Errno::LOOP) => return Err(SealedModelError::Symlink(name.to_owned())),
        Err(error) => return Err(SealedModelError::io("open", name, error.into())),
    };
    let metadata = file
        .metadata()
        .map_err(|error| SealedModelError::io("open", name, error))?;
    if metadata.is_file() {
        Ok(file)
    } else {
        Err(SealedModelError::NotAFile(name.to_owned()))
    }
}
