//! A log over a store, and the one way to a receipt.

use core::future::Future;
use std::error::Error;

use crate::report::rebuild;
use crate::tree::Tree;
use crate::{AuditError, Checkpoint, Entry, LogSigner, LogVerifier, Receipt, Result, TlogProof};

/// Where a log is kept. The broker implements this over its database.
pub trait Store {
    /// What the store reports when it fails.
    type Error: Error + Send + Sync + 'static;

    /// Writes the batch and its checkpoint in one transaction, waits until both are on stable storage, and then reads
    /// both back from the store. A store that answers from its own memory breaks the promise of [`Receipt`].
    fn commit(
        &mut self,
        batch: &Batch,
    ) -> impl Future<Output = core::result::Result<ReadBack, Self::Error>> + Send;

    /// All entries in order with the newest checkpoint; an empty text where nothing was ever committed.
    fn load(&mut self) -> impl Future<Output = core::result::Result<ReadBack, Self::Error>> + Send;
}

/// What the store is asked to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The position of the first entry; the others follow it.
    pub first_index: u64,
    /// At least one entry.
    pub entries: Vec<Entry>,
    /// The signed head of the log with these entries.
    pub signed_checkpoint: String,
}

/// What the store holds, read from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadBack {
    /// The entries' bytes, in order.
    pub entries: Vec<Vec<u8>>,
    /// The signed checkpoint kept with them.
    pub signed_checkpoint: String,
}

/// A log: its tree in memory, its entries in the store.
pub struct Log<S> {
    store: S,
    signer: LogSigner,
    tree: Tree,
    signed_checkpoint: String,
    /// False while a commit is under way: if its future is dropped, the store may be ahead of the tree.
    in_step: bool,
}

impl<S: Store> Log<S> {
    /// Takes up a log from its store: every entry is checked against the newest checkpoint before anything is added, so
    /// a store that was changed behind the log's back is refused here.
    pub async fn resume(mut store: S, signer: LogSigner) -> Result<Self> {
        let held = store.load().await.map_err(store_error)?;
        let (tree, signed_checkpoint) = if held.signed_checkpoint.is_empty() {
            if !held.entries.is_empty() {
                return Err(AuditError::EntriesAdded { expected: 0 });
            }
            let tree = Tree::new();
            let signed_checkpoint = signer.sign(0, tree.root());
            (tree, signed_checkpoint)
        } else {
            (
                rebuild(&held.entries, &held.signed_checkpoint, signer.verifier())?.0,
                held.signed_checkpoint,
            )
        };
        Ok(Self {
            store,
            signer,
            tree,
            signed_checkpoint,
            in_step: true,
        })
    }

    /// Entries committed.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The newest signed checkpoint.
    pub fn signed_checkpoint(&self) -> &str {
        &self.signed_checkpoint
    }

    /// The log's public key.
    pub fn verifier(&self) -> &LogVerifier {
        self.signer.verifier()
    }

    /// The tree, for proofs between older heads.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The store, for reading.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Commits one entry. See [`commit_all`](Self::commit_all).
    pub async fn commit(&mut self, entry: Entry) -> Result<Receipt> {
        let mut receipts = self.commit_all(vec![entry]).await?;
        receipts.pop().ok_or(AuditError::EmptyBatch)
    }

