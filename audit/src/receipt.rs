//! What remains of a commit: the receipt, and its portable form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::checkpoint::decode_hash;
use crate::tree::Hash;
use crate::{AuditError, Checkpoint, Entry, LogVerifier, Result, proof};

/// C2SP tlog-proof: the first line of the format.
const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// A tree of 2^64 entries has no longer path.
const PATH_LENGTH_MAX: usize = 64;

/// Evidence that an entry is durable. Built only by [`Log::commit`](crate::Log::commit), after the store has read back
/// the entry and its checkpoint; not clonable, so that one record answers for one act.
#[must_use = "a record that nothing depends on need not have been awaited"]
pub struct Receipt {
    pub(crate) leaf: Hash,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) proof: TlogProof,
}

impl Receipt {
    /// The entry's position in the log.
    pub fn index(&self) -> u64 {
        self.proof.index
    }

    /// The head of the log that includes the entry.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The same, as the signed note.
    pub fn signed_checkpoint(&self) -> &str {
        &self.proof.signed_checkpoint
    }

    /// Whether this receipt is for that entry.
    pub fn is_for(&self, entry: &Entry) -> bool {
        self.leaf == entry.leaf_hash()
    }

    /// The portable proof, for whoever was named in the record.
    pub fn tlog_proof(&self) -> &TlogProof {
        &self.proof
    }
}

/// A self-contained proof that an entry is in a log (c2sp.org/tlog-proof@v1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// The entry's position.
    pub index: u64,
    /// From the leaf's sibling up to the root's child.
    pub path: Vec<Hash>,
    /// The signed note.
    pub signed_checkpoint: String,
}

impl TlogProof {
    /// Writes the text format.
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEADER}\nindex {}\n", self.index);
        for hash in &self.path {
            text.push_str(&BASE64.encode(hash));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.signed_checkpoint);
        text
    }

    /// Reads the text format. Extra data is not used by this log and refused.
    pub fn parse(text: &str) -> Result<Self> {
        const MALFORMED: AuditError = AuditError::Malformed("tlog proof");
        let (head, signed_checkpoint) = text.split_once("\n\n").ok_or(MALFORMED)?;
        let mut lines = head.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(MALFORMED);
        }
        let index_text = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .ok_or(MALFORMED)?;
        let index: u64 = index_text.parse().map_err(|_| MALFORMED)?;
        if index.to_string() != index_text {
            return Err(MALFORMED);
        }
        let mut path = Vec::new();
        for line in lines {
            if path.len() == PATH_LENGTH_MAX {
                return Err(MALFORMED);
            }
            path.push(decode_hash(line).ok_or(MALFORMED)?);
        }
        Ok(Self {
            index,
            path,
            signed_checkpoint: signed_checkpoint.to_owned(),
        })
    }

    /// Checks that `entry` is in the log that `verifier` knows; returns the head that says so.
    pub fn verify(&self, entry: &Entry, verifier: &LogVerifier) -> Result<Checkpoint> {
        let checkpoint = verifier.open(&self.signed_checkpoint)?;
        proof::verify_inclusion(
            &entry.leaf_hash(),
            self.index,
            checkpoint.size,
            &checkpoint.root,
            &self.path,
        )?;
        Ok(checkpoint)
    }
}
