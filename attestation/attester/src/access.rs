//! What of the system an attester touches each time it collects, so that its process can be confined to that.

use std::path::PathBuf;

/// Paths and connections that collecting needs. The default is none: an attester that does not say what it needs gets
/// nothing from a confined process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Folders in which entries are made, written, read and removed.
    pub folders: Vec<PathBuf>,
    /// Device files, or folders of them, that are opened for reading, writing and ioctl.
    pub devices: Vec<PathBuf>,
    /// Files, or folders of them, that are read.
    pub files: Vec<PathBuf>,
    /// The TCP port that is connected to.
    pub tcp_port: Option<u16>,
}

impl Access {
    /// What either needs. Two ports are one too many: the second is left out, and its user fails.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.folders.extend(other.folders);
        self.devices.extend(other.devices);
        self.files.extend(other.files);
        self.tcp_port = self.tcp_port.or(other.tcp_port);
        self
    }
}
