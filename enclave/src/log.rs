//! The one way out for log lines (I12): an allow-list by type.
//!
//! A line is built from a [`LogSafe`] value, whose fields are [`Field`]s: codes written in the source, numbers,
//! flags and digests. No variant takes text that was made at run time, so a prompt has no way into a line.
//!
//! Lines go into bounded queues and from there over one stream to the host. A host that does not read costs it
//! lines, which are counted, and never costs a request.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::{Map, Value};
use tokio::sync::mpsc;

/// Lines that wait for the host at most; the rest are counted and dropped.
const LOG_LINES_MAX: usize = 1024;
/// Audit lines that wait for the host at most. The tree keeps the leaf of a dropped line, so the loss shows.
const AUDIT_LINES_MAX: usize = 16 * 1024;

/// One value of a line. Nothing here can carry text that was not written in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// A word from the source.
    Code(&'static str),
    /// A count, a size, a time.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// A digest of public bytes.
    Digest([u8; 32]),
}

/// What may be logged: a name and fields.
pub trait LogSafe {
    /// The event's name.
    fn event(&self) -> &'static str;
    /// Its fields, by name.
    fn fields(&self) -> Vec<(&'static str, Field)>;
}

/// The events of the enclave's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The process gave up what it must; whether memory is locked depends on the host's limits.
    Hardened {
        /// Whether memory cannot be swapped out.
        memory_locked: bool,
    },
    /// System calls and files shrank to a list.
    Confined {
        /// Whether every rule over files holds.
        files: bool,
    },
    /// A phase was reached.
    Phase {
        /// Its name.
        phase: &'static str,
        /// Milliseconds since the start of the process.
        uptime_ms: u64,
    },
    /// The broker did not give the key yet.
    Waiting {
        /// Why.
        code: &'static str,
        /// Milliseconds until the next attempt.
        wait_ms: u64,
    },
    /// The model key was released.
    Released {
        /// SHA-256 of the release record.
        record_sha256: [u8; 32],
    },
    /// A new key epoch began.
    Epoch {
        /// Its number.
        epoch: u64,
        /// SHA-256 of its statement.
        statement_sha256: [u8; 32],
    },
    /// Something failed that the enclave survives.
    Fault {
        /// Where.
        part: &'static str,
        /// What.
        code: &'static str,
    },
    /// Lines were dropped because the host did not read them.
    Dropped {
        /// Log lines, in all.
        log_lines: u64,
        /// Audit lines, in all.
        audit_lines: u64,
    },
}

impl LogSafe for Event {
    fn event(&self) -> &'static str {
        match self {
            Self::Hardened { .. } => "hardened",
            Self::Confined { .. } => "confined",
            Self::Phase { .. } => "phase",
            Self::Waiting { .. } => "waiting-for-broker",
            Self::Released { .. } => "key-released",
            Self::Epoch { .. } => "key-epoch",
            Self::Fault { .. } => "fault",
            Self::Dropped { .. } => "lines-dropped",
        }
    }

    fn fields(&self) -> Vec<(&'static str, Field)> {
        match *self {
            Self::Hardened { memory_locked } => vec![("memory_locked", Field::Flag(memory_locked))],
            Self::Confined { files } => vec![("files", Field::Flag(files))],
            Self::Phase { phase, uptime_ms } => {
                vec![
                    ("phase", Field::Code(phase)),
                    ("uptime_ms", Field::Number(uptime_ms)),
                ]
            }
            Self::Waiting { code, wait_ms } => {
                vec![("code", Field::Code(code)), ("wait_ms", Field::Number(wait_ms))]
            }
            Self::Released { record_sha256 } => vec![("record_sha256", Field::Digest(record_sha256))],
            Self::Epoch {
                epoch,
                statement_sha256,
            } => {
                vec![
                    ("epoch", Field::Number(epoch)),
                    ("statement_sha256", Field::Digest(statement_sha256)),
                ]
            }
            Self::Fault { part, code } => vec![("part", Field::Code(part)), ("code", Field::Code(code))],
            Self::Dropped {
                log_lines,
                audit_lines,
            } => {
                vec![
                    ("log_lines", Field::Number(log_lines)),
                    ("audit_lines", Field::Number(audit_lines)),
                ]
            }
        }
    }
}

