//! Products with weights, which are f32 or bf16; the activations and all sums are f32.
//!
//! A row's result is the same alone and in a batch, and on any number of threads: every element is one sum in one
//! fixed order, whatever is computed beside it.

use candle_core::{CpuStorage, CustomOp2, DType, Device, Layout, Result, Shape, Tensor, bail};
use half::bf16;
use rayon::prelude::*;

/// Rows of activations that stay in the cache of a core while weights pass by.
const ROWS_PER_PASS: usize = 16;
/// Lanes of a dot product: enough independent sums to keep the vector units busy.
const LANES: usize = 32;
/// Outputs that one task computes at least.
const OUTPUTS_PER_TASK_MIN: usize = 32;

/// A matrix of weights, one row per output. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Weights(Tensor);

impl Weights {
    /// (outputs, inputs) in f32 or bf16.
    pub(crate) fn new(weights: Tensor) -> Self {
        Self(weights)
    }

    /// `x W^T`; `x` is (rows, inputs) in f32.
    pub(crate) fn product(&self, x: &Tensor) -> Result<Tensor> {
        x.contiguous()?.apply_op2_no_bwd(&self.0, &Product)
    }

    /// Some rows of the weights themselves: (indices, inputs) in f32.
    pub(crate) fn rows(&self, indices: &[u32]) -> Result<Tensor> {
        let indices = Tensor::new(indices, &Device::Cpu)?;
        self.0.index_select(&indices, 0)?.to_dtype(DType::F32)
    }
}

struct Product;

impl CustomOp2 for Product {
    fn name(&self) -> &'static str {
        "product"
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
        if inputs != weight_inputs || inputs == 0 || rows == 0 {
            bail!("product of {rows} rows of {inputs} with weights for {weight_inputs}");
        }
        let x = &x.as_slice::<f32>()?[x_range.0..x_range.1];
        let range = weight_range.0..weight_range.1;
        let product = match weight {
            CpuStorage::F32(weight) => product(x, &weight[range], rows, inputs, outputs, |w| w),
            CpuStorage::BF16(weight) => product(x, &weight[range], rows, inputs, outputs, widen),
            _ => bail!("weights are neither f32 nor bf16"),
        };
        Ok((CpuStorage::F32(product), (rows, outputs).into()))
    }
}

/// Exact: bf16 is the upper half of f32.
fn widen(weight: bf16) -> f32 {
    f32::from_bits(u32::from(weight.to_bits()) << 16)
}

fn product<W: Copy + Sync>(
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
        .clamp(1, 4 * OUTPUTS_PER_TASK_MIN)
        .max(OUTPUTS_PER_TASK_MIN);
    let task = |(index, chunk): (usize, &mut [f32])| {
        for (pass, x) in x.chunks(ROWS_PER_PASS * inputs).enumerate() {
            for (output, values) in chunk.chunks_exact_mut(rows).enumerate() {
                let weight = &weight[(index * per_task + output) * inputs..][..inputs];
                let values = &mut values[pass * ROWS_PER_PASS..];
                for (value, x) in values.iter_mut().zip(x.chunks_exact(inputs)) {
                    *value = dot(x, weight, widen);
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Small whole numbers: every way of summing them is exact.
    fn whole_numbers(rows: usize, columns: usize) -> Tensor {
        let values = (0..rows * columns)
            .map(|index| (index * 7 % 11) as f32 - 5.0)
            .collect::<Vec<_>>();
        Tensor::from_vec(values, (rows, columns), &Device::Cpu).expect("it has the shape")
    }

    #[test]
    fn every_type_gives_the_same_product() {
        for (inputs, outputs) in [(1, 3), (31, 5), (67, 129), (1000, 300)] {
            let weight = whole_numbers(outputs, inputs);
            let narrow = weight.to_dtype(DType::BF16).expect("bf16 holds them");
            for rows in [1, 2, ROWS_PER_PASS, ROWS_PER_PASS + 1, 40] {
                let x = whole_numbers(rows, inputs);
                let expected = x
                    .matmul(&weight.t().expect("2-d"))
                    .and_then(|y| y.to_vec2::<f32>());
                let expected = expected.expect("the reference");
                for weight in [&weight, &narrow] {
                    let found = Weights::new(weight.clone())
                        .product(&x)
                        .and_then(|y| y.to_vec2::<f32>())
                        .expect("a product");
                    assert_eq!(found, expected, "{rows} x {inputs} x {outputs}");
                }
            }
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let weights = Weights::new(whole_numbers(2, 4));
        assert!(weights.product(&whole_numbers(1, 3)).is_err());
        assert!(weights.product(&whole_numbers(9, 3)).is_err());
    }
}
