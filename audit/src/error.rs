//! What can be wrong with a log, an entry, a proof or a checkpoint.

use std::error::Error;

/// The result of this crate's operations.
pub type Result<T> = core::result::Result<T, AuditError>;

/// One variant for each kind of fault; [`code`](Self::code) is stable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The bytes are not canonical JSON (RFC 8785, integers only), or too long.
    #[error("the entry is not canonical: {0}")]
    NotCanonical(&'static str),
    /// An index or a size lies outside the tree.
    #[error("position {position} lies outside a tree of {size} entries")]
    OutsideTree {
        /// The position asked for.
        position: u64,
        /// Entries in the tree.
        size: u64,
    },
    /// The proof does not lead to the root.
    #[error("the {0} proof does not lead to the root")]
    ProofFailed(&'static str),
    /// The bytes are not a checkpoint, a signed note or a tlog proof.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// The note belongs to another log.
    #[error("the checkpoint is of the log {found:?}, not of {expected:?}")]
    OtherLog {
        /// The origin expected.
        expected: String,
        /// The origin found.
        found: String,
    },
    /// No signature of the log's key, or a false one.
    #[error("the checkpoint does not carry a valid signature of the log's key")]
    BadSignature,
    /// Fewer entries than the checkpoint counts.
    #[error("the log has {found} entries, the checkpoint counts {expected}: entries were removed")]
    EntriesMissing {
        /// Entries that the checkpoint counts.
        expected: u64,
        /// Entries found.
        found: u64,
    },
    /// More entries than the checkpoint counts.
    #[error(
        "the log goes on after the {expected} entries of the checkpoint: entries were added without a signature"
    )]
    EntriesAdded {
        /// Entries that the checkpoint counts.
        expected: u64,
    },
    /// As many entries as the checkpoint counts, but not those.
    #[error("the entries do not hash to the root of the checkpoint: an entry was changed or moved")]
    RootMismatch {
        /// The root that was signed.
        expected: [u8; 32],
        /// The root of the entries found.
        found: [u8; 32],
    },
    /// The store failed; nothing was recorded that a receipt exists for.
    #[error("the audit store failed")]
    Store(#[source] Box<dyn Error + Send + Sync>),
    /// The store read back something else than was handed to it.
    #[error("the audit store did not read back what was committed")]
    NotDurable,
    /// An earlier commit did not come to its end, so this log no longer knows the store's state: resume it.
    #[error("an earlier commit was interrupted; the log must be resumed from its store")]
    OutOfStep,
    /// A commit of nothing.
    #[error("a commit needs at least one entry")]
    EmptyBatch,
}

impl AuditError {
    /// The stable code of this kind of fault.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotCanonical(_) => "entry-not-canonical",
            Self::OutsideTree { .. } => "outside-tree",
            Self::ProofFailed(_) => "proof-failed",
            Self::Malformed(_) => "audit-malformed",
            Self::OtherLog { .. } => "other-log",
            Self::BadSignature => "checkpoint-signature",
            Self::EntriesMissing { .. } => "entries-missing",
            Self::EntriesAdded { .. } => "entries-added",
            Self::RootMismatch { .. } => "root-mismatch",
            Self::Store(_) => "audit-unavailable",
            Self::NotDurable => "audit-not-durable",
            Self::OutOfStep => "audit-out-of-step",
            Self::EmptyBatch => "empty-batch",
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotCanonical(_) => "write entries with sorted keys, no spaces and integers only",
            Self::OutsideTree { .. } => "ask for a position below the size of the checkpoint",
            Self::ProofFailed(_) => {
                "fetch the proof again; if it fails again, the log shows different people different histories"
            }
            Self::Malformed(_) => "check that the whole file was copied, line ends included",
            Self::OtherLog { .. } => "check which log this checkpoint was fetched from",
            Self::BadSignature => "check the log's public key; if it is right, the checkpoint is forged",
            Self::EntriesMissing { .. } => {
                "compare with a copy of the log: entries that were once signed are gone"
            }
            Self::EntriesAdded { .. } => {
                "fetch the newest checkpoint; if the extra entries are not under it, they were not made by the log"
            }
            Self::RootMismatch { .. } => "compare with a copy of the log to find the entry that differs",
            Self::Store(_) => {
                "check free space and permissions of the audit store; nothing is released until it can be written"
            }
            Self::NotDurable => "check the audit store's medium",
            Self::OutOfStep => "restart the service: it resumes the log from its store",
            Self::EmptyBatch => "this is a fault of the caller",
        }
    }
}
