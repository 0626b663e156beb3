//! The Merkle tree of RFC 6962 section 2.1 (the same as RFC 9162 section 2.1).
//!
//! Every complete subtree's hash is kept, by level, so that appending, the root and each proof cost the logarithm of
//! the size; memory is 64 bytes an entry.

use sha2::{Digest, Sha256};

use crate::{AuditError, Result};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// The root of a tree without entries: the hash of nothing (RFC 6962 section 2.1).
pub const EMPTY_ROOT: Hash = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// The hash of a leaf: SHA-256(0x00 ‖ entry).
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Sha256::new()
        .chain_update([0])
        .chain_update(entry)
        .finalize()
        .into()
}

/// The hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new()
        .chain_update([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// An append-only tree.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// `levels[k][i]` is the hash of the complete subtree over leaves `i * 2^k .. (i + 1) * 2^k`.
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// A tree without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Entries in the tree.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// Appends a leaf and returns its index.
    pub fn append(&mut self, leaf: Hash) -> u64 {
        let index = self.size();
        let mut hash = leaf;
        let mut level = 0;
        loop {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let nodes = &mut self.levels[level];
            nodes.push(hash);
            if nodes.len() % 2 == 1 {
                return index;
            }
            hash = node_hash(&nodes[nodes.len() - 2], &nodes[nodes.len() - 1]);
            level += 1;
        }
    }

    /// Forgets the entries from `size` on: a commit that the store refused never happened.
    pub(crate) fn truncate(&mut self, size: u64) {
        for (level, nodes) in self.levels.iter_mut().enumerate() {
            nodes.truncate((size >> level) as usize);
        }
    }

    /// The root over all entries.
    pub fn root(&self) -> Hash {
        self.subtree(0, self.size())
    }

    /// The root that the tree had at `size`.
    pub fn root_at(&self, size: u64) -> Result<Hash> {
        self.within(size)?;
        Ok(self.subtree(0, size))
    }

    /// The proof that the entry at `index` is in the tree of `size` entries (RFC 6962 section 2.1.1).
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>> {
        self.within(size)?;
        if index >= size {
            return Err(AuditError::OutsideTree {
                position: index,
                size,
            });
        }
        // Walks from the root to the leaf; the proof is listed from the leaf up.
        let (mut low, mut high, mut proof) = (0, size, Vec::new());
        while high - low > 1 {
            let middle = low + split(high - low);
            if index < middle {
                proof.push(self.subtree(middle, high));
                high = middle;
            } else {
                proof.push(self.subtree(low, middle));
                low = middle;
            }
        }
        proof.reverse();
        Ok(proof)
    }

    /// The proof that the tree of `new_size` entries extends that of `old_size` (RFC 6962 section 2.1.2).
    pub fn consistency_proof(&self, old_size: u64, new_size: u64) -> Result<Vec<Hash>> {
        self.within(new_size)?;
        if old_size == 0 || old_size > new_size {
            return Err(AuditError::OutsideTree {
                position: old_size,
                size: new_size,
            });
        }
        // SUBPROOF, walked from the root: `low..high` holds the old tree's right edge.
        let (mut low, mut high, mut proof) = (0, new_size, Vec::new());
        while high != old_size {
            let middle = low + split(high - low);
            if old_size <= middle {
                proof.push(self.subtree(middle, high));
                high = middle;
            } else {
                proof.push(self.subtree(low, middle));
                low = middle;
            }
        }
        if low != 0 {
            proof.push(self.subtree(low, high));
        }
        proof.reverse();
        Ok(proof)
    }

    fn within(&self, size: u64) -> Result<()> {
        if size > self.size() {
            return Err(AuditError::OutsideTree {
                position: size,
                size: self.size(),
            });
        }
        Ok(())
    }

    /// MTH(D[low:high]). The callers split as the RFC does, so a full power of two is always aligned and kept.
    fn subtree(&self, low: u64, high: u64) -> Hash {
        let count = high - low;
        if count == 0 {
            return EMPTY_ROOT;
        }
        if count.is_power_of_two() && low.is_multiple_of(count) {
            return self.levels[count.trailing_zeros() as usize][(low / count) as usize];
        }
        let middle = low + split(count);
        node_hash(&self.subtree(low, middle), &self.subtree(middle, high))
    }
}

/// The largest power of two smaller than `count`, which is at least 2.
fn split(count: u64) -> u64 {
    1 << (u64::BITS - 1 - (count - 1).leading_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof;

    fn tree(size: u64) -> Tree {
        let mut tree = Tree::new();
        for index in 0..size {
            assert_eq!(tree.append(leaf_hash(&index.to_be_bytes())), index);
        }
        tree
    }

    /// MTH as the RFC writes it, over all leaves each time.
    fn by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => EMPTY_ROOT,
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
                node_hash(&by_definition(left), &by_definition(right))
            }
        }
    }

    #[test]
    fn the_empty_root_is_the_hash_of_nothing() {
        let hash: Hash = Sha256::digest([]).into();
        assert_eq!(EMPTY_ROOT, hash);
        assert_eq!(Tree::new().root(), EMPTY_ROOT);
    }

    #[test]
    fn roots_are_those_of_the_definition() {
        let tree = tree(70);
        let leaves: Vec<Hash> = (0..70u64).map(|index| leaf_hash(&index.to_be_bytes())).collect();
        for size in 0..=70 {
            assert_eq!(
                tree.root_at(size).unwrap(),
                by_definition(&leaves[..size as usize])
            );
        }
    }

    #[test]
    fn every_proof_of_every_size_verifies() {
        let tree = tree(40);
        for size in 1..=40 {
            let root = tree.root_at(size).unwrap();
            for index in 0..size {
                let path = tree.inclusion_proof(index, size).unwrap();
                proof::verify_inclusion(&leaf_hash(&index.to_be_bytes()), index, size, &root, &path).unwrap();
            }
            for old in 1..=size {
                let path = tree.consistency_proof(old, size).unwrap();
                proof::verify_consistency(old, &tree.root_at(old).unwrap(), size, &root, &path).unwrap();
            }
        }
    }

    #[test]
    fn positions_outside_the_tree_are_errors() {
        let tree = tree(5);
        assert!(tree.root_at(6).is_err());
        assert!(tree.inclusion_proof(5, 5).is_err());
        assert!(tree.inclusion_proof(0, 6).is_err());
        assert!(tree.consistency_proof(0, 5).is_err());
        assert!(tree.consistency_proof(4, 3).is_err());
        assert!(tree.consistency_proof(1, 6).is_err());
    }
}
