//! The gated activation of the MLP.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::{elements, for_each_row};

/// `silu(gate) * up`, where each row of `gate_up` is the gate followed by the up projection.
pub(crate) fn gated_silu(gate_up: &Tensor) -> Result<Tensor> {
    gate_up.apply_op1_no_bwd(&GatedSilu)
}

struct GatedSilu;

impl CustomOp1 for GatedSilu {
    fn name(&self) -> &'static str {
        "gated-silu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, columns) = layout.shape().dims2()?;
        let gate_up = elements(storage, layout)?;
        let width = columns / 2;
        if width == 0 || !columns.is_multiple_of(2) {
            bail!("gate and up of {columns} columns");
        }
        let mut output = vec![0.0_f32; rows * width];
        for_each_row(&mut output, width, |index, output| {
            let (gate, up) = gate_up[index * columns..][..columns].split_at(width);
            for ((output, gate), up) in output.iter_mut().zip(gate).zip(up) {
                *output = gate / (1.0 + (-gate).exp()) * up;
            }
        });
        Ok((CpuStorage::F32(output), (rows, width).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn gate_and_up_are_the_halves_of_a_row() {
        let x = Tensor::new(
            &[[0.0_f32, 1.0, 5.0, 2.0], [-100.0, 100.0, 1.0, 1.0]],
            &Device::Cpu,
        )
        .expect("rows");
        let y = gated_silu(&x)
            .expect("it is even")
            .to_vec2::<f32>()
            .expect("rows");
        assert_eq!(y[0][0], 0.0);
        assert!((y[0][1] - 2.0 * 0.731_058_6).abs() < 1e-6);
        assert!(y[1][0].abs() < 1e-30 && y[1][1] == 100.0);
    }
}
