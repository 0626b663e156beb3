//! The gated activations of MLPs, and soft caps.

use candle_core::{Result, Tensor, bail};

use crate::config::Activation;

pub(crate) fn gated(gate_up: &Tensor, activation: Activation) -> Result<Tensor> {
    let (_, columns) = gate_up.dims2()?;
    let width = columns / 2;
    if width == 0 || !columns.is_multiple_of(2) {
        bail!("gate and up of {columns} columns");
    }
    let (gate, up) = (gate_up.narrow(1, 0, width)?, gate_up.narrow(1, width, width)?);
    match activation {
        Activation::Silu => gate.silu()? * up,
        Activation::GeluTanh => gate.gelu()? * up,
        Activation::Gelu => gate.gelu_erf()? * up,
        Activation::ClampedSwiglu { alpha, limit } => {
            let (alpha, limit) = (f64::from(alpha), f64::from(limit));
            // x sigmoid(alpha x) is silu(alpha x) / alpha.
            let gate = ((gate.minimum(limit)? * alpha)?.silu()? / alpha)?;
            gate * (up.clamp(-limit, limit)? + 1.0)?
        }
    }
}

pub(crate) fn softcap(x: &Tensor, cap: f32) -> Result<Tensor> {
    let cap = f64::from(cap);
    (x / cap)?.tanh()? * cap
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::decoder::ops::cpu;

    #[test]
    fn every_activation_is_that_of_the_kernels() {
        let values: Vec<f32> = (0..64)
            .map(|index| (index * 13 % 64) as f32 / 4.0 - 8.0)
            .collect();
        let x = Tensor::from_vec(values, (4, 16), &Device::Cpu).expect("rows");
        let swiglu = Activation::ClampedSwiglu {
            alpha: 1.702,
            limit: 7.0,
        };
        for activation in [Activation::Silu, Activation::Gelu, Activation::GeluTanh, swiglu] {
            let rows = |y: Result<Tensor>| y.and_then(|y| y.to_vec2::<f32>()).expect("rows").concat();
            let (found, expected) = (rows(gated(&x, activation)), rows(cpu::gated(&x, activation)));
            assert_eq!(found.len(), 32);
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    (found - expected).abs() <= 2e-6 * expected.abs().max(1.0),
                    "{activation:?}"
                );
            }
        }
    }

    #[test]
    fn a_softcap_bounds() {
        let x = Tensor::new(&[0.0_f32, 1e9, -1e9], &Device::Cpu).expect("a row");
        let y = softcap(&x, 30.0).and_then(|y| y.to_vec1::<f32>()).expect("a row");
        assert_eq!(y, [0.0, 30.0, -30.0]);
    }
}
