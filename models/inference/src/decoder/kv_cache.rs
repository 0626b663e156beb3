//! Keys and values of one sequence, in blocks of tokens that a pool hands out.
//!
//! A block belongs to one layer. Only the sequence that took it writes it, and only while nobody else reads it: full blocks
//! can be shared, as columns of all layers. Layers with a sliding window give blocks back once no later token can see
//! them.

use std::sync::Arc;

use candle_core::{Error, Result, Tensor, bail};
use kernels::attention::KvLayout;
use zeroize::{Zeroize, Zeroizing};

use super::block_pool::{BlockPool, KvBlock};
use crate::config::DecoderConfig;
use crate::place::Place;

pub(crate) use kernels::attention::BLOCK_TOKENS;

/// The blocks of the same tokens in every layer, full and no longer written.
pub(crate) type Column = Arc<[Arc<KvBlock>]>;

/// The cache of one sequence.
pub(crate) struct KvCache {
    layers: Vec<LayerBlocks>,
    pool: BlockPool,
    capacity: usize,
    len: usize,
    /// The tokens held, kept only for models that must compute them again when a sequence grows long.
    history: Option<Zeroizing<Vec<u32>>>,
}

/// The blocks of a layer by number; `None` where a block is not there yet or no more.
struct LayerBlocks {
    blocks: Vec<Option<Arc<KvBlock>>>,
    window: Option<usize>,
}

impl LayerBlocks {
    /// Lets go of blocks that the token at position `next`, and all after it, cannot see.
    fn forget_unseen(&mut self, next: usize) {
        if let Some(window) = self.window {
            let unseen = (next + 1).saturating_sub(window) / BLOCK_TOKENS;
            let unseen = unseen.min(self.blocks.len());
            self.blocks[..unseen].iter_mut().for_each(|block| *block = None);
        }
    }
}

impl KvCache {
    /// Room for `capacity` tokens in blocks of its own.
    pub(crate) fn new(config: &DecoderConfig, capacity: usize, place: &Place) -> Result<Self> {
        let blocks = Self::blocks_max(config, capacity, capacity);
        let pool = BlockPool::new(Self::layout_of(config), blocks, place)?;
        Ok(Self::with_pool(config, capacity, &pool))
    }

    /// Room for `capacity` tokens; blocks are taken as they are written.
    pub(crate) fn with_pool(config: &DecoderConfig, capacity: usize, pool: &BlockPool) -> Self {
        let layers = config.layers.iter().map(|layer| LayerBlocks {
            blocks: Vec::new(),
            window: layer.window,
        });
        // Reserved in full: a growing vector would leave tokens behind in the memory it outgrew.
        let history = config
            .computes_again()
            .then(|| Zeroizing::new(Vec::with_capacity(capacity)));
        Self {
            layers: layers.collect(),
            pool: pool.clone(),
            capacity,
            len: 0,
            history,
        }
    }

    pub(crate) fn layout_of(config: &DecoderConfig) -> KvLayout {
        KvLayout {
            kv_heads: config.kv_heads,
            head_width: config.head_dim,
        }
    }

    /// Bytes of a block.
    pub(crate) fn block_bytes(config: &DecoderConfig) -> usize {
        let elements = Self::layout_of(config).block_elements().unwrap_or(usize::MAX);
        elements.saturating_mul(size_of::<f32>())
    }

    /// Blocks that a sequence of `tokens` holds at most, when no pass computes more than `pass_tokens` of it.
    pub(crate) fn blocks_max(config: &DecoderConfig, tokens: usize, pass_tokens: usize) -> usize {
        let whole = tokens.div_ceil(BLOCK_TOKENS);
        let of_layer = |window: Option<usize>| match window {
            // The window before a pass and the pass itself, which begin and end within blocks.
            Some(window) if !config.computes_again() => {
                let seen = window.saturating_add(pass_tokens).div_ceil(BLOCK_TOKENS) + 1;
                whole.min(seen)
            }
            _ => whole,
        };
        let layers = config.layers.iter().map(|layer| of_layer(layer.window));
        layers.fold(0, usize::saturating_add)
    }

    /// Tokens that every layer holds.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Blocks held at the moment, of all layers.
    #[cfg(test)]
    pub(crate) fn blocks_held(&self) -> usize {
        let held = |layer: &LayerBlocks| layer.blocks.iter().flatten().count();
        self.layers.iter().map(held).sum()
    }

    /// Fails when `tokens` more do not fit, or when there are none.
    pub(super) fn check_room(&self, tokens: usize) -> Result<()> {
        if tokens == 0 || tokens > self.capacity - self.len {
            bail!(
                "{tokens} tokens do not fit a cache of {} that holds {}",
                self.capacity,
                self.len
            );
        }
        Ok(())
    }

