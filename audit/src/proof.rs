//! Verification of proofs, by the algorithms of RFC 9162 sections 2.1.3.2 and 2.1.4.2.

use crate::tree::{Hash, node_hash};
use crate::{AuditError, Result};

/// Checks that `leaf` is the entry at `index` of the tree with this size and root.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, root: &Hash, proof: &[Hash]) -> Result<()> {
    const FAILED: AuditError = AuditError::ProofFailed("inclusion");
    if index >= size {
        return Err(AuditError::OutsideTree {
            position: index,
            size,
        });
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return Err(FAILED);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last == 0 && hash == *root {
        Ok(())
    } else {
        Err(FAILED)
    }
}

/// Checks that the tree with the new size and root extends the one with the old size and root.
///
/// A tree is consistent with itself. Nothing else can be said from an empty old tree, so it is refused.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<()> {
    const FAILED: AuditError = AuditError::ProofFailed("consistency");
    if old_size == new_size {
        return if proof.is_empty() && old_root == new_root {
            Ok(())
        } else {
            Err(FAILED)
        };
    }
    if old_size == 0 || old_size > new_size {
        return Err(AuditError::OutsideTree {
            position: old_size,
            size: new_size,
        });
    }
    // A complete old tree is itself the first node of the path.
    let (first, rest) = if old_size.is_power_of_two() {
        (old_root, proof)
    } else {
        let (first, rest) = proof.split_first().ok_or(FAILED)?;
        (first, rest)
    };
    let (mut node, mut last) = (old_size - 1, new_size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return Err(FAILED);
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last == 0 && old_hash == *old_root && new_hash == *new_root {
        Ok(())
    } else {
        Err(FAILED)
    }
}
