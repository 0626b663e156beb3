//! Grouped-query attention over the cache of one sequence.

use candle_core::{Result, Tensor};

use super::kv_cache::KvCache;
use super::linear::Linear;
use super::ops::{Rotation, causal_softmax, split_heads};
use crate::checkpoint::Checkpoint;
use crate::config::DecoderConfig;
use crate::error::InferenceError;

pub(super) struct Attention {
    query_key_value: Linear,
    output: Linear,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
}

impl Attention {
    pub(super) fn load(
        config: &DecoderConfig,
        checkpoint: &mut Checkpoint<'_>,
        prefix: &str,
    ) -> std::result::Result<Self, InferenceError> {
        let names = ["q_proj", "k_proj", "v_proj", "o_proj"].map(|name| format!("{prefix}.{name}"));
        let [q, k, v, o] = names.each_ref().map(String::as_str);
        let parts = [
            (q, config.query_width()),
            (k, config.kv_width()),
            (v, config.kv_width()),
        ];
        Ok(Self {
            query_key_value: Linear::load(checkpoint, &parts, config.hidden, config.attention_bias)?,
            output: Linear::load(
                checkpoint,
                &[(o, config.hidden)],
                config.query_width(),
                config.attention_bias,
            )?,
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
        })
    }

    /// `x` is (tokens, hidden). Keys and values of the tokens are written into the cache of `layer`.
    ///
    /// The query heads that share a key-value head lie next to each other, so that one product per
    /// key-value head serves the group and no key is copied.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        rotation: &Rotation,
        cache: &mut KvCache,
        layer: usize,
    ) -> Result<Tensor> {
        let (tokens, group) = (x.dim(0)?, self.heads / self.kv_heads);
        let fused = self.query_key_value.forward(x)?;
        let (keys_at, values_at) = (
            self.heads * self.head_dim,
            (self.heads + self.kv_heads) * self.head_dim,
        );
        let queries = split_heads(&fused, 0, self.heads, self.head_dim, Some(rotation))?;
        let keys = split_heads(&fused, keys_at, self.kv_heads, self.head_dim, Some(rotation))?;
        let values = split_heads(&fused, values_at, self.kv_heads, self.head_dim, None)?;
        let past = cache.len();
        let (keys, values) = cache.append(layer, &keys, &values)?;

        let queries = queries.reshape((self.kv_heads, group * tokens, self.head_dim))?;
        let scores = queries.matmul(&keys.t()?)?;
        causal_softmax(&scores, (self.head_dim as f32).sqrt().recip(), past, tokens)?;
        let mixed = scores
            .matmul(&values)?
            .reshape((self.heads, tokens, self.head_dim))?;
        let mixed = mixed
            .transpose(0, 1)?
            .reshape((tokens, self.heads * self.head_dim))?;
        self.output.forward(&mixed)
    }
}
