//! Keys and values of one sequence, allocated once and written in place.
//!
//! Wiping: every element that was written is overwritten with zeros before the memory is freed, through the
//! tensor's own storage. Safe code has no stronger way: the write goes through a lock and a reference count,
//! which the compiler does not see through today, but nothing forbids it to. Activations of a step
//! (hidden states, scores, logits inside the tensor library) are freed without being overwritten; the
//! enclave's allocator is the place for that.

use candle_core::{DType, Device, Result, Tensor, bail};

use crate::config::DecoderConfig;

/// The cache of one sequence; never shared with another.
pub(crate) struct KvCache {
    layers: Vec<(Tensor, Tensor)>,
    capacity: usize,
    len: usize,
    /// Positions that some layer may have written, also in a step that did not finish.
    dirty: usize,
}

impl KvCache {
    /// Room for `capacity` tokens. The memory is claimed now and becomes resident as it is written.
    pub(crate) fn new(config: &DecoderConfig, capacity: usize) -> Result<Self> {
        let shape = (config.kv_heads, capacity, config.head_dim);
        let zeros = || Tensor::zeros(shape, DType::F32, &Device::Cpu);
        let layers = (0..config.layers)
            .map(|_| Ok((zeros()?, zeros()?)))
            .collect::<Result<_>>()?;
        Ok(Self {
            layers,
            capacity,
            len: 0,
            dirty: 0,
        })
    }

    /// Tokens that every layer holds.
    pub(crate) fn len(&self) -> usize {
        self.len
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

    /// Writes after the tokens held, and returns views of all that `layer` then holds.
    /// Both inputs are (kv heads, tokens, head width).
    pub(super) fn append(
        &mut self,
        layer: usize,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let end = self.len + keys.dim(1)?;
        self.dirty = self.dirty.max(end);
        let (all_keys, all_values) = &self.layers[layer];
        all_keys.slice_set(keys, 1, self.len)?;
        all_values.slice_set(values, 1, self.len)?;
        Ok((all_keys.narrow(1, 0, end)?, all_values.narrow(1, 0, end)?))
    }

    /// Called once all layers have appended.
    pub(super) fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }

    fn wipe(&mut self) {
        for tensor in self.layers.iter().flat_map(|(keys, values)| [keys, values]) {
            // The range was written before, so neither call can fail; and a drop has nobody to tell.
            let _ = tensor
                .narrow(1, 0, self.dirty)
                .and_then(|written| written.zero_set());
        }
        self.dirty = 0;
    }
}

impl Drop for KvCache {
    fn drop(&mut self) {
        self.wipe();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Rope, RopeScaling};

    fn config() -> DecoderConfig {
        DecoderConfig {
            vocabulary: 8,
            hidden: 8,
            intermediate: 8,
            layers: 2,
            heads: 2,
            kv_heads: 2,
            head_dim: 4,
            norm_epsilon: 1e-6,
            rope: Rope {
                theta: 1e4,
                scaling: RopeScaling::None,
            },
            context_tokens_max: 16,
            tied_embeddings: true,
            attention_bias: false,
            mlp_bias: false,
        }
    }

    #[test]
    fn what_was_written_is_zero_after_wiping_and_nothing_is_reallocated() {
        let mut cache = KvCache::new(&config(), 6).expect("a small cache");
        let ones = Tensor::ones((2, 3, 4), DType::F32, &Device::Cpu).expect("ones");
        for layer in 0..2 {
            let (keys, _) = cache.append(layer, &ones, &ones).expect("it fits");
            assert_eq!(keys.dims(), [2, 3, 4]);
        }
        // The second layer of an interrupted step never came: still wiped.
        cache.advance(3);
        cache.append(0, &ones, &ones).expect("it fits");
        let held: Vec<Tensor> = cache
            .layers
            .iter()
            .flat_map(|(k, v)| [k.clone(), v.clone()])
            .collect();
        let sum = |tensor: &Tensor| {
            tensor
                .sum_all()
                .and_then(|sum| sum.to_scalar::<f32>())
                .expect("a sum")
        };
        assert!(held.iter().all(|tensor| sum(tensor) > 0.0));
        drop(cache);
        assert!(
            held.iter().all(|tensor| sum(tensor) == 0.0),
            "the storage outlives the cache only in this test"
        );
    }

    #[test]
    fn a_full_cache_refuses() {
        let mut cache = KvCache::new(&config(), 4).expect("a small cache");
        assert!(cache.check_room(5).is_err());
        assert!(cache.check_room(0).is_err());
        cache.advance(4);
        assert!(cache.check_room(1).is_err());
    }
}
