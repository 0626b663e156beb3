//! Root-mean-square norm (Zhang and Sennrich, 2019) and layer norm (Ba et al., 2016).

use candle_core::{Device, Result, Tensor, bail};

use super::{dot, for_each_row, with_elements};

/// `x / sqrt(mean(x^2) + epsilon) * weight`, per row.
pub(crate) struct RmsNorm {
    weight: Vec<f32>,
    epsilon: f32,
}

impl RmsNorm {
    /// `offset` is added to the weights: some checkpoints store them less one.
    pub(crate) fn new(mut weight: Vec<f32>, offset: f32, epsilon: f32) -> Self {
        weight.iter_mut().for_each(|weight| *weight += offset);
        Self { weight, epsilon }
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        each_row(x, &self.weight, |row, output| {
            normalise(row, output, &self.weight, self.epsilon);
        })
    }
}

fn normalise(row: &[f32], output: &mut [f32], weight: &[f32], epsilon: f32) {
    let scale = (dot(row, row) / row.len() as f32 + epsilon).sqrt().recip();
    for ((output, x), weight) in output.iter_mut().zip(row).zip(weight) {
        *output = x * scale * weight;
    }
}

/// The same norm on each head of a row, in place.
pub(crate) struct HeadNorm(RmsNorm);

impl HeadNorm {
    pub(crate) fn new(weight: Vec<f32>, offset: f32, epsilon: f32) -> Self {
        Self(RmsNorm::new(weight, offset, epsilon))
    }

    pub(crate) fn apply(&self, heads: &mut [f32]) {
        let RmsNorm { weight, epsilon } = &self.0;
        for head in heads.chunks_exact_mut(weight.len()) {
            let scale = (dot(head, head) / head.len() as f32 + epsilon).sqrt().recip();
            head.iter_mut()
                .zip(weight)
                .for_each(|(x, weight)| *x = *x * scale * weight);
        }
    }
}

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias`, per row.
pub(crate) struct LayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f32,
}

impl LayerNorm {
    /// Both vectors have the same length.
    pub(crate) fn new(weight: Vec<f32>, bias: Vec<f32>, epsilon: f32) -> Self {
        Self {
            weight,
            bias,
            epsilon,
        }
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        each_row(x, &self.weight, |row, output| {
            let mean = row.iter().sum::<f32>() / row.len() as f32;
            for (output, x) in output.iter_mut().zip(row) {
                *output = x - mean;
            }
            let variance = dot(output, output) / row.len() as f32;
            let scale = (variance + self.epsilon).sqrt().recip();
            for ((output, weight), bias) in output.iter_mut().zip(&self.weight).zip(&self.bias) {
                *output = *output * scale * weight + bias;
            }
        })
    }
}

fn each_row(x: &Tensor, weight: &[f32], row: impl Fn(&[f32], &mut [f32]) + Sync) -> Result<Tensor> {
    let width = weight.len();
    let output = with_elements(x, |x| {
        if width == 0 || !x.len().is_multiple_of(width) {
            bail!("norm of width {width} over {} elements", x.len());
        }
        let mut output = vec![0.0_f32; x.len()];
        for_each_row(&mut output, width, |index, output| {
            row(&x[index * width..][..width], output);
        });
        Ok(output)
    })?;
    Tensor::from_vec(output, x.shape(), &Device::Cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_scaled_to_unit_mean_square_and_weighted() {
        let x = Tensor::new(&[[3.0_f32, 4.0], [0.0, 0.0]], &Device::Cpu).expect("a tensor");
        let y = RmsNorm::new(vec![1.0, 0.0], 1.0, 1e-12)
            .forward(&x)
            .expect("a norm")
            .to_vec2::<f32>()
            .expect("rows");
        let root = 12.5_f32.sqrt();
        assert!((y[0][0] - 6.0 / root).abs() < 1e-6 && (y[0][1] - 4.0 / root).abs() < 1e-6);
        assert_eq!(y[1], [0.0, 0.0]);
    }

    #[test]
    fn each_head_has_its_own_scale() {
        let mut heads = [3.0, 4.0, 30.0, 40.0];
        HeadNorm::new(vec![1.0, 1.0], 0.0, 1e-12).apply(&mut heads);
        assert!((heads[0] - heads[2]).abs() < 1e-6 && (heads[1] - heads[3]).abs() < 1e-6);
    }

    #[test]
    fn a_layer_norm_takes_the_mean_away() {
        let x = Tensor::new(&[[1.0_f32, 3.0]], &Device::Cpu).expect("a tensor");
        let y = LayerNorm::new(vec![2.0, 2.0], vec![0.0, 1.0], 1e-12).forward(&x);
        let y = y.and_then(|y| y.to_vec2::<f32>()).expect("a row");
        assert!(
            (y[0][0] + 2.0).abs() < 1e-6 && (y[0][1] - 3.0).abs() < 1e-6,
            "{y:?}"
        );
    }
}
