//! Keys and values of one sequence, in blocks of tokens that an allocator hands out.
//!
//! A block belongs to one layer and is never shared between sequences. Layers with a sliding window give blocks
//! back once no later token can see them. The source decides where blocks come from and how many there are:
//! [`Heap`] allocates, a fixed pool would refuse.
//!
//! Wiping: a block is overwritten with zeros when it is dropped, whoever holds it then. Activations of a step
//! (hidden states, scores, logits inside the tensor library) are freed without being overwritten; the enclave's
//! allocator is the place for that.

use candle_core::{Error, Result, bail};
use kernels::attention::KvLayout;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::config::DecoderConfig;

pub(crate) use kernels::attention::BLOCK_TOKENS;

/// Keys and values of [`BLOCK_TOKENS`] tokens in one layer, laid out as the kernels read them.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct KvBlock {
    elements: Vec<f32>,
}

impl KvBlock {
    /// A block of zeros.
    pub(crate) fn new(layout: KvLayout) -> Result<Self> {
        let elements = layout.block_elements().map_err(Error::wrap)?;
        Ok(Self {
            elements: vec![0.0; elements],
        })
    }
}

/// Where blocks come from, and where they go when a sequence needs them no more.
pub(crate) trait BlockSource: Send {
    /// A block of zeros, or `None` when there is none left.
    fn take(&mut self, layout: KvLayout) -> Option<KvBlock>;
    /// A block that may hold a prompt: it must be wiped before another sequence gets it.
    fn give_back(&mut self, block: KvBlock);
}

/// Allocates every block and frees it, wiped, when it comes back.
pub(crate) struct Heap;

impl BlockSource for Heap {
    fn take(&mut self, layout: KvLayout) -> Option<KvBlock> {
        KvBlock::new(layout).ok()
    }

    fn give_back(&mut self, block: KvBlock) {
        drop(block);
    }
}

/// The cache of one sequence; never shared with another.
pub(crate) struct KvCache {
    layers: Vec<LayerBlocks>,
    layout: KvLayout,
    /// Stands where a layer no longer has a block; no token sees it.
    gone: KvBlock,
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
        let layout = KvLayout {
            kv_heads: config.kv_heads,
            head_width: config.head_dim,
        };
        Ok(Self {
            layers: layers.collect(),
            layout,
            gone: KvBlock::new(layout)?,
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
            layer.blocks.resize_with(end.max(layer.blocks.len()), || None);
            for block in &mut layer.blocks[first..end] {
                if block.is_none() {
                    let Some(taken) = self.source.take(self.layout) else {
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
        self.layout
            .write(&mut block.elements, position % BLOCK_TOKENS, keys, values)
            .map_err(Error::wrap)
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
            Some(Some(block)) => Ok(block.elements.as_slice()),
            _ if number < seen => Ok(self.gone.elements.as_slice()),
            _ => bail!("block {number} of the cache is not there"),
        };
        (0..tokens.div_ceil(BLOCK_TOKENS)).map(block).collect()
    }

    pub(super) fn layout(&self) -> KvLayout {
        self.layout
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
        fn take(&mut self, layout: KvLayout) -> Option<KvBlock> {
            self.left = self.left.checked_sub(1)?;
            KvBlock::new(layout).ok()
        }

        fn give_back(&mut self, block: KvBlock) {
            self.returned.lock().expect("one thread").push(block);
        }
    }

    fn fill(cache: &mut KvCache, tokens: usize) {
        cache.reserve(tokens).expect("there is room");
        let ones = vec![1.0; cache.layout.kv_heads * cache.layout.head_width];
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
        let layout = KvLayout {
            kv_heads: 2,
            head_width: 4,
        };
        let mut block = KvBlock::new(layout).expect("a small block");
        layout
            .write(&mut block.elements, 3, &[1.0; 8], &[2.0; 8])
            .expect("it fits");
        assert_eq!(block.elements.iter().sum::<f32>(), 24.0);
        // What drop calls; memory that was freed cannot be looked at.
        block.elements.as_mut_slice().zeroize();
        assert!(block.elements.iter().all(|element| *element == 0.0));
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
        assert_eq!(cache.blocks_held(), 3);
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
    fn a_full_cache_refuses() {
        let mut cache = KvCache::new(&tiny(), 4).expect("a small cache");
        assert!(cache.check_room(5).is_err());
        assert!(cache.check_room(0).is_err());
        fill(&mut cache, 4);
        assert!(cache.check_room(1).is_err());
    }
}
