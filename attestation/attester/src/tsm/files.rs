//! The few file operations that the interface needs, so that tests can play the kernel.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// File operations on configfs.
pub(super) trait Files: Send + Sync {
    /// Makes an entry.
    fn create(&self, folder: &Path) -> io::Result<()>;

    /// Removes an entry with its files, as configfs does.
    fn remove(&self, folder: &Path) -> io::Result<()>;

    /// Reads to the end, but at most so many bytes.
    fn read(&self, file: &Path, bytes_max: usize) -> io::Result<Vec<u8>>;

    /// Writes once and closes. configfs collects what is written to a binary file and hands it over
    /// when the file is closed, where no error can be reported (configfs_release_bin_file): whether a
    /// write took effect shows in the generation only.
    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<usize>;
}

/// The kernel's.
pub(super) struct Configfs;

impl Files for Configfs {
    fn create(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir(folder)
    }

    fn remove(&self, folder: &Path) -> io::Result<()> {
        fs::remove_dir(folder)
    }

    fn read(&self, file: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(file)?.take(bytes_max as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<usize> {
        OpenOptions::new().write(true).open(file)?.write(bytes)
    }
}
