//! The gated activations of MLPs, and soft caps.

use candle_core::{Device, Result, Tensor, bail};

use super::{for_each_row, with_elements};
use crate::config::Activation;

/// The activation of the gate times up, where each row of `gate_up` is the gate followed by the up projection.
pub(crate) fn gated(gate_up: &Tensor, activation: Activation) -> Result<Tensor> {
    let (rows, columns) = gate_up.dims2()?;
    let width = columns / 2;
    if width == 0 || !columns.is_multiple_of(2) {
        bail!("gate and up of {columns} columns");
    }
    let output = with_elements(gate_up, |gate_up| {
        let mut output = vec![0.0_f32; rows * width];
        for_each_row(&mut output, width, |index, output| {
            let (gate, up) = gate_up[index * columns..][..columns].split_at(width);
            let pairs = output.iter_mut().zip(gate).zip(up);
            match activation {
                Activation::Silu => pairs.for_each(|((output, gate), up)| *output = silu(*gate, 1.0) * up),
                Activation::GeluTanh => {
                    pairs.for_each(|((output, gate), up)| *output = gelu_tanh(*gate) * up)
                }
                Activation::Gelu => pairs.for_each(|((output, gate), up)| *output = gelu(*gate) * up),
                Activation::ClampedSwiglu { alpha, limit } => pairs.for_each(|((output, gate), up)| {
                    *output = silu(gate.min(limit), alpha) * (up.clamp(-limit, limit) + 1.0);
                }),
            }
        });
        Ok(output)
    })?;
    Tensor::from_vec(output, (rows, width), &Device::Cpu)
}

/// One activation without a gate.
pub(crate) fn activated(x: &Tensor, activation: fn(f32) -> f32) -> Result<Tensor> {
    let values = with_elements(x, |x| Ok(x.iter().copied().map(activation).collect::<Vec<_>>()))?;
    Tensor::from_vec(values, x.shape(), &Device::Cpu)
}

/// `cap * tanh(x / cap)`.
pub(crate) fn softcap(x: &Tensor, cap: f32) -> Result<Tensor> {
    let values = with_elements(x, |x| {
        Ok(x.iter().map(|x| cap * (x / cap).tanh()).collect::<Vec<_>>())
    })?;
    Tensor::from_vec(values, x.shape(), &Device::Cpu)
}

fn silu(x: f32, alpha: f32) -> f32 {
    x / (1.0 + (-alpha * x).exp())
}

/// Hendrycks and Gimpel, 2016: the approximation with tanh.
pub(crate) fn gelu_tanh(x: f32) -> f32 {
    let inner = (2.0 / std::f32::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
    0.5 * x * (1.0 + inner.tanh())
}

/// Hendrycks and Gimpel, 2016, with the error function.
pub(crate) fn gelu(x: f32) -> f32 {
    let x = f64::from(x);
    (0.5 * x * (1.0 + candle_core::cpu::erf::erf_f64(x * std::f64::consts::FRAC_1_SQRT_2))) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(gate: f32, up: f32, activation: Activation) -> f32 {
        let x = Tensor::new(&[[gate, up]], &Device::Cpu).expect("a row");
        let y = gated(&x, activation).expect("it is even");
        y.to_vec2::<f32>().expect("a row")[0][0]
    }

    #[test]
    fn gate_and_up_are_the_halves_of_a_row() {
        let x = Tensor::new(
            &[[0.0_f32, 1.0, 5.0, 2.0], [-100.0, 100.0, 1.0, 1.0]],
            &Device::Cpu,
        )
        .expect("rows");
        let y = gated(&x, Activation::Silu)
            .expect("it is even")
            .to_vec2::<f32>()
            .expect("rows");
        assert_eq!(y[0][0], 0.0);
        assert!((y[0][1] - 2.0 * 0.731_058_6).abs() < 1e-6);
        assert!(y[1][0].abs() < 1e-30 && y[1][1] == 100.0);
    }

    #[test]
    fn activations_have_their_published_values() {
        // Of torch.nn.functional, in double precision.
        assert!((one(1.0, 1.0, Activation::GeluTanh) - 0.841_192).abs() < 1e-6);
        assert!((one(1.0, 1.0, Activation::Gelu) - 0.841_344_7).abs() < 1e-6);
        let swiglu = Activation::ClampedSwiglu {
            alpha: 1.702,
            limit: 7.0,
        };
        assert!((one(1.0, 0.0, swiglu) - 0.845_795_8).abs() < 1e-6);
        assert_eq!(one(100.0, 100.0, swiglu), one(7.0, 7.0, swiglu));
        assert_eq!(one(1.0, -100.0, swiglu), one(1.0, -7.0, swiglu));
    }

    #[test]
    fn a_softcap_bounds() {
        let x = Tensor::new(&[0.0_f32, 1e9, -1e9], &Device::Cpu).expect("a row");
        let y = softcap(&x, 30.0).expect("a row").to_vec1::<f32>().expect("a row");
        assert_eq!(y, [0.0, 30.0, -30.0]);
    }
}
