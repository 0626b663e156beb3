//! Products with weights, which are f32 or bf16; the activations and all sums are f32.
//!
//! Few rows (decoding) are bound by reading the weights: each weight row is read once, as it is stored, and
//! multiplied with all rows. Many rows (prefill) are bound by arithmetic: bf16 weights are widened block by
//! block and given to the matrix product of the tensor library.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};
use half::bf16;
use rayon::prelude::*;

/// Up to here the weights are read directly. Decoding has one row today; a batch of a few shares the reading.
const FEW_ROWS_MAX: usize = 4;
/// Weights widened at a time: 8 MiB of f32.
const BLOCK_ELEMENTS: usize = 1 << 21;
/// Lanes of a dot product: enough independent sums to keep the vector units busy.
const LANES: usize = 32;
/// Outputs that one task computes at least.
const OUTPUTS_PER_TASK_MIN: usize = 32;

/// `x W^T`; `x` is (rows, inputs) in f32, `weight` (outputs, inputs) in f32 or bf16.
pub(crate) fn product(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if x.dim(0)? <= FEW_ROWS_MAX {
        return x.contiguous()?.apply_op2_no_bwd(weight, &FewRows);
    }
    if weight.dtype() == DType::F32 {
        return x.matmul(&weight.t()?);
    }
    let (outputs, inputs) = weight.dims2()?;
    let block = (BLOCK_ELEMENTS / inputs).clamp(1, outputs);
    let products = (0..outputs).step_by(block).map(|first| {
        let rows = weight.narrow(0, first, block.min(outputs - first))?;
        x.matmul(&rows.apply_op1_no_bwd(&Widen)?.t()?)
    });
    let products = products.collect::<Result<Vec<_>>>()?;
    Tensor::cat(&products, 1)
}

struct FewRows;

impl CustomOp2 for FewRows {
    fn name(&self) -> &'static str {
        "product-of-few-rows"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, inputs) = x_layout.shape().dims2()?;
        let (outputs, weight_inputs) = weight_layout.shape().dims2()?;
        let (Some(x_range), Some(weight_range)) =
            (x_layout.contiguous_offsets(), weight_layout.contiguous_offsets())
        else {
            bail!("operand is not contiguous");
        };
        if inputs != weight_inputs || inputs == 0 {
            bail!("product of {inputs} inputs with weights for {weight_inputs}");
        }
        let x = &x.as_slice::<f32>()?[x_range.0..x_range.1];
        let range = weight_range.0..weight_range.1;
        let product = match weight {
            CpuStorage::F32(weight) => few_rows(x, &weight[range], rows, inputs, outputs, |w| w),
            CpuStorage::BF16(weight) => few_rows(x, &weight[range], rows, inputs, outputs, widen),
            _ => bail!("weights are neither f32 nor bf16"),
        };
        Ok((CpuStorage::F32(product), (rows, outputs).into()))
    }
}

/// Exact: bf16 is the upper half of f32.
fn widen(weight: bf16) -> f32 {
    f32::from_bits(u32::from(weight.to_bits()) << 16)
}

fn few_rows<W: Copy + Sync>(
    x: &[f32],
    weight: &[W],
    rows: usize,
    inputs: usize,
    outputs: usize,
    widen: impl Fn(W) -> f32 + Copy + Sync,
) -> Vec<f32> {
    // Computed as (outputs, rows), so that each task writes one piece; for one row that is the same.
    let mut transposed = vec![0.0_f32; outputs * rows];
    let per_task = outputs
        .div_ceil(rayon::current_num_threads())
        .max(OUTPUTS_PER_TASK_MIN);
    let task = |(index, chunk): (usize, &mut [f32])| {
        for (output, values) in chunk.chunks_exact_mut(rows).enumerate() {
            let weight = &weight[(index * per_task + output) * inputs..][..inputs];
            for (value, x) in values.iter_mut().zip(x.chunks_exact(inputs)) {
                *value = dot(x, weight, widen);
            }
        }
    };
    transposed
        .par_chunks_mut(per_task * rows)
        .enumerate()
        .for_each(task);
    if rows == 1 {
        return transposed;
    }
    let element = |index: usize| transposed[index % outputs * rows + index / outputs];
    (0..outputs * rows).map(element).collect()
}

/// The order of the sum does not depend on the machine or on the number of threads.
fn dot<W: Copy>(x: &[f32], weight: &[W], widen: impl Fn(W) -> f32) -> f32 {
    let (x_chunks, x_rest) = x.as_chunks::<LANES>();
    let (weight_chunks, weight_rest) = weight.as_chunks::<LANES>();
    let mut lanes = [0.0_f32; LANES];
    for (x, weight) in x_chunks.iter().zip(weight_chunks) {
        for lane in 0..LANES {
            lanes[lane] += x[lane] * widen(weight[lane]);
        }
    }
    let rest: f32 = x_rest
        .iter()
        .zip(weight_rest)
        .map(|(x, weight)| x * widen(*weight))
        .sum();
    lanes.iter().sum::<f32>() + rest
}

struct Widen;

impl CustomOp1 for Widen {
    fn name(&self) -> &'static str {
        "widen"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (CpuStorage::BF16(weight), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
            bail!("weights are not contiguous bf16");
        };
        let weight = &weight[start..end];
        let mut values = vec![0.0_f32; weight.len()];
        let chunk = weight.len().div_ceil(rayon::current_num_threads()).max(1 << 14);
        values
            .par_chunks_mut(chunk)
            .zip(weight.par_chunks(chunk))
            .for_each(|(values, weight)| {
                values
                    .iter_mut()
                    .zip(weight)
                    .for_each(|(value, weight)| *value = widen(*weight));
            });
        Ok((CpuStorage::F32(values), layout.shape().clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// Small whole numbers: every way of summing them is exact.
    fn whole_numbers(rows: usize, columns: usize) -> Tensor {
        let values = (0..rows * columns)
            .map(|index| (index * 7 % 11) as f32 - 5.0)
            .collect::<Vec<_>>();
        Tensor::from_vec(values, (rows, columns), &Device::Cpu).expect("it has the shape")
    }

    #[test]
    fn every_way_gives_the_same_product() {
        // Inputs beside the lanes, and more outputs than one block of weights.
        for (inputs, outputs) in [(1, 3), (31, 5), (67, 129), (1000, 2500)] {
            let weight = whole_numbers(outputs, inputs);
            let narrow = weight.to_dtype(DType::BF16).expect("bf16 holds them");
            for rows in [1, 2, FEW_ROWS_MAX, FEW_ROWS_MAX + 1, 9] {
                let x = whole_numbers(rows, inputs);
                let expected = x
                    .matmul(&weight.t().expect("2-d"))
                    .and_then(|y| y.to_vec2::<f32>());
                let expected = expected.expect("the reference");
                for weight in [&weight, &narrow] {
                    let found = product(&x, weight)
                        .and_then(|y| y.to_vec2::<f32>())
                        .expect("a product");
                    assert_eq!(found, expected, "{rows} x {inputs} x {outputs}");
                }
            }
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        assert!(product(&whole_numbers(1, 3), &whole_numbers(2, 4)).is_err());
        assert!(product(&whole_numbers(9, 3), &whole_numbers(2, 4)).is_err());
    }
}
