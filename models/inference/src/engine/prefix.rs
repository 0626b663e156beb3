//! Beginnings of prompts that were computed before, for requests of the same tenant that ask for it.
//!
//! A full block of tokens is kept under all that comes before it: its key is the tenant, the request's own cache key, the
//! block before it, and its tokens, compared exactly. So a hit is what would have been computed, bit for bit, and it is
//! found only by who sends the same tenant's token and the same cache key.
//!
//! Nothing here depends on what another tenant does or has: each has a share of its own size, set aside in the budget,
//! in which only it finds, keeps and evicts (the least recently used). The first tenants that ask get the shares, and
//! keep them; later ones get none. So another tenant's use changes neither what is found nor what is evicted, and the
//! time to answer tells nothing of it. Tables are hashed with random keys.

use std::collections::HashMap;
use std::sync::Arc;

use zeroize::Zeroize;

use crate::decoder::kv_cache::{BLOCK_TOKENS, Column};

/// Blocks of tokens that a share holds at most: more would make finding the oldest slow.
const COLUMNS_MAX: usize = 4096;

/// The shares of all tenants.
pub(super) struct PrefixCache {
    shares: HashMap<Arc<str>, Share>,
    shares_max: usize,
    columns_max: usize,
}

/// Whose prefixes a request reads and writes. Made only for requests that ask for it.
#[derive(Clone)]
pub(super) struct PrefixScope {
    pub(super) tenant: Arc<str>,
    /// The request's cache key.
    pub(super) key: Arc<str>,
}

/// How far a sequence is known to the cache.
#[derive(Clone, Copy, Default)]
pub(super) struct Known {
    /// Full blocks.
    pub(super) blocks: usize,
    /// The last of them; 0 before the first.
    last: u64,
}

#[derive(Default)]
struct Share {
    numbers: HashMap<Arc<Place>, u64>,
    nodes: HashMap<u64, Node>,
    /// Of the last node that was made.
    number: u64,
    /// Counts uses.
    clock: u64,
}

/// Where a block belongs.
#[derive(PartialEq, Eq, Hash)]
struct Place {
    key: Arc<str>,
    before: u64,
    tokens: [u32; BLOCK_TOKENS],
}

impl Drop for Place {
    fn drop(&mut self) {
        self.tokens.zeroize();
    }
}

struct Node {
    place: Arc<Place>,
    column: Column,
    used: u64,
    /// Nodes that come after it; only one without any can be evicted.
    after: usize,
}

impl PrefixCache {
    /// `shares_max` shares, each of `blocks_max` blocks in `layers` layers.
    pub(super) fn new(shares_max: usize, blocks_max: usize, layers: usize) -> Self {
        Self {
            shares: HashMap::new(),
            shares_max,
            columns_max: (blocks_max / layers.max(1)).min(COLUMNS_MAX),
        }
    }

    /// The longest beginning of `tokens` that is here, in whole blocks.
    pub(super) fn find(&mut self, scope: &PrefixScope, tokens: &[u32]) -> (Known, Vec<Column>) {
        let (mut known, mut columns) = (Known::default(), Vec::new());
        let Some(share) = self.shares.get_mut(&scope.tenant) else {
            return (known, columns);
        };
        share.clock += 1;
        for tokens in tokens.as_chunks::<BLOCK_TOKENS>().0 {
            let place = Place {
                key: Arc::clone(&scope.key),
                before: known.last,
                tokens: *tokens,
            };
            let Some(number) = share.numbers.get(&place).copied() else {
                break;
            };
            let Some(node) = share.nodes.get_mut(&number) else {
                break;
            };
            node.used = share.clock;
            columns.push(node.column.clone());
            known = Known {
                blocks: known.blocks + 1,
                last: number,
            };
        }
        (known, columns)
    }

    /// Keeps the block after `known`. `None` when there is no room for it, or what is before it is gone: then nothing after
    /// it is of use either.
    pub(super) fn keep(
        &mut self,
        scope: &PrefixScope,
        known: Known,
        tokens: &[u32; BLOCK_TOKENS],
        column: Column,
    ) -> Option<Known> {
        if !self.shares.contains_key(&scope.tenant) && self.shares.len() >= self.shares_max {
            return None;
        }
        let columns_max = self.columns_max;
        let share = self.shares.entry(Arc::clone(&scope.tenant)).or_default();
        let place = Arc::new(Place {
            key: Arc::clone(&scope.key),
            before: known.last,
            tokens: *tokens,
        });
        share.clock += 1;
        let number = match share.numbers.get(&place) {
            Some(number) => *number,
            None => {
                if known.last != 0 && !share.nodes.contains_key(&known.last) {
                    return None;
                }
                while share.nodes.len() >= columns_max {
                    share.evict(known.last)?;
                }
                share.insert(place, column)
            }
        };
        share.nodes.get_mut(&number)?.used = share.clock;
        Some(Known {
            blocks: known.blocks + 1,
            last: number,
        })
    }

    /// Forgets everything; the shares stay with their tenants.
    pub(super) fn forget(&mut self) {
        for share in self.shares.values_mut() {
            // Numbers go on: sequences that run know some of those that were.
            share.numbers.clear();
            share.nodes.clear();
        }
    }
}

impl Share {
    fn insert(&mut self, place: Arc<Place>, column: Column) -> u64 {
        self.number += 1;
        if let Some(before) = self.nodes.get_mut(&place.before) {
            before.after += 1;
        }
        self.numbers.insert(Arc::clone(&place), self.number);
        let node = Node {
            place,
            column,
            used: self.clock,
            after: 0,
        };
        self.nodes.insert(self.number, node);
        self.number
    }

    /// Lets go of the node that was not used for the longest time, but not of `spared`. `None` when there is no other.
    fn evict(&mut self, spared: u64) -> Option<()> {
        let ends = self
            .nodes
            .iter()
            .filter(|(number, node)| node.after == 0 && **number != spared);
        let (oldest, _) = ends.min_by_key(|(number, node)| (node.used, **number))?;
        let oldest = *oldest;
        let node = self.nodes.remove(&oldest)?;
        self.numbers.remove(&node.place);
        if let Some(before) = self.nodes.get_mut(&node.place.before) {
            before.after -= 1;
        }
        Some(())
    }
}
