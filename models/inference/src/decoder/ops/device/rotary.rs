//! Rotary positions (Su et al., 2021) of all heads at once.

use candle_core::{Result, Tensor, bail};

use crate::decoder::ops::cpu;
use crate::place::OnDevice;

/// Each element is multiplied with a cosine, and its partner with a sine that has the partner's sign.
pub(crate) struct Rotation {
    /// (rows, 1, head width); elements that are not turned have 1 and 0.
    cosines: Tensor,
    sines: Tensor,
    pairs: usize,
    /// (rows, 1, 1), where queries grow with the position.
    growth: Option<Tensor>,
    _device: OnDevice,
}

impl Rotation {
    /// The angles are computed once for all layers, by the CPU.
    pub(crate) fn new(rotation: &cpu::Rotation, head_dim: usize, on: &OnDevice) -> Result<Self> {
        let device = on.device();
        let angles = rotation.angles();
        let (rows, mut pairs) = (angles.len(), 0);
        let (mut cosines, mut sines) = (vec![1.0; rows * head_dim], vec![0.0; rows * head_dim]);
        let of_rows = cosines
            .chunks_exact_mut(head_dim)
            .zip(sines.chunks_exact_mut(head_dim));
        for (angles, (cosines, sines)) in angles.zip(of_rows) {
            pairs = angles.len();
            if 2 * pairs > head_dim {
                bail!("{pairs} pairs in heads of {head_dim}");
            }
            for (pair, (cosine, sine)) in angles.iter().enumerate() {
                (cosines[pair], sines[pair]) = (*cosine, -sine);
                (cosines[pairs + pair], sines[pairs + pair]) = (*cosine, *sine);
            }
        }
        let growth = rotation.growth();
        let growth = match growth.len() {
            0 => None,
            rows => Some(Tensor::from_slice(growth, (rows, 1, 1), device)?),
        };
        Ok(Self {
            cosines: Tensor::from_vec(cosines, (rows, 1, head_dim), device)?,
            sines: Tensor::from_vec(sines, (rows, 1, head_dim), device)?,
            pairs,
            growth,
            _device: on.clone(),
        })
    }

    /// `heads` is (rows, heads, head width).
    pub(super) fn turn(&self, heads: &Tensor) -> Result<Tensor> {
        let (_, _, width) = heads.dims3()?;
        let (pairs, rest) = (self.pairs, width - 2 * self.pairs);
        let mut partners = vec![heads.narrow(2, pairs, pairs)?, heads.narrow(2, 0, pairs)?];
        if rest > 0 {
            partners.push(heads.narrow(2, 2 * pairs, rest)?);
        }
        let partners = Tensor::cat(&partners, 2)?;
        heads.broadcast_mul(&self.cosines)? + partners.broadcast_mul(&self.sines)?
    }

    /// The same, of queries.
    pub(super) fn grow(&self, queries: Tensor) -> Result<Tensor> {
        match &self.growth {
            Some(growth) => queries.broadcast_mul(growth),
            None => Ok(queries),
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::config::Rope;
    use crate::config::rope::QueryGrowth;
    use crate::decoder::ops::RotaryTable;

    #[test]
    fn heads_turn_and_grow_as_those_of_the_kernels() {
        // Three rows from position 5 on, two heads of six elements, of which four are turned.
        let rope = Rope {
            query_growth: Some(QueryGrowth {
                beta: 0.5,
                original_context_tokens: 2,
            }),
            ..Rope::plain(100.0, 4)
        };
        let rotation = cpu::Rotation::new(&RotaryTable::new(&rope), [(5, 3, 8)].into_iter());
        let mut values: Vec<f32> = (0..36).map(|index| (index * 5 % 7) as f32 - 3.0).collect();
        let heads = Tensor::from_slice(&values, (3, 2, 6), &Device::Cpu).expect("heads");
        let on_device = Rotation::new(&rotation, 6, &OnDevice::cpu()).expect("angles");
        let found = on_device.turn(&heads).and_then(|heads| on_device.grow(heads));
        let found = found.and_then(|heads| heads.flatten_all()?.to_vec1::<f32>());
        for (row, heads) in values.chunks_exact_mut(12).enumerate() {
            rotation.turn(row, heads, 6);
            rotation.grow(row, heads);
        }
        for (found, expected) in found.expect("heads").iter().zip(&values) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}
