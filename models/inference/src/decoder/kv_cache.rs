//! Keys and values of one sequence, in blocks of tokens that an allocator hands out.
//!
//! A block belongs to one layer and is never shared between sequences. Layers with a sliding window give blocks
//! back once no later token can see them. The source decides where blocks come from and how many there are:
//! [`Heap`] allocates, a fixed pool would refuse.
//!
//! Wiping: a block is overwritten with zeros when it is dropped, whoever holds it then. Activations of a step
//! (hidden states, scores, logits inside the tensor library) are freed without being overwritten; the enclave's
//! allocator is the place for that.

use candle_core::{Result, bail};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::config::DecoderConfig;

/// Tokens of a block.
pub(crate) const BLOCK_TOKENS: usize = 32;

/// Keys and values of [`BLOCK_TOKENS`] tokens in one layer; both are (kv heads, tokens, head width).
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct KvBlock {
    keys: Vec<f32>,
    values: Vec<f32>,
}

/// Shape of the blocks of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockShape {
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
}

impl BlockShape {
    pub(crate) fn of(config: &DecoderConfig) -> Self {
        Self {
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
        }
    }

    fn elements(self) -> usize {
        self.kv_heads * BLOCK_TOKENS * self.head_dim
    }
}

impl KvBlock {
    /// A block of zeros.
    pub(crate) fn new(shape: BlockShape) -> Self {
        Self {
            keys: vec![0.0; shape.elements()],
            values: vec![0.0; shape.elements()],
        }
    }

    /// The keys of `tokens` of a head, one after the other.
    pub(super) fn keys(&self, shape: BlockShape, head: usize, tokens: std::ops::Range<usize>) -> &[f32] {
        rows(&self.keys, shape, head, tokens)
    }

    /// The values of `tokens` of a head, one after the other.
    pub(super) fn values(&self, shape: BlockShape, head: usize, tokens: std::ops::Range<usize>) -> &[f32] {
        rows(&self.values, shape, head, tokens)
    }

    fn write(&mut self, shape: BlockShape, token: usize, keys: &[f32], values: &[f32]) {
        let width = shape.head_dim;
        for (to, from) in [(&mut self.keys, keys), (&mut self.values, values)] {
            for (head, from) in from.chunks_exact(width).enumerate() {
                to[(head * BLOCK_TOKENS + token) * width..][..width].copy_from_slice(from);
            }
        }
    }
}

fn rows(data: &[f32], shape: BlockShape, head: usize, tokens: std::ops::Range<usize>) -> &[f32] {
    let first = head * BLOCK_TOKENS;
    &data[(first + tokens.start) * shape.head_dim..(first + tokens.end) * shape.head_dim]
}

/// Where blocks come from, and where they go when a sequence needs them no more.
pub(crate) trait BlockSource: Send {
    /// A block of zeros, or `None` when there is none left.
    fn take(&mut self, shape: BlockShape) -> Option<KvBlock>;
    /// A block that may hold a prompt: it must be wiped before another sequence gets it.
    fn give_back(&mut self, block: KvBlock);
}

/// Allocates every block and frees it, wiped, when it comes back.
pub(crate) struct Heap;

impl BlockSource for Heap {
    fn take(&mut self, shape: BlockShape) -> Option<KvBlock> {
        Some(KvBlock::new(shape))
    }

    fn give_back(&mut self, block: KvBlock) {
        drop(block);
    }
}

/// The cache of one sequence; never shared with another.
pub(crate) struct KvCache {
    layers: Vec<LayerBlocks>,
    shape: BlockShape,
    source: Box<dyn BlockSource>,
    capacity: usize,
    len: usize,
    /// The tokens held, kept only for models that must compute them again when a sequence grows long.
    history: Option<Zeroizing<Vec<u32>>>,
}

/// The blocks of a layer by number; `None` where a block is not there yet or no more.
struct LayerBlocks {
    blocks: Vec<Option<KvBlock>>,
    window: Option<usize>,
}

impl KvCache {
    /// Room for `capacity` tokens; blocks are allocated as they are written.
    pub(crate) fn new(config: &DecoderConfig, capacity: usize) -> Result<Self> {
        Self::with_source(config, capacity, Box::new(Heap))
    }

    /// Room for `capacity` tokens in blocks of `source`.
    pub(crate) fn with_source(
        config: &DecoderConfig,
        capacity: usize,
        source: Box<dyn BlockSource>,
    ) -> Result<Self> {
        let layers = config.layers.iter().map(|layer| LayerBlocks {
            blocks: Vec::new(),
            window: layer.window,
        });
        // Reserved in full: a growing vector would leave tokens behind in the memory it outgrew.
        let history = config
            .computes_again()
            .then(|| Zeroizing::new(Vec::with_capacity(capacity)));
        Ok(Self {
            layers: layers.collect(),
            shape: BlockShape::of(config),
            source,
            capacity,
            len: 0,
            history,
        })
    }

