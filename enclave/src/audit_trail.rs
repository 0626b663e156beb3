//! One record for each answered request, without content, in a tree whose heads the attested receipt key signs.
//!
//! A record says when, which key epoch, statement and model, how it ended, and the digest of the receipt that the
//! client holds. It names no tenant and no token, and counts no tokens: the host reads these lines. Each line
//! carries the signed checkpoint that includes it, so a line that the host lost, changed or moved shows.
//!
//! Of the tree its edge is kept, so that memory does not grow with the records; proofs are made from the lines.

use std::sync::{Mutex, PoisonError};

use audit::{Entry, Frontier};
use serde::Serialize;
use serde_json::{Value, json};
use wire::ProblemCode;

use crate::{
    identity::Identity,
    log::{Event, Log},
};

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Answered in full.
    Answered,
    /// Refused, or failed, with this code.
    Failed(ProblemCode),
    /// The client or the host went away.
    Cancelled,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed(code) => code.as_str(),
            Self::Cancelled => "cancelled",
        }
    }
}

/// What is recorded of a request. Digests are hexadecimal.
#[derive(Serialize)]
struct RequestRecord {
    kind: &'static str,
    time: u64,
    epoch: u64,
    outcome: &'static str,
    statement_sha256: String,
    model_digest: String,
    receipt_sha256: Option<String>,
}

/// The first record of a boot: what the trail is about.
#[derive(Serialize)]
struct BootRecord {
    kind: &'static str,
    time: u64,
    boot_id: String,
    config_digest: String,
    model_digest: String,
    release_record_sha256: String,
}

/// What a boot record says.
pub(crate) struct Boot<'a> {
    pub(crate) time: u64,
    pub(crate) config_digest: &'a [u8; 32],
    pub(crate) model_digest: &'a [u8; 32],
    pub(crate) release_record_sha256: &'a [u8; 32],
}

/// What a request record says.
pub(crate) struct Answered {
    pub(crate) time: u64,
    pub(crate) epoch: u64,
    pub(crate) outcome: Outcome,
    pub(crate) statement_sha256: [u8; 32],
    pub(crate) model_digest: [u8; 32],
    /// SHA-256 of the receipt's signed payload.
    pub(crate) receipt_sha256: Option<[u8; 32]>,
}

/// The trail of one boot.
pub(crate) struct AuditTrail {
    tree: Mutex<Frontier>,
    log: Log,
}

impl AuditTrail {
    /// An empty trail whose lines go to `log`.
    pub(crate) fn new(log: Log) -> Self {
        Self {
            tree: Mutex::new(Frontier::new()),
            log,
        }
    }

    /// Records what this boot serves.
    pub(crate) fn boot(&self, identity: &Identity, boot: &Boot<'_>) {
        self.append(
            identity,
            &BootRecord {
                kind: "boot",
                time: boot.time,
                boot_id: hex::encode(identity.boot_id),
                config_digest: hex::encode(boot.config_digest),
                model_digest: hex::encode(boot.model_digest),
                release_record_sha256: hex::encode(boot.release_record_sha256),
            },
        );
    }

    /// Records one request.
    pub(crate) fn request(&self, identity: &Identity, answered: &Answered) {
        self.append(
            identity,
            &RequestRecord {
                kind: "request",
                time: answered.time,
                epoch: answered.epoch,
                outcome: answered.outcome.as_str(),
                statement_sha256: hex::encode(answered.statement_sha256),
                model_digest: hex::encode(answered.model_digest),
                receipt_sha256: answered.receipt_sha256.map(hex::encode),
            },
        );
    }

    fn append(&self, identity: &Identity, record: &impl Serialize) {
        let Ok(entry) = Entry::new(record) else {
            self.log.write(&Event::Fault {
                part: "audit",
                code: "entry-not-canonical",
            });
            return;
        };
        // The lock is held while the line is queued, so that lines go out in the order of the tree.
        let mut tree = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
        let index = tree.append(entry.leaf_hash());
        let checkpoint = identity.checkpoints.sign(tree.size(), tree.root());
        self.log.write_audit(line(index, &entry, &checkpoint));
    }
}

fn line(index: u64, entry: &Entry, checkpoint: &str) -> String {
    let record: Value = serde_json::from_slice(entry.as_bytes()).expect("an entry is JSON");
    json!({"kind": "audit", "index": index, "entry": record, "checkpoint": checkpoint}).to_string()
}

#[cfg(test)]
mod tests {
    use audit::{LogVerifier, verify_log};

    use super::*;
    use crate::config::Profile;

    fn answered(outcome: Outcome) -> Answered {
        Answered {
            time: 1,
            epoch: 1,
            outcome,
            statement_sha256: [1; 32],
            model_digest: [2; 32],
            receipt_sha256: Some([3; 32]),
        }
    }

    #[tokio::test]
    async fn every_line_can_be_verified() {
        let identity = Identity::generate(Profile::Default).unwrap_or_else(|error| panic!("{error}"));
        let (log, mut lines) = Log::new();
        let trail = AuditTrail::new(log);
        let digests = [[0; 32], [1; 32], [2; 32]];
        let [config_digest, model_digest, release_record_sha256] = &digests;
        trail.boot(
            &identity,
            &Boot {
                time: 0,
                config_digest,
                model_digest,
                release_record_sha256,
            },
        );
        trail.request(&identity, &answered(Outcome::Answered));
        trail.request(&identity, &answered(Outcome::Failed(ProblemCode::UnknownModel)));
        let origin = format!("adyton.enclave/{}", hex::encode(identity.boot_id));
        let verifier = LogVerifier::new(&origin, &identity.receipts.public_key())
            .unwrap_or_else(|error| panic!("{error}"));
        let mut entries = Vec::new();
        for index in 0..3 {
            let line: Value =
                serde_json::from_str(&lines.next().await.unwrap_or_default()).unwrap_or_default();
            assert_eq!(
                (line["kind"].as_str(), line["index"].as_u64()),
                (Some("audit"), Some(index))
            );
            entries.push(Entry::new(&line["entry"]).unwrap_or_else(|error| panic!("{error}")));
            let checkpoint = line["checkpoint"].as_str().unwrap_or_default();
            let report = verify_log(entries.iter().map(Entry::as_bytes), checkpoint, &verifier);
            assert!(report.is_ok(), "line {index}");
        }
        assert!(
            std::str::from_utf8(entries[2].as_bytes())
                .unwrap_or_default()
                .contains("unknown-model")
        );
    }
}