    /// Takes the blocks that `tokens` more will be written to.
    pub(super) fn reserve(&mut self, tokens: usize) -> Result<()> {
        self.check_room(tokens)?;
        let first = self.len / BLOCK_TOKENS;
        let end = (self.len + tokens).div_ceil(BLOCK_TOKENS);
        for layer in &mut self.layers {
            layer.forget_unseen(self.len);
            layer.blocks.resize_with(end.max(layer.blocks.len()), || None);
            for block in &mut layer.blocks[first..end] {
                if block.is_none() {
                    let Some(taken) = self.pool.take() else {
                        bail!("there is no block left for the cache");
                    };
                    *block = Some(Arc::new(taken));
                }
            }
        }
        Ok(())
    }

    /// Writes keys and values of a token, both (kv heads, head width), at `position` of a reserved range.
    pub(super) fn write(
        &mut self,
        layer: usize,
        position: usize,
        keys: &[f32],
        values: &[f32],
    ) -> Result<()> {
        let layout = self.layout();
        let block = self.reserved(layer, position)?;
        layout
            .write(block.elements_mut()?, position % BLOCK_TOKENS, keys, values)
            .map_err(Error::wrap)
    }

    /// As [`Self::write`], for a cache on a device: rows of keys and values of the tokens from `position` on.
    pub(super) fn write_rows(&mut self, layer: usize, position: usize, rows: &Tensor) -> Result<()> {
        let (mut written, count) = (0, rows.dim(0)?);
        while written < count {
            let position = position + written;
            let first = position % BLOCK_TOKENS;
            let run = (BLOCK_TOKENS - first).min(count - written);
            self.reserved(layer, position)?
                .write_rows(first, &rows.narrow(0, written, run)?)?;
            written += run;
        }
        Ok(())
    }

    /// The block of a position, which nobody else reads.
    fn reserved(&mut self, layer: usize, position: usize) -> Result<&mut KvBlock> {
        let block = self.layers[layer]
            .blocks
            .get_mut(position / BLOCK_TOKENS)
            .and_then(Option::as_mut)
            .and_then(Arc::get_mut);
        match block {
            Some(block) => Ok(block),
            None => bail!("position {position} was not reserved, or others read it"),
        }
    }

    /// The blocks of a layer that hold its first `tokens` tokens. Those that the window of `first`, the first
    /// token that asks, reaches must be there.
    pub(super) fn blocks(&self, layer: usize, first: usize, tokens: usize) -> Result<Vec<&[f32]>> {
        let layer = &self.layers[layer];
        let seen = match layer.window {
            Some(window) => (first + 1).saturating_sub(window) / BLOCK_TOKENS,
            None => 0,
        };
        let block = |number: usize| match layer.blocks.get(number) {
            Some(Some(block)) => block.elements(),
            _ if number < seen => self.pool.zeros(),
            _ => bail!("block {number} of the cache is not there"),
        };
        (0..tokens.div_ceil(BLOCK_TOKENS)).map(block).collect()
    }

    /// As [`Self::blocks`], for a cache on a device: a copy of the rows of keys and values of the positions `first..end`.
    pub(super) fn rows(&self, layer: usize, first: usize, end: usize) -> Result<Tensor> {
        let blocks = &self.layers[layer].blocks;
        let number = |number: usize| match blocks.get(number) {
            Some(Some(block)) => block.number(),
            _ => bail!("block {number} of the cache is not there"),
        };
        let before = first / BLOCK_TOKENS;
        let numbers = (before..end.div_ceil(BLOCK_TOKENS))
            .map(number)
            .collect::<Result<Vec<_>>>()?;
        self.pool
            .rows_of(&numbers)?
            .narrow(0, first - before * BLOCK_TOKENS, end - first)
    }

    pub(super) fn layout(&self) -> KvLayout {
        self.pool.layout()
    }

    /// Called once all layers have written `tokens`.
    pub(super) fn advance(&mut self, tokens: &[u32]) {
        self.len += tokens.len();
        if let Some(history) = &mut self.history {
            history.extend_from_slice(tokens);
        }
    }

    /// A full block of every layer. `None` where it is not full, or where a window has let it go: that happens when more
    /// tokens are reserved.
    pub(crate) fn column(&self, number: usize) -> Option<Column> {
        if number >= self.len / BLOCK_TOKENS {
            return None;
        }
        let block = |layer: &LayerBlocks| layer.blocks.get(number)?.clone();
        self.layers.iter().map(block).collect()
    }

    /// Begins with columns that others have computed; they are read and never written.
    pub(crate) fn begin_with(&mut self, columns: &[Column]) -> Result<()> {
        let len = columns.len() * BLOCK_TOKENS;
        if self.len > 0 || len > self.capacity || self.history.is_some() {
            bail!("this cache cannot begin with the blocks of another");
        }
        for (index, layer) in self.layers.iter_mut().enumerate() {
            layer.blocks = columns.iter().map(|column| column.get(index).cloned()).collect();
            layer.forget_unseen(len);
        }
        self.len = len;
        Ok(())
    }

    /// The tokens held, when the model may have to compute them again.
    pub(super) fn history(&self) -> Option<&[u32]> {
        self.history.as_ref().map(|history| history.as_slice())
    }

