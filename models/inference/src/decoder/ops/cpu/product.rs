//! Products with weights in any format, by `adyton-kernels`.
//!
//! A row's result is the same alone and in a batch, and on any number of threads.

use std::sync::{Arc, LazyLock};

use candle_core::{Device, Result, Tensor, bail};
use kernels::{Isa, Matrix, Ops, Part, Pool, ShapeError};

use super::with_elements;

/// The threads of all products: more than there are cores would only take turns.
static POOL: LazyLock<Pool> = LazyLock::new(|| {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Pool::new(threads)
});

/// For what is done before another thread has woken up.
static CALLER: LazyLock<Pool> = LazyLock::new(|| Pool::new(1));
/// Multiplications below which the caller does them alone: some tens of microseconds.
const SHARED_PRODUCTS_MIN: usize = 1 << 19;

/// The threads for an operation of that many multiplications. Results do not depend on them.
pub(super) fn pool(products: usize) -> &'static Pool {
    if products < SHARED_PRODUCTS_MIN {
        &CALLER
    } else {
        &POOL
    }
}

/// The other operations of the kernels, for so many multiplications.
pub(crate) fn kernel_ops(products: usize) -> Ops<'static> {
    Ops::new(Isa::best(), pool(products))
}

/// A matrix of weights, one row per output. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Weights(Arc<Matrix>);

impl Weights {
    /// Rearranges the rows of a checkpoint for the instructions of this machine; they take as much memory.
    pub(crate) fn pack(parts: &[Part<'_>], inputs: usize) -> std::result::Result<Self, ShapeError> {
        let outputs: usize = parts.iter().map(|part| part.outputs).sum();
        let pool = pool(outputs.saturating_mul(inputs));
        Matrix::pack(parts, inputs, Isa::best(), pool).map(|matrix| Self(Arc::new(matrix)))
    }

    /// `x W^T`; `x` is (rows, inputs) in f32.
    pub(crate) fn product(&self, x: &Tensor) -> Result<Tensor> {
        let (rows, inputs) = x.dims2()?;
        if inputs != self.0.inputs() {
            bail!("{inputs} inputs for weights of {}", self.0.inputs());
        }
        let mut output = vec![0.0_f32; rows * self.0.outputs()];
        let products = output.len().saturating_mul(inputs);
        with_elements(x, |x| {
            self.0
                .multiply(x, rows, &mut output, pool(products))
                .map_err(candle_core::Error::wrap)
        })?;
        Tensor::from_vec(output, (rows, self.0.outputs()), &Device::Cpu)
    }

    /// Some rows of the weights themselves: (indices, inputs) in f32.
    pub(crate) fn rows(&self, indices: &[u32]) -> Result<Tensor> {
        let inputs = self.0.inputs();
        let mut rows = vec![0.0_f32; indices.len() * inputs];
        for (row, index) in rows.chunks_exact_mut(inputs).zip(indices) {
            self.0
                .row(*index as usize, row)
                .map_err(candle_core::Error::wrap)?;
        }
        Tensor::from_vec(rows, (indices.len(), inputs), &Device::Cpu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::Format;

    /// Small whole numbers: every way of summing them is exact.
    fn whole_numbers(count: usize) -> Vec<f32> {
        (0..count).map(|index| (index * 7 % 11) as f32 - 5.0).collect()
    }

    fn bytes(format: Format, values: &[f32]) -> Vec<u8> {
        let pack = |value: &f32| match format {
            Format::Bf16 => half::bf16::from_f32(*value).to_le_bytes().to_vec(),
            Format::F16 => half::f16::from_f32(*value).to_le_bytes().to_vec(),
            _ => value.to_le_bytes().to_vec(),
        };
        values.iter().flat_map(pack).collect()
    }

    #[test]
    fn plain_formats_give_the_same_product_and_their_own_rows() {
        let (inputs, outputs) = (67, 29);
        let values = whole_numbers(inputs * outputs);
        for format in [Format::F32, Format::F16, Format::Bf16] {
            let bytes = bytes(format, &values);
            let part = Part {
                format,
                bytes: &bytes,
                outputs,
            };
            let weights = Weights::pack(&[part], inputs).expect("it has the shape");
            let x = whole_numbers(3 * inputs);
            let tensor = Tensor::from_vec(x.clone(), (3, inputs), &Device::Cpu).expect("rows");
            let found = weights
                .product(&tensor)
                .and_then(|y| y.to_vec2::<f32>())
                .expect("rows");
            for (x, found) in x.chunks_exact(inputs).zip(&found) {
                for (weight, found) in values.chunks_exact(inputs).zip(found) {
                    let expected: f32 = x.iter().zip(weight).map(|(x, w)| x * w).sum();
                    assert_eq!(*found, expected);
                }
            }
            let row = weights
                .rows(&[7])
                .and_then(|row| row.to_vec2::<f32>())
                .expect("a row");
            assert_eq!(row[0], values[7 * inputs..8 * inputs]);
            assert!(weights.rows(&[29]).is_err());
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let bytes = bytes(Format::F32, &whole_numbers(8));
        let part = Part {
            format: Format::F32,
            bytes: &bytes,
            outputs: 2,
        };
        let weights = Weights::pack(&[part], 4).expect("it has the shape");
        let x = Tensor::zeros((1, 3), candle_core::DType::F32, &Device::Cpu).expect("a row");
        assert!(weights.product(&x).is_err());
        assert!(Weights::pack(&[part], 5).is_err());
    }
}
