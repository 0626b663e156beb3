//! Audit logs as they lie in files, checked offline.
//!
//! A file has one JSON document a line: `{"index": n, "entry": {…}, "checkpoint": "…"}`, or the entries alone and their
//! checkpoint in a file of its own. Each boot of an enclave begins a
//! log of its own, so one file can hold several, one after another; `index` 0 begins the next. The last checkpoint of a
//! log covers all of its entries. What a checkpoint cannot show is that later entries were cut off together with their
//! checkpoints: compare the last index with receipts or a checkpoint kept elsewhere.

use attestation::{Statement, UnixTime};
use audit::{AuditError, Entry, LogVerifier, Report, verify_log};
use serde::Deserialize;
use serde_json::Value;

use crate::error::ClientError;

/// One line of a file.
struct Line {
    kind: Option<String>,
    index: u64,
    entry: Entry,
    checkpoint: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrappedEntry {
    #[serde(default)]
    kind: Option<String>,
    index: u64,
    entry: Value,
    #[serde(default)]
    checkpoint: Option<String>,
}

impl Line {
    /// A wrapped entry, or the entry's own canonical bytes, as `adyton-broker audit export` writes them.
    fn parse(text: &str, before: &[(Vec<Entry>, Option<String>)]) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if value.get("entry").is_none() {
            let entry = Entry::parse(text.as_bytes()).map_err(|error| error.to_string())?;
            let index = before.last().map_or(0, |(entries, _)| entries.len() as u64);
            return Ok(Self {
                kind: None,
                index,
                entry,
                checkpoint: None,
            });
        }
        let wrapped: WrappedEntry = serde_json::from_value(value).map_err(|error| error.to_string())?;
        let entry = Entry::new(&wrapped.entry).map_err(|error| error.to_string())?;
        Ok(Self {
            kind: wrapped.kind,
            index: wrapped.index,
            entry,
            checkpoint: wrapped.checkpoint,
        })
    }
}

/// One log, not checked yet.
pub struct UncheckedLog {
    origin: String,
    entries: Vec<Entry>,
    checkpoint: String,
    times: Option<(u64, u64)>,
}

/// One log, checked from its first entry to its last.
pub struct CheckedLog {
    /// What was checked.
    pub report: Report,
    /// The log's public key.
    pub key: [u8; 32],
    /// When the first and the last entry were written, as they say themselves.
    pub times: Option<(UnixTime, UnixTime)>,
}

/// A public key that may sign a log.
#[derive(Clone)]
pub enum LogKey {
    /// A key for whichever log it verifies.
    Any([u8; 32]),
    /// A key for one log.
    Named(LogVerifier),
}

impl LogKey {
    /// 64 hex digits, or `name+id+base64` as tools for signed notes write it.
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        let wrong = || ClientError::Usage(format!("`{text}` is no log key: 64 hex digits or name+id+base64"));
        if text.contains('+') {
            return LogVerifier::from_vkey(text).map(Self::Named).map_err(|_| wrong());
        }
        let mut key = [0; 32];
        hex::decode_to_slice(text.trim(), &mut key).map_err(|_| wrong())?;
        Ok(Self::Any(key))
    }

    /// The key that signs the request log of the boot that `statement` describes: the attested receipt key.
    pub fn of_requests(statement: &Statement) -> Result<Self, ClientError> {
        let fields = statement.fields();
        let origin = format!("adyton.enclave/{}", hex::encode(fields.boot_id));
        let verifier = LogVerifier::new(&origin, &fields.receipt_key);
        verifier
            .map(Self::Named)
            .map_err(|error| ClientError::Key(error.to_string()))
    }

    /// `name+id+base64`, where the log is known.
    pub fn to_vkey(&self) -> Option<String> {
        match self {
            Self::Any(_) => None,
            Self::Named(verifier) => Some(verifier.to_vkey()),
        }
    }

    fn verifier(&self, origin: &str) -> Option<LogVerifier> {
        match self {
            Self::Any(key) => LogVerifier::new(origin, key).ok(),
            Self::Named(verifier) => (verifier.origin() == origin).then(|| verifier.clone()),
        }
    }
}

