//! Products with bf16 on tiles: activations are rounded to bf16 (to the nearest, ties to even), sums are f32.
//!
//! Tiles take 32 inputs at a time: even and odd places are summed apart, then added to the sum. Fewer than sixteen
//! rows are filled up with zeros, so that a row alone goes the same way as among others.

use super::activations::ELEMENTS_TO_SHARE;
use super::{Columns, Panels};
use crate::isa::{Isa, Kernel};
use crate::pool::Pool;
use crate::simd::{LANES, Simd};
use crate::tiles::{Sums, TILE_ROWS, Tiles};

/// Inputs of a tile.
const DEPTH: usize = 32;

/// Rows as bf16.
#[derive(Default)]
pub(super) struct Narrow {
    rows: usize,
    /// Bytes from a row to the next.
    stride: usize,
    /// Whole groups of sixteen rows.
    bytes: Vec<u8>,
}

impl Narrow {
    pub(super) fn new(x: &[f32], inputs: usize, isa: Isa, pool: &Pool) -> Self {
        let rows = x.len() / inputs;
        // An odd number of cache lines keeps the rows of a tile in different sets.
        let stride = 2 * inputs.next_multiple_of(2 * DEPTH) + 64;
        let mut bytes = vec![0; rows.next_multiple_of(TILE_ROWS) * stride];
        let groups = x
            .chunks(TILE_ROWS * inputs)
            .zip(bytes.chunks_mut(TILE_ROWS * stride));
        let work = groups.map(|(x, out)| Round {
            x,
            inputs,
            stride,
            out,
        });
        if x.len() < ELEMENTS_TO_SHARE {
            work.for_each(|piece| isa.dispatch(piece));
        } else {
            pool.run_each(work.collect(), |_, piece| isa.dispatch(piece));
        }
        Self { rows, stride, bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Sixteen rows from `first`, from an input on.
    #[inline(always)]
    fn tile(&self, first: usize, input: usize) -> &[u8] {
        &self.bytes[first * self.stride + 2 * input..]
    }
}

/// Rounds some rows.
struct Round<'a> {
    x: &'a [f32],
    inputs: usize,
    stride: usize,
    out: &'a mut [u8],
}

impl Kernel for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (x, out) in self
            .x
            .chunks_exact(self.inputs)
            .zip(self.out.chunks_exact_mut(self.stride))
        {
            for (x, out) in x.iter().zip(out.as_chunks_mut().0) {
                *out = round(*x).to_le_bytes();
            }
        }
    }
}

/// The nearest bf16, ties to even; NaN stays one.
#[inline(always)]
pub(super) fn round(x: f32) -> u16 {
    let bits = x.to_bits();
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    let quiet = bits >> 16 | 0x40;
    (if x.is_nan() { quiet } else { nearest }) as u16
}

/// The product of `x` with some panels: two panels and two groups of sixteen rows at a time, as the sums of four
/// tiles do not wait for each other.
#[inline(always)]
pub(super) fn product<T: Tiles>(panels: &Panels<'_, u16>, x: &Narrow, out: &mut Columns<'_>) {
    let mut tiles = T::begin(2 * DEPTH);
    let mut sums = [[[0.0; TILE_ROWS]; TILE_ROWS]; 4];
    for panel in (0..panels.count()).step_by(2) {
        let two_panels = panel + 1 < panels.count();
        let weights = [
            panels.get(panel),
            panels.get(if two_panels { panel + 1 } else { panel }),
        ];
        for first in (0..x.rows).step_by(2 * TILE_ROWS) {
            let two_groups = first + TILE_ROWS < x.rows;
            four_sums(&mut tiles, weights, x, first, [two_panels, two_groups], &mut sums);
            for (index, sums) in sums.iter().enumerate() {
                let (group, side) = (index / 2, index % 2);
                if (group == 1 && !two_groups) || (side == 1 && !two_panels) {
                    continue;
                }
                let first = first + group * TILE_ROWS;
                for (row, lanes) in (first..x.rows).zip(sums) {
                    out.write(row, panels.columns(panel + side), lanes);
                }
            }
        }
    }
}

/// All inputs. Sums 0 and 1 are the first group with each panel, 2 and 3 the second.
#[inline(always)]
fn four_sums<T: Tiles>(
    tiles: &mut T,
    weights: [&[u16]; 2],
    x: &Narrow,
    first: usize,
    [two_panels, two_groups]: [bool; 2],
    sums: &mut [Sums<f32>; 4],
) {
    tiles.zero::<0>();
    tiles.zero::<1>();
    tiles.zero::<2>();
    tiles.zero::<3>();
    let pairs = weights.map(|weights| weights.as_chunks::<{ 2 * LANES }>().0);
    for start in (0..pairs[0].len()).step_by(DEPTH / 2) {
        let mut last = [[[0; 2 * LANES]; DEPTH / 2]; 2];
        let [one, two] = [0, 1].map(|side| &pairs[side][start..]);
        tiles.load_weights_bf16::<6>(whole(one, &mut last[0]));
        tiles.load_x::<4>(x.tile(first, 2 * start), x.stride);
        tiles.dot_bf16::<0, 4, 6>();
        if two_panels {
            tiles.load_weights_bf16::<7>(whole(two, &mut last[1]));
            tiles.dot_bf16::<1, 4, 7>();
        }
        if two_groups {
            tiles.load_x::<5>(x.tile(first + TILE_ROWS, 2 * start), x.stride);
            tiles.dot_bf16::<2, 5, 6>();
            if two_panels {
                tiles.dot_bf16::<3, 5, 7>();
            }
        }
    }
    tiles.store_f32::<0>(&mut sums[0]);
    tiles.store_f32::<1>(&mut sums[1]);
    tiles.store_f32::<2>(&mut sums[2]);
    tiles.store_f32::<3>(&mut sums[3]);
}

/// The weights of one tile; the last ones of a panel with zeros after them.
#[inline(always)]
fn whole<'a>(
    pairs: &'a [[u16; 2 * LANES]],
    last: &'a mut [[u16; 2 * LANES]; DEPTH / 2],
) -> &'a [[u16; 2 * LANES]] {
    if pairs.len() >= last.len() {
        return pairs;
    }
    last[..pairs.len()].copy_from_slice(pairs);
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    #[test]
    fn rounding_is_that_of_the_type() {
        let patterns =
            (0..=u16::MAX).flat_map(|high| [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff].map(|low| (high, low)));
        for (high, low) in patterns {
            let x = f32::from_bits(u32::from(high) << 16 | low);
            assert_eq!(round(x), bf16::from_f32(x).to_bits(), "{x} {:x}", x.to_bits());
        }
    }
}
