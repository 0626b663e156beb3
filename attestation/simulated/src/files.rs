//! Files of a saved platform: every one is readable by its owner only (mode 0600).

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::SimulatedError;

/// A folder that holds a platform.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// An existing folder, or a new one with mode 0700.
    pub(crate) fn create(path: &Path) -> Result<Self, SimulatedError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| io(path, source))?;
        Ok(Self(path.to_owned()))
    }

    /// An existing folder.
    pub(crate) fn open(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Replaces a file: a reader sees the old one or the new one, whole.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), SimulatedError> {
        let (path, part) = (self.0.join(name), self.0.join(format!(".{name}.part")));
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options
            .open(&part)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&part, &path))
            .map_err(|source| io(&path, source))
    }

    /// Reads a file; what is read may be a key and is wiped.
    pub(crate) fn read(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, SimulatedError> {
        let path = self.0.join(name);
        fs::read(&path)
            .map(Zeroizing::new)
            .map_err(|source| io(&path, source))
    }

    /// Reads a file into what it holds.
    pub(crate) fn parse<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T, SimulatedError> {
        parse(&self.read(name)?).ok_or_else(|| SimulatedError::Malformed(self.0.join(name)))
    }
}

fn io(path: &Path, source: std::io::Error) -> SimulatedError {
    SimulatedError::Io {
        path: path.to_owned(),
        source,
    }
}
