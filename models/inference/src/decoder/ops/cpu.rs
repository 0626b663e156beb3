//! The operations between and in the products, each in one pass over its data. They compute on the CPU's own
//! slices; tensors are how results travel.

mod attend;
mod experts;
mod gate;
mod heads;
mod norm;
mod product;
mod rotary;

pub(crate) use attend::attend_both_ways;
pub(crate) use experts::ExpertRows;
pub(crate) use gate::{activated, gated, gelu, gelu_tanh, softcap};
pub(crate) use heads::Heads;
pub(crate) use norm::{LayerNorm, RmsNorm};
pub(crate) use product::Weights;
pub(crate) use rotary::{RotaryTable, Rotation};

use norm::HeadNorm;
use product::kernel_ops;

use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, bail};

/// Multiplications that an element of an element-wise operation counts for, with an exponential or a root.
const PRODUCTS_PER_ELEMENT: usize = 16;

/// The contiguous f32 elements behind a tensor; these operations take nothing else.
fn elements<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("operand is not contiguous"),
    }
}

/// Gives the elements of a contiguous f32 tensor to `work`.
fn with_elements<R>(x: &Tensor, work: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
    let (storage, layout) = x.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => work(elements(storage, layout)?),
        _ => bail!("operand is not on the CPU"),
    }
}

/// A copy of the elements.
pub(crate) fn values_of(x: &Tensor) -> Result<Vec<f32>> {
    with_elements(x, |values| Ok(values.to_vec()))
}

/// Runs `row` for each row of `width` elements, on all cores when there is enough to do.
fn for_each_row(data: &mut [f32], width: usize, row: impl Fn(usize, &mut [f32]) + Sync) {
    let products = data.len().saturating_mul(PRODUCTS_PER_ELEMENT);
    for_each_row_of(products, data, width, row);
}

/// As [`for_each_row`], for so many multiplications.
fn for_each_row_of(products: usize, data: &mut [f32], width: usize, row: impl Fn(usize, &mut [f32]) + Sync) {
    let pool = product::pool(products);
    let rows_each = (data.len() / width).div_ceil(pool.threads()).max(1);
    let parts = data.chunks_mut(rows_each * width).enumerate().collect();
    pool.run_each(parts, |_, (part, data): (usize, &mut [f32])| {
        for (index, data) in data.chunks_exact_mut(width).enumerate() {
            row(part * rows_each + index, data);
        }
    });
}

/// The sum of products, in sixteen lanes so that it vectorises; its order is the same on every machine.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a_chunks, a_rest), (b_chunks, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let mut lanes = [0.0_f32; 16];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..16 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}
