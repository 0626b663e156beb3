//! Grouped-query attention, each sequence of a batch over its own cache.

use candle_core::{Result, Tensor};

use super::batch::Rows;
use super::linear::Linear;
use super::ops::{HeadShape, HeadWeights, Heads, Rotation};
use crate::checkpoint::Checkpoint;
use crate::config::{DecoderConfig, LayerConfig};
use crate::error::InferenceError;

pub(super) struct Attention {
    query_key_value: Linear,
    heads: Heads,
    output: Linear,
}

impl Attention {
    pub(super) fn load(
        config: &DecoderConfig,
        layer: &LayerConfig,
        checkpoint: &mut Checkpoint<'_>,
        prefix: &str,
    ) -> std::result::Result<Self, InferenceError> {
        let (query, kv) = (config.query_width(), config.kv_width());
        let names =
            ["q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj"].map(|name| format!("{prefix}.{name}"));
        let [q, k, v, o, qkv] = names.each_ref().map(String::as_str);
        let parts: &[(&str, usize)] = if config.fused_tensors && checkpoint.has(&format!("{qkv}.weight")) {
            &[(qkv, query + 2 * kv)]
        } else {
            &[(q, query), (k, kv), (v, kv)]
        };
        let norms = if config.query_key_norm {
            let mut norm =
                |name: &str| checkpoint.floats(&format!("{prefix}.{name}.weight"), &[config.head_dim]);
            Some([norm("q_norm")?, norm("k_norm")?])
        } else {
            None
        };
        let sinks = if config.sinks {
            Some(checkpoint.floats(&format!("{prefix}.sinks"), &[config.heads])?)
        } else {
            None
        };
        let shape = HeadShape {
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            scale: config.score_scale,
            softcap: config.score_softcap,
            window: layer.window,
        };
        let weights = HeadWeights {
            norms,
            norm_offset: config.norm_offset,
            norm_epsilon: config.norm_epsilon,
            sinks,
        };
        Ok(Self {
            query_key_value: Linear::load(checkpoint, parts, config.hidden, config.query_key_value_bias)?,
            heads: Heads::load(shape, weights, checkpoint.place())?,
            output: Linear::load(checkpoint, &[(o, config.hidden)], query, config.output_bias)?,
        })
    }

    /// `x` is (rows, hidden). Keys and values of each row go into the cache of its sequence.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        rotation: Option<&Rotation>,
        rows: &mut Rows<'_, '_>,
        layer: usize,
    ) -> Result<Tensor> {
        let fused = self.query_key_value.forward(x)?;
        let mixed = self.heads.attend(&fused, rotation, rows, layer)?;
        self.output.forward(&mixed)
    }
}