    /// Tokens that every layer holds.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Blocks held at the moment, of all layers.
    #[cfg(test)]
    pub(crate) fn blocks(&self) -> usize {
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
            layer.blocks.resize_with(end.max(layer.blocks.len()), || None);
            for block in &mut layer.blocks[first..end] {
                if block.is_none() {
                    let Some(taken) = self.source.take(self.shape) else {
                        bail!("there is no block left for the cache");
                    };
                    *block = Some(taken);
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
        let block = self.layers[layer]
            .blocks
            .get_mut(position / BLOCK_TOKENS)
            .and_then(Option::as_mut);
        let Some(block) = block else {
            bail!("position {position} was not reserved");
        };
        block.write(self.shape, position % BLOCK_TOKENS, keys, values);
        Ok(())
    }

    /// The blocks of a layer; those that attention can see are there.
    pub(super) fn layer(&self, layer: usize) -> &[Option<KvBlock>] {
        &self.layers[layer].blocks
    }

    pub(super) fn shape(&self) -> BlockShape {
        self.shape
    }

    /// Called once all layers have written `tokens`. Blocks that no later token can see go back.
    pub(super) fn advance(&mut self, tokens: &[u32]) {
        self.len += tokens.len();
        if let Some(history) = &mut self.history {
            history.extend_from_slice(tokens);
        }
        for layer in &mut self.layers {
            let Some(window) = layer.window else { continue };
            // The next token, at position `len`, sees from `len + 1 - window`.
            let unseen = (self.len + 1).saturating_sub(window) / BLOCK_TOKENS;
            let unseen = unseen.min(layer.blocks.len());
            for block in layer.blocks[..unseen].iter_mut().filter_map(Option::take) {
                self.source.give_back(block);
            }
        }
    }

    /// The tokens held, when the model may have to compute them again.
    pub(super) fn history(&self) -> Option<&[u32]> {
        self.history.as_ref().map(|history| history.as_slice())
    }

    /// Gives everything back, to be computed again.
    pub(super) fn rewind(&mut self) {
        for layer in &mut self.layers {
            for block in layer.blocks.drain(..).flatten() {
                self.source.give_back(block);
            }
        }
        self.len = 0;
        if let Some(history) = &mut self.history {
            history.zeroize();
        }
    }
}

impl Drop for KvCache {
    fn drop(&mut self) {
        self.rewind();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::config::tests::tiny;

    /// Three blocks; keeps what comes back.
    struct Three {
        left: usize,
        returned: Arc<Mutex<Vec<KvBlock>>>,
    }

    impl BlockSource for Three {
        fn take(&mut self, shape: BlockShape) -> Option<KvBlock> {
            self.left = self.left.checked_sub(1)?;
            Some(KvBlock::new(shape))
        }

        fn give_back(&mut self, block: KvBlock) {
            self.returned.lock().expect("one thread").push(block);
        }
    }

    fn fill(cache: &mut KvCache, tokens: usize) {
        cache.reserve(tokens).expect("there is room");
        let ones = vec![1.0; cache.shape.kv_heads * cache.shape.head_dim];
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
    fn what_was_written_is_zero_after_wiping() {
        let mut block = KvBlock::new(BlockShape {
            kv_heads: 2,
            head_dim: 4,
        });
        block.write(
            BlockShape {
                kv_heads: 2,
                head_dim: 4,
            },
            3,
            &[1.0; 8],
            &[2.0; 8],
        );
        assert_eq!(block.keys.iter().sum::<f32>(), 8.0);
        // What drop calls; memory that was freed cannot be looked at.
        block.zeroize();
        assert!(block.keys.is_empty() && block.values.is_empty());
    }

    #[test]
    fn every_block_comes_back_once_and_a_source_may_refuse() {
        let returned = Arc::new(Mutex::new(Vec::new()));
        let source = Three {
            left: 3,
            returned: Arc::clone(&returned),
        };
        let mut config = tiny();
        config.layers.truncate(1);
        let mut cache =
            KvCache::with_source(&config, 4 * BLOCK_TOKENS, Box::new(source)).expect("a small cache");
        fill(&mut cache, 2 * BLOCK_TOKENS + 1);
        assert_eq!(cache.blocks(), 3);
        assert!(cache.reserve(BLOCK_TOKENS).is_err(), "the fourth is not there");
        drop(cache);
        assert_eq!(returned.lock().expect("one thread").len(), 3);
    }

    #[test]
    fn a_sliding_layer_holds_what_its_window_needs() {
        let mut config = tiny();
        config.layers[0].window = Some(BLOCK_TOKENS);
        let mut cache = KvCache::new(&config, 100 * BLOCK_TOKENS).expect("a small cache");
        for _ in 0..8 * BLOCK_TOKENS {
            fill(&mut cache, 1);
        }
        let held = |layer: usize| cache.layer(layer).iter().flatten().count();
        assert_eq!((held(0), held(1)), (1, 8));
        fill(&mut cache, 1);
        let seen = |layer: usize| cache.layer(layer).iter().flatten().count();
        assert_eq!((seen(0), seen(1)), (2, 9));
    }

    #[test]
    fn a_full_cache_refuses() {
        let mut cache = KvCache::new(&tiny(), 4).expect("a small cache");
        assert!(cache.check_room(5).is_err());
        assert!(cache.check_room(0).is_err());
        fill(&mut cache, 4);
        assert!(cache.check_room(1).is_err());
    }
}
