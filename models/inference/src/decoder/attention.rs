//! Grouped-query attention, each sequence of a batch over its own cache.

use candle_core::{Device, Result, Tensor, bail};

use super::batch::Rows;
use super::kv_cache::{BLOCK_TOKENS, BlockShape, KvBlock};
use super::linear::Linear;
use super::ops::{HeadNorm, Rotation, attend, values_of};
use crate::checkpoint::Checkpoint;
use crate::config::{DecoderConfig, LayerConfig};
use crate::error::InferenceError;

pub(super) struct Attention {
    query_key_value: Linear,
    output: Linear,
    norms: Option<[HeadNorm; 2]>,
    sinks: Option<Vec<f32>>,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    scores: Scores,
}

/// What becomes of the products of queries and keys.
#[derive(Clone, Copy)]
pub(crate) struct Scores {
    pub(super) scale: f32,
    pub(super) softcap: Option<f32>,
    pub(super) window: Option<usize>,
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
            let mut norm = |name: &str| {
                let weight = checkpoint.floats(&format!("{prefix}.{name}.weight"), &[config.head_dim])?;
                Ok(HeadNorm::new(weight, config.norm_offset, config.norm_epsilon))
            };
            Some([norm("q_norm")?, norm("k_norm")?])
        } else {
            None
        };
        let sinks = if config.sinks {
            Some(checkpoint.floats(&format!("{prefix}.sinks"), &[config.heads])?)
        } else {
            None
        };
        Ok(Self {
            query_key_value: Linear::load(checkpoint, parts, config.hidden, config.query_key_value_bias)?,
            output: Linear::load(checkpoint, &[(o, config.hidden)], query, config.output_bias)?,
            norms,
            sinks,
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            scores: Scores {
                scale: config.score_scale,
                softcap: config.score_softcap,
                window: layer.window,
            },
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
        let mut fused = values_of(&self.query_key_value.forward(x)?)?;
        let (query, kv) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let width = query + 2 * kv;
        if fused.len() != rows.len() * width {
            bail!("{} elements for {} rows of {width}", fused.len(), rows.len());
        }
        for (row, fused) in fused.chunks_exact_mut(width).enumerate() {
            let (queries, rest) = fused.split_at_mut(query);
            let keys = &mut rest[..kv];
            if let Some([query_norm, key_norm]) = &self.norms {
                query_norm.apply(queries);
                key_norm.apply(keys);
            }
            if let Some(rotation) = rotation {
                rotation.turn(row, queries, self.head_dim);
                rotation.turn(row, keys, self.head_dim);
                rotation.grow(row, queries);
            }
        }
        let mut mixed = vec![0.0_f32; rows.len() * query];
        for sequence in rows.sequences() {
            let fused = &fused[sequence.first_row * width..][..sequence.tokens * width];
            let past = sequence.cache.len();
            for (token, row) in fused.chunks_exact(width).enumerate() {
                let (keys, values) = row[query..].split_at(kv);
                sequence.cache.write(layer, past + token, keys, values)?;
            }
            let view = CacheView {
                blocks: sequence.cache.layer(layer),
                shape: sequence.cache.shape(),
            };
            let queries = Queries {
                rows: fused,
                stride: width,
                heads: self.heads,
                past,
            };
            let mixed = &mut mixed[sequence.first_row * query..][..sequence.tokens * query];
            attend(&queries, &view, self.scores, self.sinks.as_deref(), mixed)?;
        }
        self.output
            .forward(&Tensor::from_vec(mixed, (rows.len(), query), &Device::Cpu)?)
    }
}

/// The queries of one sequence: row `i` is the token at position `past + i` and begins with its queries.
pub(crate) struct Queries<'a> {
    pub(super) rows: &'a [f32],
    pub(super) stride: usize,
    pub(super) heads: usize,
    pub(super) past: usize,
}

/// What one sequence holds in one layer.
pub(crate) struct CacheView<'a> {
    pub(super) blocks: &'a [Option<KvBlock>],
    pub(super) shape: BlockShape,
}

impl<'a> CacheView<'a> {
    /// The blocks that hold positions `from..to`, each with the range of tokens inside it.
    pub(super) fn pieces(
        &self,
        from: usize,
        to: usize,
    ) -> impl Iterator<Item = (&'a KvBlock, std::ops::Range<usize>)> {
        let blocks = self.blocks;
        (from / BLOCK_TOKENS..to.div_ceil(BLOCK_TOKENS)).filter_map(move |number| {
            let first = number * BLOCK_TOKENS;
            let range = from.saturating_sub(first)..(to - first).min(BLOCK_TOKENS);
            Some((blocks.get(number)?.as_ref()?, range))
        })
    }
}
