//! Attention between its products. Queries and keys of a row are normed and turned together; each sequence attends by
//! itself to a copy of the rows of its cache that it can see.

use candle_core::{D, Result, Tensor, bail};

use super::{RmsNorm, Rotation, softcap, upload};
use crate::decoder::batch::{Rows, SharedRows};
use crate::decoder::ops::{HeadShape, HeadWeights};
use crate::error::InferenceError;
use crate::place::OnDevice;

/// See [`Heads`](crate::decoder::ops::Heads).
pub(crate) struct Heads {
    shape: HeadShape,
    norms: Option<RmsNorm>,
    /// (heads, 1, 1)
    sinks: Option<Tensor>,
    device: OnDevice,
}

impl Heads {
    pub(crate) fn load(
        shape: HeadShape,
        weights: HeadWeights,
        device: &OnDevice,
    ) -> std::result::Result<Self, InferenceError> {
        let HeadWeights {
            norms,
            norm_offset,
            norm_epsilon,
            sinks,
        } = weights;
        let counts = (shape.heads, shape.kv_heads);
        let norms = norms.map(|norms| RmsNorm::of_heads(norms, counts, norm_offset, norm_epsilon, device));
        let sinks = sinks.map(|sinks| upload(sinks, (shape.heads, 1, 1), device));
        Ok(Self {
            shape,
            norms: norms.transpose()?,
            sinks: sinks.transpose()?,
            device: device.clone(),
        })
    }

    pub(in crate::decoder) fn attend(
        &self,
        fused: &Tensor,
        rotation: Option<&Rotation>,
        rows: &mut Rows<'_, '_>,
        layer: usize,
    ) -> Result<Tensor> {
        let HeadShape {
            heads,
            kv_heads,
            head_dim,
            ..
        } = self.shape;
        let (query, kv) = (self.shape.query_width(), self.shape.kv_width());
        let count = rows.len();
        if fused.dims2()? != (count, query + 2 * kv) {
            bail!("{:?} for {count} rows of {}", fused.dims(), query + 2 * kv);
        }
        let mut turned = fused
            .narrow(1, 0, query + kv)?
            .reshape((count, heads + kv_heads, head_dim))?;
        if let Some(norms) = &self.norms {
            turned = norms.forward(&turned)?;
        }
        if let Some(rotation) = rotation {
            turned = rotation.turn(&turned)?;
        }
        let mut queries = turned.narrow(1, 0, heads)?;
        if let Some(rotation) = rotation {
            queries = rotation.grow(queries)?;
        }
        let keys = turned.narrow(1, heads, kv_heads)?.reshape((count, kv))?;
        let keys_values = Tensor::cat(&[keys, fused.narrow(1, query + kv, kv)?], 1)?;
        for sequence in rows.sequences() {
            let rows = keys_values.narrow(0, sequence.first_row, sequence.tokens)?;
            let past = sequence.cache.len();
            sequence.cache.write_rows(layer, past, &rows)?;
        }
        let mixed = rows.shared_sequences().map(|sequence| {
            let queries = queries.narrow(0, sequence.first_row, sequence.tokens)?;
            self.mix(&queries, &sequence, layer)
        });
        let mixed = mixed.collect::<Result<Vec<_>>>()?;
        match mixed.as_slice() {
            [] => bail!("the batch is empty"),
            [mixed] => Ok(mixed.clone()),
            several => Tensor::cat(several, 0),
        }
    }

    /// `queries` is (tokens, heads, head width), the result (tokens, queries).
    fn mix(&self, queries: &Tensor, sequence: &SharedRows<'_>, layer: usize) -> Result<Tensor> {
        let HeadShape {
            heads,
            kv_heads,
            head_dim,
            ..
        } = self.shape;
        let (past, tokens) = (sequence.cache.len(), sequence.tokens);
        // What the first of the tokens sees, and all that come after.
        let first = self
            .shape
            .window
            .map_or(0, |window| (past + 1).saturating_sub(window));
        let length = past + tokens - first;
        let seen = sequence.cache.rows(layer, first, past + tokens)?;
        let seen = seen.reshape((length, 2, kv_heads, head_dim))?;
        let part = |which: usize| seen.narrow(1, which, 1)?.squeeze(1);
        let keys = part(0)?.permute((1, 2, 0))?.contiguous()?;
        let values = part(1)?.transpose(0, 1)?.contiguous()?;
        // Heads that share keys become rows of one product.
        let shared = heads / kv_heads * tokens;
        let queries = queries.transpose(0, 1)?.contiguous()?;
        let queries = queries.reshape((kv_heads, shared, head_dim))?;
        let mut scores = (queries.matmul(&keys)? * f64::from(self.shape.scale))?;
        if let Some(cap) = self.shape.softcap {
            scores = softcap(&scores, cap)?;
        }
        let scores = scores.reshape((heads, tokens, length))?;
        let scores = match tokens {
            // One token sees all of them.
            1 => scores,
            _ => self.hide(&scores, first, past)?,
        };
        let weights = self.softmax(&scores)?.reshape((kv_heads, shared, length))?;
        let mixed = weights.matmul(&values)?.reshape((heads, tokens, head_dim))?;
        mixed.transpose(0, 1)?.reshape((tokens, heads * head_dim))
    }

    /// Negative infinity for what comes after a token, and for what its window does not reach.
    fn hide(&self, scores: &Tensor, first: usize, past: usize) -> Result<Tensor> {
        let (_, tokens, length) = scores.dims3()?;
        let device = self.device.device();
        // f32 holds positions exactly up to 2^24, the bound of the config.
        let positions = |first: usize, count: usize| {
            let positions: Vec<f32> = (first..first + count).map(|position| position as f32).collect();
            Tensor::from_vec(positions, count, device)
        };
        let keys = positions(first, length)?.reshape((1, length))?;
        let queries = positions(past, tokens)?.reshape((tokens, 1))?;
        let mut visible = keys.broadcast_le(&queries)?;
        if let Some(window) = self.shape.window {
            let within = (keys + window as f64)?.broadcast_gt(&queries)?;
            visible = (visible * within)?;
        }
        let visible = visible.broadcast_as(scores.shape())?;
        let nothing = Tensor::full(f32::NEG_INFINITY, (), device)?.broadcast_as(scores.shape())?;
        visible.where_cond(scores, &nothing)
    }

    /// Along the last dimension of (heads, tokens, length); a sink takes its share of each row.
    fn softmax(&self, scores: &Tensor) -> Result<Tensor> {
        let mut largest = scores.max_keepdim(D::Minus1)?;
        if let Some(sinks) = &self.sinks {
            largest = largest.broadcast_maximum(sinks)?;
        }
        let weights = scores.broadcast_sub(&largest)?.exp()?;
        let mut sum = weights.sum_keepdim(D::Minus1)?;
        if let Some(sinks) = &self.sinks {
            sum = (sum + sinks.broadcast_sub(&largest)?.exp()?)?;
        }
        weights.broadcast_div(&sum)
    }
}