    /// Commits entries together, under one checkpoint and one write of the store; one receipt each, in order.
    ///
    /// On an error nothing counts as recorded. When the store failed, the log stays usable if the store rolled back;
    /// when it read back something else, or the future was dropped, every later commit is refused until the log is
    /// resumed.
    pub async fn commit_all(&mut self, entries: Vec<Entry>) -> Result<Vec<Receipt>> {
        if !self.in_step {
            return Err(AuditError::OutOfStep);
        }
        if entries.is_empty() {
            return Err(AuditError::EmptyBatch);
        }
        self.in_step = false;
        let first_index = self.tree.size();
        for entry in &entries {
            self.tree.append(entry.leaf_hash());
        }
        let origin = self.verifier().origin().to_owned();
        let checkpoint = Checkpoint {
            origin,
            size: self.tree.size(),
            root: self.tree.root(),
        };
        let signed_checkpoint = self.signer.sign(checkpoint.size, checkpoint.root);
        let batch = Batch {
            first_index,
            entries,
            signed_checkpoint,
        };

        let read_back = match self.store.commit(&batch).await {
            Ok(read_back) => read_back,
            Err(error) => {
                self.tree.truncate(first_index);
                self.in_step = true;
                return Err(store_error(error));
            }
        };
        let same = read_back.signed_checkpoint == batch.signed_checkpoint
            && read_back.entries.len() == batch.entries.len()
            && read_back
                .entries
                .iter()
                .zip(&batch.entries)
                .all(|(held, entry)| held == entry.as_bytes());
        if !same {
            return Err(AuditError::NotDurable);
        }
        self.in_step = true;
        self.signed_checkpoint.clone_from(&batch.signed_checkpoint);

        let receipt = |(offset, entry): (usize, &Entry)| {
            let index = first_index + offset as u64;
            let path = self.tree.inclusion_proof(index, checkpoint.size)?;
            let proof = TlogProof {
                index,
                path,
                signed_checkpoint: batch.signed_checkpoint.clone(),
            };
            Ok(Receipt {
                leaf: entry.leaf_hash(),
                checkpoint: checkpoint.clone(),
                proof,
            })
        };
        batch.entries.iter().enumerate().map(receipt).collect()
    }
}

fn store_error(error: impl Error + Send + Sync + 'static) -> AuditError {
    AuditError::Store(Box::new(error))
}

#[cfg(test)]
mod tests {
    use core::pin::pin;
    use core::task::{Context, Poll, Waker};

    use super::*;
    use crate::verify_log;

    /// What the store does next.
    #[derive(Clone, Copy, PartialEq)]
    enum Next {
        Keep,
        Fail,
        Forget,
        Never,
    }

    struct Memory {
        held: ReadBack,
        next: Next,
    }

    impl Store for Memory {
        type Error = std::io::Error;

        async fn commit(&mut self, batch: &Batch) -> core::result::Result<ReadBack, Self::Error> {
            assert_eq!(batch.first_index, self.held.entries.len() as u64);
            let entries: Vec<_> = batch
                .entries
                .iter()
                .map(|entry| entry.as_bytes().to_vec())
                .collect();
            let mut read_back = ReadBack {
                entries,
                signed_checkpoint: batch.signed_checkpoint.clone(),
            };
            match self.next {
                Next::Keep => {}
                Next::Fail => return Err(std::io::Error::from(std::io::ErrorKind::StorageFull)),
                Next::Forget => read_back.entries[0][1] ^= 1,
                Next::Never => core::future::pending().await,
            }
            self.held.entries.extend(read_back.entries.iter().cloned());
            self.held
                .signed_checkpoint
                .clone_from(&read_back.signed_checkpoint);
            Ok(read_back)
        }

        async fn load(&mut self) -> core::result::Result<ReadBack, Self::Error> {
            Ok(self.held.clone())
        }
    }

    /// Polls once: the store above is either ready at once or never.
    fn once<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    fn signer() -> LogSigner {
        LogSigner::new("adyton.example/test", &[3; 32]).unwrap()
    }

    fn resume(held: ReadBack) -> Result<Log<Memory>> {
        once(Log::resume(
            Memory {
                held,
                next: Next::Keep,
            },
            signer(),
        ))
        .unwrap()
    }

    fn entry(number: u64) -> Entry {
        Entry::new(&serde_json::json!({ "number": number })).unwrap()
    }

