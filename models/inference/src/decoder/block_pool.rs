//! A fixed number of cache blocks for all sequences of an engine.
//!
//! Wiping: a block is overwritten with zeros when it is dropped, whoever holds it then, and only zeros are handed out.
//! Activations of a step (hidden states, scores, logits inside the tensor library) are overwritten by the enclave's
//! allocator when they are freed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{Error, Result};
use kernels::attention::KvLayout;
use zeroize::Zeroize;

/// Where blocks come from. Cheap to clone.
#[derive(Clone)]
pub(crate) struct BlockPool(Arc<Shared>);

struct Shared {
    layout: KvLayout,
    blocks_max: usize,
    /// Stands for a block that nobody has any more; no token sees it.
    zeros: Vec<f32>,
    state: Mutex<State>,
}

struct State {
    /// Blocks of zeros that were used before.
    free: Vec<Vec<f32>>,
    taken: usize,
}

/// Keys and values of [`BLOCK_TOKENS`](super::kv_cache::BLOCK_TOKENS) tokens in one layer, laid out as the kernels read
/// them. Goes back to its pool, wiped, when it is dropped.
pub(crate) struct KvBlock {
    elements: Vec<f32>,
    pool: BlockPool,
}

impl BlockPool {
    /// At most `blocks_max` blocks at a time. None is allocated before it is taken.
    pub(crate) fn new(layout: KvLayout, blocks_max: usize) -> Result<Self> {
        let elements = layout.block_elements().map_err(Error::wrap)?;
        Ok(Self(Arc::new(Shared {
            layout,
            blocks_max,
            zeros: vec![0.0; elements],
            state: Mutex::new(State {
                free: Vec::new(),
                taken: 0,
            }),
        })))
    }

    /// A block of zeros, or `None` when all are taken.
    pub(super) fn take(&self) -> Option<KvBlock> {
        let mut state = self.lock();
        if state.taken >= self.0.blocks_max {
            return None;
        }
        state.taken += 1;
        let used_before = state.free.pop();
        drop(state);
        Some(KvBlock {
            elements: used_before.unwrap_or_else(|| vec![0.0; self.0.zeros.len()]),
            pool: self.clone(),
        })
    }

    pub(super) fn layout(&self) -> KvLayout {
        self.0.layout
    }

    pub(super) fn zeros(&self) -> &[f32] {
        &self.0.zeros
    }

    /// Blocks that somebody holds.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> usize {
        self.lock().taken
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock leaves the state half changed.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KvBlock {
    pub(super) fn elements(&self) -> &[f32] {
        &self.elements
    }

    pub(super) fn elements_mut(&mut self) -> &mut [f32] {
        &mut self.elements
    }
}

impl Drop for KvBlock {
    fn drop(&mut self) {
        // As a slice: the vector keeps its length.
        self.elements.as_mut_slice().zeroize();
        let mut state = self.pool.lock();
        state.taken -= 1;
        state.free.push(std::mem::take(&mut self.elements));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: KvLayout = KvLayout {
        kv_heads: 2,
        head_width: 4,
    };

    #[test]
    fn what_was_written_is_zero_for_whoever_takes_it_next() {
        let pool = BlockPool::new(LAYOUT, 1).expect("a small block");
        let mut block = pool.take().expect("there is one");
        LAYOUT
            .write(block.elements_mut(), 3, &[1.0; 8], &[2.0; 8])
            .expect("it fits");
        assert_eq!(block.elements().iter().sum::<f32>(), 24.0);
        let place = block.elements().as_ptr();
        drop(block);
        let again = pool.take().expect("it came back");
        assert_eq!(again.elements().as_ptr(), place, "the same memory");
        assert!(again.elements().iter().all(|element| *element == 0.0));
    }

    #[test]
    fn there_are_no_more_than_so_many() {
        let pool = BlockPool::new(LAYOUT, 3).expect("a small block");
        let held: Vec<KvBlock> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!((held.len(), pool.taken()), (3, 3));
        drop(held);
        assert_eq!(pool.taken(), 0);
        assert!(pool.take().is_some());
    }
}
