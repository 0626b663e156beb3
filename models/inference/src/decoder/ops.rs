//! The element-wise operations between the products, each in one pass over its data.

mod gate;
mod norm;
mod product;
mod rotary;
mod softmax;

pub(super) use gate::gated_silu;
pub(super) use norm::RmsNorm;
pub(super) use product::product;
pub(super) use rotary::{Rotation, split_heads};
pub(super) use softmax::causal_softmax;

use candle_core::{CpuStorage, Layout, Result, bail};

/// Elements below which splitting an operation over cores costs more than it gains.
const PARALLEL_ELEMENTS_MIN: usize = 1 << 15;

/// The contiguous f32 elements behind a tensor; these operations take nothing else.
fn elements<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("operand is not contiguous"),
    }
}

/// Runs `row` for each row of `width` elements, on all cores when there is enough to do.
fn for_each_row(data: &mut [f32], width: usize, row: impl Fn(usize, &mut [f32]) + Sync) {
    use rayon::prelude::*;
    if data.len() < PARALLEL_ELEMENTS_MIN {
        data.chunks_exact_mut(width)
            .enumerate()
            .for_each(|(index, data)| row(index, data));
    } else {
        data.par_chunks_exact_mut(width)
            .enumerate()
            .for_each(|(index, data)| row(index, data));
    }
}