    #[test]
    fn receipts_prove_their_entries() {
        let mut log = resume(ReadBack::default()).unwrap();
        for number in 0..5 {
            let receipt = once(log.commit(entry(number))).unwrap().unwrap();
            assert_eq!(receipt.index(), number);
            assert!(receipt.is_for(&entry(number)) && !receipt.is_for(&entry(number + 1)));
            let proof = TlogProof::parse(&receipt.tlog_proof().to_text()).unwrap();
            assert_eq!(
                &proof.verify(&entry(number), log.verifier()).unwrap(),
                receipt.checkpoint()
            );
            assert_eq!(
                proof.verify(&entry(9), log.verifier()).unwrap_err().code(),
                "proof-failed"
            );
        }
        let receipts = once(log.commit_all(vec![entry(5), entry(6)])).unwrap().unwrap();
        for (receipt, number) in receipts.iter().zip(5..) {
            receipt
                .tlog_proof()
                .verify(&entry(number), log.verifier())
                .unwrap();
        }
        assert_eq!(log.size(), 7);
        verify_log(&log.store.held.entries, log.signed_checkpoint(), log.verifier()).unwrap();
        let resumed = resume(log.store.held).unwrap();
        assert_eq!(
            (resumed.size(), resumed.signed_checkpoint()),
            (7, log.signed_checkpoint.as_str())
        );
    }

    #[test]
    fn a_store_that_fails_gives_no_receipt_and_the_log_goes_on() {
        let mut log = resume(ReadBack::default()).unwrap();
        let _ = once(log.commit(entry(0))).unwrap().unwrap();
        log.store.next = Next::Fail;
        assert_eq!(
            once(log.commit(entry(1))).unwrap().err().unwrap().code(),
            "audit-unavailable"
        );
        assert_eq!(log.size(), 1);
        log.store.next = Next::Keep;
        let receipt = once(log.commit(entry(2))).unwrap().unwrap();
        receipt.tlog_proof().verify(&entry(2), log.verifier()).unwrap();
        verify_log(&log.store.held.entries, log.signed_checkpoint(), log.verifier()).unwrap();
    }

    #[test]
    fn a_store_that_holds_something_else_gives_no_receipt() {
        let mut log = resume(ReadBack::default()).unwrap();
        log.store.next = Next::Forget;
        assert_eq!(
            once(log.commit(entry(0))).unwrap().err().unwrap().code(),
            "audit-not-durable"
        );
        log.store.next = Next::Keep;
        assert_eq!(
            once(log.commit(entry(1))).unwrap().err().unwrap().code(),
            "audit-out-of-step"
        );
    }

    #[test]
    fn an_interrupted_commit_stops_the_log() {
        let mut log = resume(ReadBack::default()).unwrap();
        log.store.next = Next::Never;
        assert!(once(log.commit(entry(0))).is_none());
        log.store.next = Next::Keep;
        assert_eq!(
            once(log.commit(entry(0))).unwrap().err().unwrap().code(),
            "audit-out-of-step"
        );
    }

    #[test]
    fn a_store_changed_behind_the_log_is_refused() {
        let mut log = resume(ReadBack::default()).unwrap();
        for number in 0..3 {
            let _ = once(log.commit(entry(number))).unwrap().unwrap();
        }
        let held = log.store.held;
        let refused = |change: &dyn Fn(&mut ReadBack)| {
            let mut held = held.clone();
            change(&mut held);
            resume(held).err().map(|error| error.code())
        };
        assert_eq!(refused(&|_| ()), None);
        assert_eq!(refused(&|held| drop(held.entries.pop())), Some("entries-missing"));
        assert_eq!(refused(&|held| held.entries.swap(0, 1)), Some("root-mismatch"));
        assert_eq!(
            refused(&|held| held.signed_checkpoint.clear()),
            Some("entries-added")
        );
    }

    #[test]
    fn a_commit_of_nothing_is_refused() {
        let mut log = resume(ReadBack::default()).unwrap();
        assert_eq!(
            once(log.commit_all(Vec::new())).unwrap().err().unwrap().code(),
            "empty-batch"
        );
    }
}
