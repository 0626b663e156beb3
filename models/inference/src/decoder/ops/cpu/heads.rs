//! Attention between its products: rows are turned in place, and the kernels read the cache where it is.

use candle_core::{Device, Error, Result, Tensor, bail};
use kernels::attention::{Attention as Kernel, Sequence};

use super::{HeadNorm, Rotation, for_each_row, kernel_ops, values_of};
use crate::decoder::batch::Rows;
use crate::decoder::ops::{HeadShape, HeadWeights};

/// See [`Heads`](crate::decoder::ops::Heads).
pub(crate) struct Heads {
    shape: HeadShape,
    norms: Option<[HeadNorm; 2]>,
    sinks: Option<Vec<f32>>,
}

impl Heads {
    pub(crate) fn new(shape: HeadShape, weights: HeadWeights) -> Self {
        let HeadWeights {
            norms,
            norm_offset,
            norm_epsilon,
            sinks,
        } = weights;
        Self {
            shape,
            norms: norms.map(|norms| norms.map(|norm| HeadNorm::new(norm, norm_offset, norm_epsilon))),
            sinks,
        }
    }

    pub(in crate::decoder) fn attend(
        &self,
        fused: &Tensor,
        rotation: Option<&Rotation>,
        rows: &mut Rows<'_, '_>,
        layer: usize,
    ) -> Result<Tensor> {
        let mut fused = values_of(fused)?;
        let HeadShape { heads, head_dim, .. } = self.shape;
        let (query, kv) = (self.shape.query_width(), self.shape.kv_width());
        let width = query + 2 * kv;
        if fused.len() != rows.len() * width {
            bail!("{} elements for {} rows of {width}", fused.len(), rows.len());
        }
        for_each_row(&mut fused, width, |row, fused| {
            let (queries, rest) = fused.split_at_mut(query);
            let keys = &mut rest[..kv];
            if let Some([query_norm, key_norm]) = &self.norms {
                query_norm.apply(queries);
                key_norm.apply(keys);
            }
            if let Some(rotation) = rotation {
                rotation.turn(row, queries, head_dim);
                rotation.turn(row, keys, head_dim);
                rotation.grow(row, queries);
            }
        });
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
            heads,
            scale: self.shape.scale,
            causal: true,
            window: self.shape.window,
            softcap: self.shape.softcap,
            sinks: self.sinks.as_deref(),
        };
        let in_rows = kernels::Heads {
            row_width: width,
            first: 0,
            count: heads,
            width: head_dim,
        };
        let longest = rows.positions().map(|(_, _, length)| length).max();
        let products = 2 * rows.len() * query * longest.unwrap_or(0);
        kernel_ops(products)
            .attention(&attention, in_rows, sequences)
            .map_err(Error::wrap)?;
        Tensor::from_vec(mixed, (rows.len(), query), &Device::Cpu)
    }
}
