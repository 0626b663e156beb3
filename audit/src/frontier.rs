//! A growing tree of RFC 6962 of which only the edge is kept: enough to append and to sign heads, and no proof.

use crate::tree::{EMPTY_ROOT, Hash, node_hash};

/// The roots of the complete subtrees that make up the tree, the largest first: one for each bit of its size, so memory is
/// at most 64 hashes however many entries there are. Proofs are for whoever keeps the entries ([`Tree`](crate::Tree)).
#[derive(Debug, Default)]
pub struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    /// A tree without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Entries in the tree.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf and returns its index.
    pub fn append(&mut self, leaf: Hash) -> u64 {
        let index = self.size;
        let mut hash = leaf;
        // A subtree as large as the one that ends here stands before it for each low bit that is set.
        for _ in 0..index.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.roots.push(hash);
        self.size += 1;
        index
    }

    /// The root over all entries.
    pub fn root(&self) -> Hash {
        let joined = self
            .roots
            .iter()
            .rev()
            .copied()
            .reduce(|right, left| node_hash(&left, &right));
        joined.unwrap_or(EMPTY_ROOT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Tree, leaf_hash};

    #[test]
    fn roots_are_those_of_the_whole_tree_and_no_more_is_kept_than_bits() {
        let (mut frontier, mut tree) = (Frontier::new(), Tree::new());
        assert_eq!(frontier.root(), tree.root());
        for entry in 0..1100_u64 {
            let leaf = leaf_hash(&entry.to_be_bytes());
            assert_eq!(frontier.append(leaf), tree.append(leaf));
            assert_eq!((frontier.size(), frontier.root()), (tree.size(), tree.root()));
            assert_eq!(frontier.roots.len(), frontier.size().count_ones() as usize);
        }
    }
}