/// The sink. Cloned handles share queues and counters.
#[derive(Clone)]
pub struct Log {
    log_lines: mpsc::Sender<String>,
    audit_lines: mpsc::Sender<String>,
    dropped: Arc<Dropped>,
}

/// The other end of the sink, which the channel drains.
pub struct LogLines {
    log_lines: mpsc::Receiver<String>,
    audit_lines: mpsc::Receiver<String>,
    dropped: Arc<Dropped>,
    reported: (u64, u64),
}

#[derive(Default)]
struct Dropped {
    log_lines: AtomicU64,
    audit_lines: AtomicU64,
}

impl Log {
    /// The sink and the end from which its lines are taken.
    pub fn new() -> (Self, LogLines) {
        let (log_sender, log_receiver) = mpsc::channel(LOG_LINES_MAX);
        let (audit_sender, audit_receiver) = mpsc::channel(AUDIT_LINES_MAX);
        let dropped = Arc::new(Dropped::default());
        let log = Self {
            log_lines: log_sender,
            audit_lines: audit_sender,
            dropped: dropped.clone(),
        };
        let lines = LogLines {
            log_lines: log_receiver,
            audit_lines: audit_receiver,
            dropped,
            reported: (0, 0),
        };
        (log, lines)
    }

    /// Queues a line; drops and counts it when the host does not keep up.
    pub fn write(&self, event: &impl LogSafe) {
        if self.log_lines.try_send(line(event)).is_err() {
            self.dropped.log_lines.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Queues an audit line, which [`crate::audit_trail`] built; drops and counts it as above.
    pub(crate) fn write_audit(&self, line: String) {
        if self.audit_lines.try_send(line).is_err() {
            self.dropped.audit_lines.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl LogLines {
    /// The next line, audit lines first; `None` when the sink is gone.
    pub async fn next(&mut self) -> Option<String> {
        let dropped = (
            self.dropped.log_lines.load(Ordering::Relaxed),
            self.dropped.audit_lines.load(Ordering::Relaxed),
        );
        if dropped != self.reported {
            self.reported = dropped;
            return Some(line(&Event::Dropped {
                log_lines: dropped.0,
                audit_lines: dropped.1,
            }));
        }
        tokio::select! {
            biased;
            Some(line) = self.audit_lines.recv() => Some(line),
            Some(line) = self.log_lines.recv() => Some(line),
            else => None,
        }
    }
}

fn line(event: &impl LogSafe) -> String {
    let mut map = Map::new();
    map.insert("kind".to_owned(), "log".into());
    map.insert("event".to_owned(), event.event().into());
    for (name, field) in event.fields() {
        map.insert(name.to_owned(), field.to_json());
    }
    Value::Object(map).to_string()
}

impl Field {
    /// The value as JSON.
    pub fn to_json(self) -> Value {
        match self {
            Self::Code(code) => code.into(),
            Self::Number(number) => number.into(),
            Self::Flag(flag) => flag.into(),
            Self::Digest(digest) => hex::encode(digest).into(),
        }
    }
}

/// Writes an event to standard error, for what happens before there is a channel and after it is gone.
pub fn to_standard_error(event: &impl LogSafe) {
    emergency(&line(event));
}

/// Writes to standard error: panic locations, and faults that end the process. A closed pipe is ignored.
pub(crate) fn emergency(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}"); // nothing can be done if nobody listens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_host_that_does_not_read_loses_lines_and_is_told() {
        let (log, mut lines) = Log::new();
        for number in 0..LOG_LINES_MAX as u64 + 7 {
            log.write(&Event::Epoch {
                epoch: number,
                statement_sha256: [0; 32],
            });
        }
        let first = lines.next().await.unwrap_or_default();
        let first: Value = serde_json::from_str(&first).expect("one JSON document");
        assert_eq!(
            first,
            serde_json::json!({ "kind": "log", "event": "lines-dropped", "log_lines": 7, "audit_lines": 0 })
        );
        let second = lines.next().await.unwrap_or_default();
        assert!(second.contains(r#""event":"key-epoch""#), "{second}");
    }

    #[tokio::test]
    async fn audit_lines_go_first() {
        let (log, mut lines) = Log::new();
        log.write(&Event::Fault {
            part: "test",
            code: "none",
        });
        log.write_audit("audit".to_owned());
        assert_eq!(lines.next().await.as_deref(), Some("audit"));
    }
}
