//! Keeps what the enclave lets out: allow-listed log lines, and audit records that must not be lost.
//!
//! The host cannot check either; a reader verifies audit records with `adyton audit verify`.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use crate::{config::LogConfig, error::HostError};

/// Which file a line belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Log,
    Audit,
}

/// Two append-only files: `enclave.jsonl` (rotated once at its bound) and `requests.jsonl` (never dropped).
pub struct Sink {
    log_path: PathBuf,
    log: File,
    log_bytes: u64,
    log_bytes_max: u64,
    audit: File,
}

impl Sink {
    /// Opens both files for appending, creating them with mode 0600.
    ///
    /// # Errors
    /// [`HostError::Io`] when the folder cannot be used.
    pub fn open(config: &LogConfig) -> Result<Self, HostError> {
        for directory in [&config.directory, &config.audit_directory] {
            std::fs::create_dir_all(directory)
                .map_err(HostError::io(format!("create {}", directory.display())))?;
        }
        let log_path = config.directory.join("enclave.jsonl");
        let log = append(&log_path)?;
        let log_bytes = log
            .metadata()
            .map_err(HostError::io("read the size of enclave.jsonl"))?
            .len();
        Ok(Self {
            log,
            log_bytes,
            log_path,
            log_bytes_max: config.log_bytes_max,
            audit: append(&config.audit_directory.join("requests.jsonl"))?,
        })
    }

    /// Appends one line as it came. A line that is not JSON of a known kind is refused.
    ///
    /// # Errors
    /// [`HostError::Channel`] for a line the format does not allow, [`HostError::Io`] when it cannot be written.
    pub fn append(&mut self, line: &[u8]) -> Result<(), HostError> {
        let kind = kind_of(line).ok_or(HostError::Channel)?;
        let mut whole = Vec::with_capacity(line.len() + 1);
        whole.extend_from_slice(line);
        whole.push(b'\n');
        match kind {
            Kind::Audit => self
                .audit
                .write_all(&whole)
                .map_err(HostError::io("append to requests.jsonl")),
            Kind::Log => {
                if self.log_bytes + whole.len() as u64 > self.log_bytes_max {
                    self.rotate()?;
                }
                self.log
                    .write_all(&whole)
                    .map_err(HostError::io("append to enclave.jsonl"))?;
                self.log_bytes += whole.len() as u64;
                Ok(())
            }
        }
    }

    fn rotate(&mut self) -> Result<(), HostError> {
        let old = self.log_path.with_extension("jsonl.1");
        std::fs::rename(&self.log_path, &old).map_err(HostError::io("rotate enclave.jsonl"))?;
        self.log = append(&self.log_path)?;
        self.log_bytes = 0;
        Ok(())
    }
}

fn kind_of(line: &[u8]) -> Option<Kind> {
    #[derive(serde::Deserialize)]
    struct Tagged {
        kind: String,
    }
    if line.contains(&b'\n') {
        return None;
    }
    let tagged: Tagged = serde_json::from_slice(line).ok()?;
    match tagged.kind.as_str() {
        "log" => Some(Kind::Log),
        "audit" => Some(Kind::Audit),
        _ => None,
    }
}

fn append(path: &Path) -> Result<File, HostError> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(HostError::io(format!("open {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(directory: &Path, log_bytes_max: u64) -> Sink {
        Sink::open(&LogConfig {
            directory: directory.to_owned(),
            audit_directory: directory.to_owned(),
            log_bytes_max,
        })
        .expect("a fresh folder")
    }

    #[test]
    fn lines_go_to_their_file_and_others_are_refused() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut sink = sink(folder.path(), 1 << 20);
        sink.append(br#"{"kind":"log","event":"serving"}"#).expect("log");
        sink.append(br#"{"kind":"audit","index":0}"#).expect("audit");
        for hostile in [
            &b"{\"kind\":\"other\"}"[..],
            b"not json",
            b"{\"kind\":\"log\"}\n{\"kind\":\"audit\"}",
            b"",
        ] {
            assert!(sink.append(hostile).is_err());
        }
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("written");
        assert_eq!(
            read("enclave.jsonl"),
            "{\"kind\":\"log\",\"event\":\"serving\"}\n"
        );
        assert_eq!(read("requests.jsonl"), "{\"kind\":\"audit\",\"index\":0}\n");
    }

    #[test]
    fn the_log_is_bounded_and_audit_is_not_dropped() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut sink = sink(folder.path(), 200);
        for _ in 0..100 {
            sink.append(br#"{"kind":"log","event":"epoch"}"#).expect("log");
            sink.append(br#"{"kind":"audit","index":0}"#).expect("audit");
        }
        let size = |name: &str| {
            std::fs::metadata(folder.path().join(name))
                .expect("written")
                .len()
        };
        assert!(size("enclave.jsonl") <= 200 && size("enclave.jsonl.1") <= 200);
        assert_eq!(size("requests.jsonl"), 100 * 27);
    }
}
