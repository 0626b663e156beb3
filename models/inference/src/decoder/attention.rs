//! Grouped-query attention, each sequence of a batch over its own cache.

use candle_core::{Device, Error, Result, Tensor, bail};
use kernels::Heads;
use kernels::attention::{Attention as Kernel, Sequence};

use super::batch::Rows;
use super::linear::Linear;
use super::ops::{HeadNorm, Rotation, kernel_ops, values_of};
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
    scale: f32,
    softcap: Option<f32>,
    window: Option<usize>,
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
            scale: config.score_scale,
            softcap: config.score_softcap,
            window: layer.window,
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
        let mut layout = None;
        for sequence in rows.sequences() {
            let fused = &fused[sequence.first_row * width..][..sequence.tokens * width];
            let past = sequence.cache.len();
            for (token, row) in fused.chunks_exact(width).enumerate() {
                let (keys, values) = row[query..].split_at(kv);
                sequence.cache.write(layer, past + token, keys, values)?;
            }
            layout = Some(sequence.cache.layout());
        }
        let Some(layout) = layout else {
            bail!("the batch is empty");
        };
        let mut mixed = vec![0.0_f32; rows.len() * query];
        let mut rest = mixed.as_mut_slice();
        let mut outputs = Vec::new();
        let mut blocks = Vec::new();
        for sequence in rows.shared_sequences() {
            let (output, after) = rest.split_at_mut(sequence.tokens * query);
            rest = after;
            outputs.push(output);
            let past = sequence.cache.len();
            blocks.push(sequence.cache.blocks(layer, past, past + sequence.tokens)?);
        }
        let sequences = rows
            .shared_sequences()
            .zip(&blocks)
            .zip(outputs)
            .map(|((sequence, blocks), out)| Sequence {
                queries: &fused[sequence.first_row * width..][..sequence.tokens * width],
                past: sequence.cache.len(),
                blocks,
                out,
            })
            .collect();
        let attention = Kernel {
            layout,
            heads: self.heads,
            scale: self.scale,
            causal: true,
            window: self.window,
            softcap: self.softcap,
            sinks: self.sinks.as_deref(),
        };
        let heads = Heads {
            row_width: width,
            first: 0,
            count: self.heads,
            width: self.head_dim,
        };
        let longest = rows.positions().map(|(_, _, length)| length).max();
        let products = 2 * rows.len() * query * longest.unwrap_or(0);
        kernel_ops(products)
            .attention(&attention, heads, sequences)
            .map_err(Error::wrap)?;
        self.output
            .forward(&Tensor::from_vec(mixed, (rows.len(), query), &Device::Cpu)?)
    }
}
