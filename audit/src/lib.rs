//! Transparency-log arithmetic: pure, without clock, randomness or I/O.
//!
//! How a record becomes something that can be shown:
//!
//! 1. An [`Entry`] is one record as canonical JSON; its leaf hash covers exactly those bytes.
//! 2. [`Log::commit`] appends it to the Merkle [`Tree`] of RFC 6962, signs the new head as a C2SP [`Checkpoint`],
//!    and hands both to the [`Store`]. Only when the store has read the same bytes back does a [`Receipt`] exist.
//! 3. Whoever holds the log's public key checks a whole log with [`verify_log`], one entry with a [`TlogProof`], and
//!    that a log only ever grew with [`proof::verify_consistency`]; all of it offline.

#![forbid(unsafe_code)]

mod checkpoint;
mod entry;
mod error;
mod frontier;
mod log;
pub mod proof;
mod receipt;
mod report;
mod tree;

pub use checkpoint::{Checkpoint, LogSigner, LogVerifier};
pub use entry::{ENTRY_BYTES_MAX, Entry};
pub use error::{AuditError, Result};
pub use frontier::Frontier;
pub use log::{Batch, Log, ReadBack, Store};
pub use receipt::{Receipt, TlogProof};
pub use report::{Report, verify_log};
pub use tree::{EMPTY_ROOT, Hash, Tree, leaf_hash, node_hash};
