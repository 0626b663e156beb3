//! One entry of configfs-tsm, removed when it is dropped.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use attestation::PlatformTag;

use super::files::Files;
use crate::AttesterError;

const WORD_BYTES_MAX: usize = 64;
const ATTEMPTS: usize = 8;
/// What the kernel says when no driver provides reports (tsm_report_make_item).
const ENXIO: i32 = 6;

/// One entry; dropping it removes the folder.
pub(super) struct Entry<'a> {
    files: &'a dyn Files,
    folder: PathBuf,
}

impl<'a> Entry<'a> {
    pub(super) fn create(files: &'a dyn Files, root: &Path) -> Result<Self, AttesterError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        for _ in 0..ATTEMPTS {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let folder = root.join(format!("adyton-{}-{number}", process::id()));
            match files.create(&folder) {
                Ok(()) => return Ok(Self { files, folder }),
                // Left behind by a process of our id that died.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) if error.raw_os_error() == Some(ENXIO) => {
                    return Err(AttesterError::NoProvider(root.to_owned()));
                }
                Err(source) => return Err(AttesterError::Io { path: folder, source }),
            }
        }
        Err(AttesterError::Malformed {
            path: root.to_owned(),
            reason: "every name for an entry is taken",
        })
    }

    pub(super) fn platform(&self) -> Result<PlatformTag, AttesterError> {
        match self.word("provider")?.as_str() {
            "sev_guest" => Ok(PlatformTag::AmdSevSnp),
            "tdx_guest" => Ok(PlatformTag::IntelTdx),
            other => Err(AttesterError::UnknownProvider(other.to_owned())),
        }
    }

    pub(super) fn generation(&self) -> Result<u64, AttesterError> {
        self.word("generation")?
            .parse()
            .map_err(|_| self.malformed("generation", "not a number"))
    }

    /// The most privileged level that a report may be asked of; `None` where there are no levels (TDX).
    pub(super) fn privilege_floor(&self) -> Result<Option<u32>, AttesterError> {
        match self.word("privlevel_floor") {
            Err(AttesterError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(word) => match word.parse() {
                Ok(floor) => Ok(Some(floor)),
                Err(_) => Err(self.malformed("privlevel_floor", "not a number")),
            },
        }
    }

    fn word(&self, name: &str) -> Result<String, AttesterError> {
        let bytes = self.read(name, WORD_BYTES_MAX)?;
        let text = String::from_utf8(bytes).map_err(|_| self.malformed(name, "not text"))?;
        Ok(text.trim_end_matches(['\n', '\0']).to_owned())
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), AttesterError> {
        let path = self.folder.join(name);
        match self.files.write(&path, bytes) {
            Ok(written) if written == bytes.len() => Ok(()),
            Ok(_) => Err(self.malformed(name, "took only a part of the report data")),
            Err(source) => Err(AttesterError::Io { path, source }),
        }
    }

    pub(super) fn read(&self, name: &str, bytes_max: usize) -> Result<Vec<u8>, AttesterError> {
        let path = self.folder.join(name);
        match self.files.read(&path, bytes_max + 1) {
            Ok(bytes) if bytes.len() <= bytes_max => Ok(bytes),
            Ok(_) => Err(self.malformed(name, "exceeds its bound")),
            Err(source) => Err(AttesterError::Io { path, source }),
        }
    }

    /// A file that older kernels and other providers do not have.
    pub(super) fn read_optional(
        &self,
        name: &str,
        bytes_max: usize,
    ) -> Result<Option<Vec<u8>>, AttesterError> {
        match self.read(name, bytes_max) {
            Err(AttesterError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    pub(super) fn malformed(&self, name: &str, reason: &'static str) -> AttesterError {
        AttesterError::Malformed {
            path: self.folder.join(name),
            reason,
        }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        // configfs removes the files with the folder. An entry that stays costs a name, no secret.
        let _ = self.files.remove(&self.folder);
    }
}