impl UncheckedLog {
    /// The log's name, as its checkpoint claims it.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Checks every entry against the last checkpoint under the first of `keys` whose signature holds.
    pub fn check(&self, keys: &[LogKey]) -> Result<CheckedLog, ClientError> {
        let verifiers: Vec<LogVerifier> = keys.iter().filter_map(|key| key.verifier(&self.origin)).collect();
        let mut last = ClientError::AuditKeyMissing {
            origin: self.origin.clone(),
        };
        for verifier in verifiers {
            match verify_log(
                self.entries.iter().map(Entry::as_bytes),
                &self.checkpoint,
                &verifier,
            ) {
                Ok(report) => {
                    let moment = UnixTime::from_seconds;
                    let times = self.times.map(|(first, last)| (moment(first), moment(last)));
                    return Ok(CheckedLog {
                        report,
                        key: *verifier.public_key(),
                        times,
                    });
                }
                Err(source) => {
                    last = ClientError::Audit {
                        origin: self.origin.clone(),
                        source,
                    }
                }
            }
        }
        Err(last)
    }
}

/// Takes a file apart into its logs. `checkpoint` is the one kept outside the file, for a file that holds one log.
pub fn split(text: &str, checkpoint: Option<&str>) -> Result<Vec<UncheckedLog>, ClientError> {
    let mut logs: Vec<(Vec<Entry>, Option<String>)> = Vec::new();
    for (number, text) in text
        .lines()
        .enumerate()
        .filter(|(_, text)| !text.trim().is_empty())
    {
        let malformed = |problem: String| ClientError::Malformed {
            what: "audit log",
            problem: format!("line {}: {problem}", number + 1),
        };
        let line = Line::parse(text, &logs).map_err(malformed)?;
        if line.kind.is_some_and(|kind| kind != "audit") {
            return Err(malformed("not an audit line".to_owned()));
        }
        if line.index == 0 || logs.is_empty() {
            logs.push((Vec::new(), None));
        }
        let (entries, last_checkpoint) = logs.last_mut().expect("one was pushed if there was none");
        if line.index != entries.len() as u64 {
            // Lost and moved lines show here; what is forged to fit fails at the root.
            let source = AuditError::EntriesMissing {
                expected: line.index,
                found: entries.len() as u64,
            };
            return Err(ClientError::Audit {
                origin: format!("of line {}", number + 1),
                source,
            });
        }
        entries.push(line.entry);
        *last_checkpoint = line.checkpoint.or(last_checkpoint.take());
    }
    if let (Some(checkpoint), [log]) = (checkpoint, logs.as_mut_slice()) {
        log.1 = Some(checkpoint.to_owned());
    } else if checkpoint.is_some() {
        return Err(ClientError::Usage(
            "a checkpoint of its own fits a file with one log only".to_owned(),
        ));
    }
    logs.into_iter()
        .map(|(entries, checkpoint)| unchecked(entries, checkpoint))
        .collect()
}

