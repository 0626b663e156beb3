//! From the fused projection to heads, with rotary positions (Su et al., 2021) on the way.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::{elements, for_each_row};

/// Cosines and sines of the positions of one step, shared by all layers.
pub(crate) struct Rotation {
    /// Per token, per pair: (cosine, sine).
    angles: Vec<(f32, f32)>,
    pairs: usize,
}

impl Rotation {
    /// Positions `start` to `start + tokens`.
    pub(crate) fn new(inverse_frequencies: &[f32], start: usize, tokens: usize) -> Result<Self> {
        // f32 holds positions exactly up to 2^24, the bound of the config.
        let angle = |token: usize, frequency: &f32| ((start + token) as f32 * frequency).sin_cos();
        let angles = (0..tokens)
            .flat_map(|token| {
                inverse_frequencies
                    .iter()
                    .map(move |frequency| angle(token, frequency))
            })
            .map(|(sine, cosine)| (cosine, sine))
            .collect();
        Ok(Self {
            angles,
            pairs: inverse_frequencies.len(),
        })
    }

    fn of(&self, token: usize) -> &[(f32, f32)] {
        &self.angles[token * self.pairs..][..self.pairs]
    }
}

/// Columns `first..first + heads * head_dim` of `fused` (tokens, columns) as (heads, tokens, head width),
/// rotated where `rotation` is given.
pub(crate) fn split_heads(
    fused: &Tensor,
    first: usize,
    heads: usize,
    head_dim: usize,
    rotation: Option<&Rotation>,
) -> Result<Tensor> {
    fused.apply_op1_no_bwd(&SplitHeads {
        first,
        heads,
        head_dim,
        rotation,
    })
}

struct SplitHeads<'a> {
    first: usize,
    heads: usize,
    head_dim: usize,
    rotation: Option<&'a Rotation>,
}

impl CustomOp1 for SplitHeads<'_> {
    fn name(&self) -> &'static str {
        "split-heads"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (tokens, columns) = layout.shape().dims2()?;
        let fused = elements(storage, layout)?;
        let Self {
            first,
            heads,
            head_dim,
            rotation,
        } = *self;
        if first + heads * head_dim > columns
            || rotation.is_some_and(|r| r.angles.len() != tokens * head_dim / 2)
        {
            bail!("{heads} heads of {head_dim} at column {first} of {columns}");
        }
        let mut output = vec![0.0_f32; heads * tokens * head_dim];
        for_each_row(&mut output, head_dim, |row, output| {
            let (head, token) = (row / tokens, row % tokens);
            let input = &fused[token * columns + first + head * head_dim..][..head_dim];
            match rotation {
                Some(rotation) => rotate(input, rotation.of(token), output),
                None => output.copy_from_slice(input),
            }
        });
        Ok((CpuStorage::F32(output), (heads, tokens, head_dim).into()))
    }
}

/// Pairs are element `i` of each half, as Hugging Face checkpoints are laid out.
fn rotate(input: &[f32], angles: &[(f32, f32)], output: &mut [f32]) {
    let (x1, x2) = input.split_at(angles.len());
    let (y1, y2) = output.split_at_mut(angles.len());
    for (i, (cosine, sine)) in angles.iter().enumerate() {
        y1[i] = x1[i] * cosine - x2[i] * sine;
        y2[i] = x2[i] * cosine + x1[i] * sine;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn a_quarter_turn_swaps_the_halves() {
        let rotation = Rotation::new(&[std::f32::consts::FRAC_PI_2], 0, 2).expect("two positions");
        let fused = Tensor::new(
            &[[9.0_f32, 1.0, 2.0, 3.0, 4.0], [9.0, 1.0, 2.0, 3.0, 4.0]],
            &Device::Cpu,
        );
        let heads = split_heads(&fused.expect("rows"), 1, 2, 2, Some(&rotation)).expect("two heads");
        let heads = heads.to_vec3::<f32>().expect("(heads, tokens, width)");
        assert_eq!(heads[0][0], [1.0, 2.0]);
        assert!((heads[0][1][0] + 2.0).abs() < 1e-6 && (heads[0][1][1] - 1.0).abs() < 1e-6);
        assert_eq!(heads[1][0], [3.0, 4.0]);
    }

    #[test]
    fn columns_outside_are_an_error() {
        let fused = Tensor::new(&[[1.0_f32, 2.0]], &Device::Cpu).expect("a row");
        assert!(split_heads(&fused, 1, 1, 2, None).is_err());
    }
}
