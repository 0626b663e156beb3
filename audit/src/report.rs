//! Checking a whole log.

use crate::tree::{Hash, Tree};
use crate::{AuditError, Entry, LogVerifier, Result};

/// A log that was checked from the first entry to the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Names the log.
    pub origin: String,
    /// Entries, all of them canonical and under the root.
    pub entries: u64,
    /// The root that was signed.
    pub root: Hash,
}

/// Checks that these are exactly the entries the signed checkpoint stands for.
pub fn verify_log<I>(entries: I, signed_checkpoint: &str, verifier: &LogVerifier) -> Result<Report>
where
    I: IntoIterator,
    I::Item: AsRef<[u8]>,
{
    rebuild(entries, signed_checkpoint, verifier).map(|(_, report)| report)
}

pub(crate) fn rebuild<I>(
    entries: I,
    signed_checkpoint: &str,
    verifier: &LogVerifier,
) -> Result<(Tree, Report)>
where
    I: IntoIterator,
    I::Item: AsRef<[u8]>,
{
    let checkpoint = verifier.open(signed_checkpoint)?;
    let mut tree = Tree::new();
    for entry in entries {
        if tree.size() == checkpoint.size {
            return Err(AuditError::EntriesAdded {
                expected: checkpoint.size,
            });
        }
        tree.append(Entry::parse(entry.as_ref())?.leaf_hash());
    }
    if tree.size() < checkpoint.size {
        return Err(AuditError::EntriesMissing {
            expected: checkpoint.size,
            found: tree.size(),
        });
    }
    let root = tree.root();
    if root != checkpoint.root {
        return Err(AuditError::RootMismatch {
            expected: checkpoint.root,
            found: root,
        });
    }
    let report = Report {
        origin: checkpoint.origin,
        entries: checkpoint.size,
        root,
    };
    Ok((tree, report))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LogSigner;

    fn log(count: u64) -> (Vec<Vec<u8>>, String, LogVerifier) {
        let signer = LogSigner::new("adyton.example/test", &[3; 32]).unwrap();
        let mut tree = Tree::new();
        let mut entries = Vec::new();
        for index in 0..count {
            let entry = Entry::new(&serde_json::json!({ "index": index })).unwrap();
            tree.append(entry.leaf_hash());
            entries.push(entry.as_bytes().to_vec());
        }
        (
            entries,
            signer.sign(count, tree.root()),
            signer.verifier().clone(),
        )
    }

    fn code(entries: &[Vec<u8>], checkpoint: &str, verifier: &LogVerifier) -> &'static str {
        verify_log(entries, checkpoint, verifier).map_or_else(|error| error.code(), |_| "ok")
    }

    #[test]
    fn each_change_has_its_own_error() {
        let (entries, checkpoint, verifier) = log(9);
        assert_eq!(verify_log(&entries, &checkpoint, &verifier).unwrap().entries, 9);

        assert_eq!(code(&entries[..8], &checkpoint, &verifier), "entries-missing");
        let mut changed = entries.clone();
        changed.push(b"{}".to_vec());
        assert_eq!(code(&changed, &checkpoint, &verifier), "entries-added");
        changed = entries.clone();
        changed.swap(2, 3);
        assert_eq!(code(&changed, &checkpoint, &verifier), "root-mismatch");
        changed = entries.clone();
        changed[4] = b"{\"index\":5}".to_vec();
        assert_eq!(code(&changed, &checkpoint, &verifier), "root-mismatch");
        changed[4] = b"{ \"index\":4}".to_vec();
        assert_eq!(code(&changed, &checkpoint, &verifier), "entry-not-canonical");
        assert_eq!(code(&entries, &log(8).1, &verifier), "entries-added");
        assert_eq!(
            code(&entries, &checkpoint.replace("\n9\n", "\n8\n"), &verifier),
            "checkpoint-signature"
        );
    }

    #[test]
    fn an_empty_log_verifies() {
        let (entries, checkpoint, verifier) = log(0);
        assert_eq!(verify_log(&entries, &checkpoint, &verifier).unwrap().entries, 0);
    }
}