/// One log from its entries and checkpoint.
pub fn unchecked(entries: Vec<Entry>, checkpoint: Option<String>) -> Result<UncheckedLog, ClientError> {
    let malformed = |problem: &str| ClientError::Malformed {
        what: "audit log",
        problem: problem.to_owned(),
    };
    let checkpoint =
        checkpoint.ok_or_else(|| malformed("it has no checkpoint; name one with --checkpoint"))?;
    let origin = checkpoint.lines().next().unwrap_or_default().to_owned();
    let time = |entry: Option<&Entry>| -> Option<u64> {
        let record: Value = serde_json::from_slice(entry?.as_bytes()).ok()?;
        // OCSF counts milliseconds, the enclave seconds.
        let time = record.get("time")?.as_u64()?;
        Some(if time > UnixTime::MAX.seconds() {
            time / 1000
        } else {
            time
        })
    };
    let times = time(entries.first()).zip(time(entries.last()));
    Ok(UncheckedLog {
        origin,
        entries,
        checkpoint,
        times,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use audit::{LogSigner, Tree};
    use serde_json::json;

    fn signer(boot: u8) -> LogSigner {
        LogSigner::new(&format!("adyton.enclave/{boot}"), &[boot; 32]).expect("a plain name")
    }

    fn lines(boot: u8, count: u64) -> Vec<String> {
        let mut tree = Tree::new();
        (0..count)
            .map(|index| {
                let entry =
                    Entry::new(&json!({ "time": 1_800_000_000 + index, "boot": boot })).expect("canonical");
                tree.append(entry.leaf_hash());
                let record: Value = serde_json::from_slice(entry.as_bytes()).expect("JSON");
                let checkpoint = signer(boot).sign(tree.size(), tree.root());
                json!({ "kind": "audit", "index": index, "entry": record, "checkpoint": checkpoint })
                    .to_string()
            })
            .collect()
    }

    fn key(boot: u8) -> LogKey {
        LogKey::Any(*signer(boot).verifier().public_key())
    }

    fn code(text: &str, keys: &[LogKey]) -> String {
        let logs = match split(text, None) {
            Ok(logs) => logs,
            Err(error) => return error.code().to_owned(),
        };
        let failed = logs.iter().find_map(|log| log.check(keys).err());
        failed.map_or_else(|| "ok".to_owned(), |error| error.code().to_owned())
    }

    #[test]
    fn two_boots_in_one_file_verify_each_under_its_key() {
        let text = [lines(1, 3), lines(2, 2)].concat().join("\n");
        assert_eq!(code(&text, &[key(1), key(2)]), "ok");
        assert_eq!(code(&text, &[key(1)]), "checkpoint-signature");
        let named = LogKey::parse(&signer(1).verifier().to_vkey()).expect("a vkey");
        assert_eq!(code(&text, &[named]), "audit-key-missing");
        let checked = split(&text, None).expect("two logs")[0]
            .check(&[key(1)])
            .expect("verifies");
        assert_eq!(checked.report.entries, 3);
        assert_eq!(checked.times.map(|times| times.1.seconds()), Some(1_800_000_002));
    }

    #[test]
    fn a_changed_lost_or_moved_line_shows() {
        let whole = lines(1, 4);
        let without = |at: usize| {
            whole
                .iter()
                .enumerate()
                .filter(|(i, _)| *i != at)
                .map(|(_, l)| l.clone())
                .collect::<Vec<_>>()
                .join("\n")
        };
        assert_eq!(code(&whole.join("\n"), &[key(1)]), "ok");
        assert_eq!(code(&without(1), &[key(1)]), "entries-missing");
        assert_eq!(code(&without(0), &[key(1)]), "entries-missing");
        let mut moved = whole.clone();
        moved.swap(1, 2);
        assert_eq!(code(&moved.join("\n"), &[key(1)]), "entries-missing");
        let changed = whole
            .join("\n")
            .replace("\"time\":1800000001", "\"time\":1800000009");
        assert_eq!(code(&changed, &[key(1)]), "root-mismatch");
        assert_eq!(
            code(
                &whole.join("\n").replace("\"index\":2", "\"index\":2,\"x\":1"),
                &[key(1)]
            ),
            "malformed"
        );
    }

    #[test]
    fn bare_entries_take_their_checkpoint_from_elsewhere() {
        let wrapped: Vec<Value> = lines(1, 3)
            .iter()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let bare: Vec<String> = wrapped.iter().map(|line| line["entry"].to_string()).collect();
        let checkpoint = wrapped[2]["checkpoint"].as_str().expect("signed");
        let logs = split(&bare.join("\n"), Some(checkpoint)).expect("one log");
        assert_eq!(logs[0].check(&[key(1)]).expect("verifies").report.entries, 3);
        assert_eq!(
            split(&bare.join("\n"), None).err().expect("no checkpoint").code(),
            "malformed"
        );
    }

    #[test]
    fn keys_are_hex_or_vkeys() {
        assert!(matches!(LogKey::parse(&"ab".repeat(32)), Ok(LogKey::Any(_))));
        assert_eq!(LogKey::parse("ab").err().expect("too short").code(), "usage");
        assert_eq!(LogKey::parse("a+b+c").err().expect("no vkey").code(), "usage");
    }
}
