//! Root-mean-square norm (Zhang and Sennrich, 2019), as Llama uses it.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::{elements, for_each_row};

/// `x / sqrt(mean(x^2) + epsilon) * weight`, per row.
pub(crate) struct RmsNorm {
    weight: Tensor,
    epsilon: f32,
}

impl RmsNorm {
    pub(crate) fn new(weight: Tensor, epsilon: f32) -> Self {
        Self { weight, epsilon }
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.apply_op2_no_bwd(
            &self.weight,
            &Operation {
                epsilon: self.epsilon,
            },
        )
    }
}

struct Operation {
    epsilon: f32,
}

impl CustomOp2 for Operation {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight) = (elements(x, x_layout)?, elements(weight, weight_layout)?);
        let width = weight.len();
        if width == 0 || !x.len().is_multiple_of(width) {
            bail!("norm of width {width} over {} elements", x.len());
        }
        let mut output = vec![0.0_f32; x.len()];
        for_each_row(&mut output, width, |index, output| {
            let row = &x[index * width..][..width];
            let scale = (sum_of_squares(row) / width as f32 + self.epsilon).sqrt().recip();
            for ((output, x), weight) in output.iter_mut().zip(row).zip(weight) {
                *output = x * scale * weight;
            }
        });
        Ok((CpuStorage::F32(output), x_layout.shape().clone()))
    }
}

/// In eight lanes, so that it vectorises; the order of the sum is the same on every machine.
fn sum_of_squares(row: &[f32]) -> f32 {
    let (chunks, rest) = row.as_chunks::<8>();
    let mut lanes = [0.0_f32; 8];
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += x * x;
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|x| x * x).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn rows_are_scaled_to_unit_mean_square_and_weighted() {
        let x = Tensor::new(&[[3.0_f32, 4.0], [0.0, 0.0]], &Device::Cpu).expect("a tensor");
        let weight = Tensor::new(&[2.0_f32, 1.0], &Device::Cpu).expect("a tensor");
        let y = RmsNorm::new(weight, 1e-12)
            .forward(&x)
            .expect("a norm")
            .to_vec2::<f32>()
            .expect("rows");
        let root = 12.5_f32.sqrt();
        assert!((y[0][0] - 6.0 / root).abs() < 1e-6 && (y[0][1] - 4.0 / root).abs() < 1e-6);
        assert_eq!(y[1], [0.0, 0.0]);
    }
}
