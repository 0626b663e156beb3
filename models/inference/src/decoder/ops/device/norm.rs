//! Root-mean-square norm (Zhang and Sennrich, 2019).

use candle_core::{D, Result, Tensor};

use super::upload;
use crate::error::InferenceError;
use crate::place::OnDevice;

/// Along the last dimension.
pub(crate) struct RmsNorm {
    /// (width), or (heads, width).
    weight: Tensor,
    epsilon: f32,
    _device: OnDevice,
}

impl RmsNorm {
    pub(crate) fn load(
        mut weight: Vec<f32>,
        offset: f32,
        epsilon: f32,
        device: &OnDevice,
    ) -> std::result::Result<Self, InferenceError> {
        weight.iter_mut().for_each(|weight| *weight += offset);
        let width = weight.len();
        Ok(Self {
            weight: upload(weight, width, device)?,
            epsilon,
            _device: device.clone(),
        })
    }

    /// Queries and keys have a norm of their own each: one row of weights per head, queries first.
    pub(super) fn of_heads(
        [queries, keys]: [Vec<f32>; 2],
        (heads, kv_heads): (usize, usize),
        offset: f32,
        epsilon: f32,
        device: &OnDevice,
    ) -> std::result::Result<Self, InferenceError> {
        let width = queries.len();
        let mut weight = [queries.repeat(heads), keys.repeat(kv_heads)].concat();
        weight.iter_mut().for_each(|weight| *weight += offset);
        Ok(Self {
            weight: upload(weight, (heads + kv_heads, width), device)?,
            epsilon,
            _device: device.clone(),
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let width = x.dim(D::Minus1)? as f64;
        let squares = x.sqr()?.sum_keepdim(D::Minus1)?;
        let root = squares.affine(1.0 / width, f64::from(self.epsilon))?.sqrt()?;
        x.broadcast_div(&root)?.broadcast_mul(&self.weight)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn rows_are_scaled_to_unit_mean_square_and_weighted() {
        let x = Tensor::new(&[[3.0_f32, 4.0], [0.0, 0.0]], &Device::Cpu).expect("a tensor");
        let norm = RmsNorm::load(vec![1.0, 0.0], 1.0, 1e-12, &OnDevice::cpu()).expect("a norm");
        let y = norm.forward(&x).and_then(|y| y.to_vec2::<f32>()).expect("rows");
        let root = 12.5_f32.sqrt();
        assert!((y[0][0] - 6.0 / root).abs() < 1e-6 && (y[0][1] - 4.0 / root).abs() < 1e-6);
        assert_eq!(y[1], [0.0, 0.0]);
    }

    #[test]
    fn queries_and_keys_have_their_own_weights_and_each_head_its_own_scale() {
        let weights = [vec![1.0, 1.0], vec![2.0, 2.0]];
        let norm = RmsNorm::of_heads(weights, (2, 1), 0.0, 1e-12, &OnDevice::cpu()).expect("a norm");
        let x = Tensor::new(&[[[3.0_f32, 4.0], [30.0, 40.0], [3.0, 4.0]]], &Device::Cpu).expect("heads");
        let y = norm.forward(&x).and_then(|y| y.to_vec3::<f32>()).expect("heads");
        let [first, second, key] = [0, 1, 2].map(|head| y[0][head][0]);
        assert!((first - second).abs() < 1e-6 && (key - 2.0 * first).abs() < 1e-6);
    }
}
