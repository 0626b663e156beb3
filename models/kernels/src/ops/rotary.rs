//! Rotary positions (Su et al., 2021), in place.

use super::{Heads, Ops, whole_rows};
use crate::error::{ShapeError, check_length};
use crate::isa::Kernel;
use crate::simd::Simd;

/// Which elements of a head are rotated together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairs {
    /// Element `i` of each half of the rotated part, as Hugging Face checkpoints and GGUF's NEOX type have it.
    Halves,
    /// Elements `2 i` and `2 i + 1`, as GGUF's NORM type and the original Llama have it.
    Neighbours,
}

/// Cosines and sines of the positions of one step, shared by all layers.
pub struct Rotation {
    cosines: Vec<f32>,
    sines: Vec<f32>,
    pairs: usize,
}

impl Rotation {
    /// One angle for each position and frequency. `magnitude` multiplies both: 1, or the attention factor of
    /// YaRN. A head that is wider than twice the frequencies keeps its rest as it is (partial rotary).
    pub fn new(inverse_frequencies: &[f32], positions: &[u32], magnitude: f32) -> Self {
        let count = inverse_frequencies.len() * positions.len();
        let (mut cosines, mut sines) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for position in positions {
            for frequency in inverse_frequencies {
                // f32 holds positions exactly up to 2^24; the product is f32 as in transformers.
                let (sine, cosine) = (*position as f32 * frequency).sin_cos();
                cosines.push(cosine * magnitude);
                sines.push(sine * magnitude);
            }
        }
        Self {
            cosines,
            sines,
            pairs: inverse_frequencies.len(),
        }
    }

    /// How many positions there are.
    pub fn positions(&self) -> usize {
        self.cosines.len() / self.pairs.max(1)
    }
}

impl Ops<'_> {
    /// Rotates `heads` of each row of `x`, row `i` by position `i` of `rotation`.
    ///
    /// # Errors
    /// `x` does not have one row for each position, the heads are outside of a row, or narrower than the pairs.
    pub fn rotate(
        &self,
        x: &mut [f32],
        heads: Heads,
        rotation: &Rotation,
        pairs: Pairs,
    ) -> Result<(), ShapeError> {
        let columns = heads.columns()?;
        whole_rows("x", x.len(), heads.row_width)?;
        check_length("rows", x.len() / heads.row_width, rotation.positions())?;
        if rotation.pairs == 0 || rotation.pairs > heads.width / 2 {
            return Err(ShapeError::Size { what: "pairs" });
        }
        self.share_in_place(x, heads.row_width, |first, x| {
            for (index, row) in x.chunks_exact_mut(heads.row_width).enumerate() {
                let angles = (first + index) * rotation.pairs..(first + index + 1) * rotation.pairs;
                self.isa.dispatch(Rotate {
                    x: &mut row[columns.clone()],
                    width: heads.width,
                    cosines: &rotation.cosines[angles.clone()],
                    sines: &rotation.sines[angles],
                    pairs,
                });
            }
        });
        Ok(())
    }
}

struct Rotate<'a> {
    x: &'a mut [f32],
    width: usize,
    cosines: &'a [f32],
    sines: &'a [f32],
    pairs: Pairs,
}

impl Kernel for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for head in self.x.chunks_exact_mut(self.width) {
            let rotated = &mut head[..2 * self.cosines.len()];
            if self.pairs == Pairs::Halves {
                let (first, second) = rotated.split_at_mut(self.cosines.len());
                let angles = self.cosines.iter().zip(self.sines);
                for ((a, b), (cosine, sine)) in first.iter_mut().zip(second).zip(angles) {
                    (*a, *b) = (*a * cosine - *b * sine, *b * cosine + *a * sine);
                }
            } else {
                let angles = self.cosines.iter().zip(self.sines);
                for (pair, (cosine, sine)) in rotated.as_chunks_mut::<2>().0.iter_mut().zip(angles) {
                    *pair = [
                        pair[0] * cosine - pair[1] * sine,
                        pair[1] * cosine + pair[0] * sine,
                    ];
                }
            }
        }
    }
}