    /// Gives everything back, to be computed again.
    pub(super) fn rewind(&mut self) {
        for layer in &mut self.layers {
            layer.blocks.clear();
        }
        self.len = 0;
        if let Some(history) = &mut self.history {
            history.zeroize();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::tiny;

    fn fill(cache: &mut KvCache, tokens: usize) {
        cache.reserve(tokens).expect("there is room");
        let KvLayout { kv_heads, head_width } = cache.layout();
        let ones = vec![1.0; kv_heads * head_width];
        for layer in 0..cache.layers.len() {
            for position in cache.len..cache.len + tokens {
                cache
                    .write(layer, position, &ones, &ones)
                    .expect("it is reserved");
            }
        }
        cache.advance(&vec![0; tokens]);
    }

    #[test]
    fn every_block_comes_back_and_a_pool_may_refuse() {
        let mut config = tiny();
        config.layers.truncate(1);
        let pool = BlockPool::new(KvCache::layout_of(&config), 3, &Place::cpu()).expect("small blocks");
        let mut cache = KvCache::with_pool(&config, 4 * BLOCK_TOKENS, &pool);
        fill(&mut cache, 2 * BLOCK_TOKENS + 1);
        assert_eq!((cache.blocks_held(), pool.taken()), (3, 3));
        assert!(cache.reserve(BLOCK_TOKENS).is_err(), "the fourth is not there");
        cache.rewind();
        assert_eq!(pool.taken(), 0);
        fill(&mut cache, 1);
        drop(cache);
        assert_eq!(pool.taken(), 0);
    }

    #[test]
    fn no_way_through_a_sequence_holds_more_blocks_than_were_counted() {
        let mut config = tiny();
        for window in [1, 31, 32, 33, 100] {
            config.layers[0].window = Some(window);
            for pass in [1, 7, 32, 90, 1000] {
                let tokens = 500;
                let most = KvCache::blocks_max(&config, tokens, pass);
                let pool =
                    BlockPool::new(KvCache::layout_of(&config), most, &Place::cpu()).expect("small blocks");
                let mut cache = KvCache::with_pool(&config, tokens, &pool);
                while cache.len() < tokens {
                    let next = pass.min(tokens - cache.len());
                    fill(&mut cache, next);
                }
                assert!(most <= 2 * tokens.div_ceil(BLOCK_TOKENS));
            }
        }
    }

    #[test]
    fn a_sliding_layer_holds_what_its_window_needs() {
        let mut config = tiny();
        config.layers[0].window = Some(BLOCK_TOKENS);
        let mut cache = KvCache::new(&config, 100 * BLOCK_TOKENS, &Place::cpu()).expect("a small cache");
        for _ in 0..8 * BLOCK_TOKENS {
            fill(&mut cache, 1);
        }
        let held = |cache: &KvCache, layer: usize| cache.layers[layer].blocks.iter().flatten().count();
        assert_eq!((held(&cache, 0), held(&cache, 1)), (1, 8));
        fill(&mut cache, 1);
        assert_eq!((held(&cache, 0), held(&cache, 1)), (2, 9));
        let tokens = 8 * BLOCK_TOKENS + 1;
        assert!(cache.blocks(0, tokens - 1, tokens).is_ok());
        assert!(
            cache.blocks(0, tokens - BLOCK_TOKENS - 1, tokens).is_err(),
            "an earlier token would see what is gone"
        );
    }

    #[test]
    fn what_is_shared_is_read_and_not_written() {
        let mut config = tiny();
        config.layers[0].window = Some(BLOCK_TOKENS);
        let pool = BlockPool::new(KvCache::layout_of(&config), 100, &Place::cpu()).expect("small blocks");
        let mut first = KvCache::with_pool(&config, 10 * BLOCK_TOKENS, &pool);
        fill(&mut first, 2 * BLOCK_TOKENS + 5);
        let columns: Vec<Column> = (0..2).map_while(|number| first.column(number)).collect();
        assert_eq!(columns.len(), 2, "the windows have let none go yet");
        assert!(first.column(2).is_none(), "it is not full");
        let mut second = KvCache::with_pool(&config, 10 * BLOCK_TOKENS, &pool);
        second.begin_with(&columns).expect("it is empty");
        assert_eq!(second.len(), 2 * BLOCK_TOKENS);
        let ones = vec![1.0; config.kv_heads * config.head_dim];
        for cache in [&mut first, &mut second] {
            assert!(cache.write(1, 3, &ones, &ones).is_err());
        }
        assert!(second.begin_with(&columns).is_err(), "it holds something");
        fill(&mut second, 40);
        // The layer with a window has let go of the first block.
        assert!(second.column(0).is_none() && second.column(2).is_some());
        drop((first, second));
        assert_eq!(pool.taken(), 4);
        drop(columns);
        assert_eq!(pool.taken(), 0);
    }

    #[test]
    fn a_full_cache_refuses() {
        let mut cache = KvCache::new(&tiny(), 4, &Place::cpu()).expect("a small cache");
        assert!(cache.check_room(5).is_err());
        assert!(cache.check_room(0).is_err());
        fill(&mut cache, 4);
        assert!(cache.check_room(1).is_err());
    }
}
