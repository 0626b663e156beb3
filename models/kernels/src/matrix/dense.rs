//! Products with f32, f16 and bf16: the weights are widened, which is exact, and `sum = fma(x, w, sum)` over the
//! inputs in order. The arithmetic is the same for one row and for many, and on every CPU.
//!
//! Where the CPU multiplies bf16 itself (AVX512_BF16), activations are rounded to it, to the nearest, ties to even, and an
//! instruction adds the products of two inputs, the second first. That is the same for one row and for many, too.

use super::activations::{Dense, Element};
use super::{Columns, PREFETCH_BYTES, Panels};
use crate::isa::Kernel;
use crate::simd::{LANES, Simd};

/// Inputs at a time when there are many rows: their weights stay in the nearest cache for all of them.
const CHUNK_INPUTS: usize = 256;
/// Bytes of rows at a time: half of a second cache. They and their sums are then read from there for every panel.
const ROWS_BYTES: usize = 512 << 10;

/// How weights of one panel are multiplied: two inputs of sixteen outputs at a time. Without closures: those would not be
/// compiled for the instructions.
pub(super) trait Weights {
    type Weight: Copy + Sync;
    type X: Element;

    /// Adds the products of two inputs of `R` rows with `C` panels; `x` has them row by row, for each element.
    fn add<S: Simd, const R: usize, const C: usize>(
        s: S,
        two: [&[Self::Weight; 2 * LANES]; C],
        x: &[Self::X],
        sums: &mut [[S::F; C]; R],
    );
}

pub(super) struct F32;
pub(super) struct F16;
pub(super) struct Bf16;
pub(super) struct Bf16Pairs;

/// Weights that are widened to f32, two inputs of sixteen outputs at a time.
pub(super) trait Widened {
    type Weight: Copy + Sync;
    fn widen<S: Simd>(s: S, two: &[Self::Weight; 2 * LANES]) -> [S::F; 2];
}

impl<W: Widened> Weights for W {
    type Weight = W::Weight;
    type X = f32;
    #[inline(always)]
    fn add<S: Simd, const R: usize, const C: usize>(
        s: S,
        two: [&[Self::Weight; 2 * LANES]; C],
        x: &[f32],
        sums: &mut [[S::F; C]; R],
    ) {
        let mut widened = [[s.splat(0.0); 2]; C];
        for c in 0..C {
            widened[c] = W::widen(s, two[c]);
        }
        for (half, x) in x.as_chunks::<R>().0.iter().enumerate() {
            for r in 0..R {
                let x = s.splat(x[r]);
                for c in 0..C {
                    sums[r][c] = s.fma(x, widened[c][half], sums[r][c]);
                }
            }
        }
    }
}

impl Widened for F32 {
    type Weight = f32;
    #[inline(always)]
    fn widen<S: Simd>(s: S, two: &[f32; 2 * LANES]) -> [S::F; 2] {
        let (halves, _) = two.as_chunks::<LANES>();
        [s.load(&halves[0]), s.load(&halves[1])]
    }
}

impl Widened for F16 {
    type Weight = u16;
    #[inline(always)]
    fn widen<S: Simd>(s: S, two: &[u16; 2 * LANES]) -> [S::F; 2] {
        let (halves, _) = two.as_chunks::<LANES>();
        [s.load_f16(&halves[0]), s.load_f16(&halves[1])]
    }
}

impl Widened for Bf16 {
    type Weight = u16;
    #[inline(always)]
    fn widen<S: Simd>(s: S, two: &[u16; 2 * LANES]) -> [S::F; 2] {
        let (first, second) = s.load_bf16_pairs(two);
        [first, second]
    }
}

impl Weights for Bf16Pairs {
    type Weight = u16;
    type X = u32;
    #[inline(always)]
    fn add<S: Simd, const R: usize, const C: usize>(
        s: S,
        two: [&[u16; 2 * LANES]; C],
        x: &[u32],
        sums: &mut [[S::F; C]; R],
    ) {
        let (rows, _) = x.as_chunks::<R>();
        for r in 0..R {
            for c in 0..C {
                sums[r][c] = s.dot_bf16(sums[r][c], two[c], rows[0][r]);
            }
        }
    }
}

/// The product of `x` with some panels of one part.
pub(super) struct Product<'a, 'out, W: Weights> {
    pub(super) panels: Panels<'a, W::Weight>,
    pub(super) x: &'a Dense<W::X>,
    pub(super) out: &'a mut Columns<'out>,
}

impl<W: Weights> Kernel for Product<'_, '_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let inputs = self.x.inputs;
        let elements = inputs / W::X::INPUTS;
        let chunk = if self.x.groups.len() == 1 {
            inputs
        } else {
            CHUNK_INPUTS
        };
        let mut sums = Vec::new();
        let mut groups = self.x.groups.as_slice();
        while let Some((first_row, _)) = groups.first() {
            let block;
            (block, groups) = groups.split_at(groups_at_once(groups, elements * size_of::<W::X>()));
            let rows: usize = block.iter().map(|(_, count)| count).sum();
            let mut panel = 0;
            while panel < self.panels.count() {
                let together = if S::PANELS_DENSE == 2 && panel + 1 < self.panels.count() {
                    2
                } else {
                    1
                };
                sums.clear();
                sums.resize(together * rows, [0.0; LANES]);
                for start in (0..inputs).step_by(chunk) {
                    let part = start..inputs.min(start + chunk);
                    for (first, count) in block {
                        let x = &self.x.values[first * elements..][..count * elements];
                        let x = &x[part.start / W::X::INPUTS * count..part.end / W::X::INPUTS * count];
                        let weights = |panel| &self.panels.get(panel)[part.start * LANES..part.end * LANES];
                        // Only the first rows find the weights in memory.
                        let from_memory = first == first_row;
                        let sums_from = first - first_row;
                        if together == 2 {
                            let (one, two) = sums.split_at_mut(rows);
                            rows_at_once::<S, W, 2>(
                                s,
                                [weights(panel), weights(panel + 1)],
                                x,
                                (*count, from_memory),
                                [&mut one[sums_from..][..*count], &mut two[sums_from..][..*count]],
                            );
                        } else {
                            rows_at_once::<S, W, 1>(
                                s,
                                [weights(panel)],
                                x,
                                (*count, from_memory),
                                [&mut sums[sums_from..][..*count]],
                            );
                        }
                    }
                }
                for (side, sums) in sums.chunks_exact(rows).enumerate() {
                    for (row, sum) in sums.iter().enumerate() {
                        self.out
                            .write(first_row + row, self.panels.columns(panel + side), sum);
                    }
                }
                panel += together;
            }
        }
    }
}

/// How many groups of rows of so many bytes are multiplied with all panels before the next: at least one.
fn groups_at_once(groups: &[(usize, usize)], row_bytes: usize) -> usize {
    let mut bytes = 0;
    let fitting = groups.iter().take_while(|(_, rows)| {
        bytes += rows * row_bytes;
        bytes <= ROWS_BYTES
    });
    fitting.count().max(1)
}

/// Adds the products of some rows with `C` panels over some inputs to `sums`.
#[inline(always)]
pub(super) fn rows_at_once<S: Simd, W: Weights, const C: usize>(
    s: S,
    weights: [&[W::Weight]; C],
    x: &[W::X],
    (rows, from_memory): (usize, bool),
    sums: [&mut [[f32; LANES]]; C],
) {
    match rows {
        1 => tile::<S, W, 1, C>(s, weights, x, from_memory, sums),
        2 => tile::<S, W, 2, C>(s, weights, x, from_memory, sums),
        4 => tile::<S, W, 4, C>(s, weights, x, from_memory, sums),
        8 if S::ROWS_DENSE >= 8 => tile::<S, W, 8, C>(s, weights, x, from_memory, sums),
        12 if S::ROWS_DENSE >= 12 => tile::<S, W, 12, C>(s, weights, x, from_memory, sums),
        _ => unreachable!("groups have one of these sizes"),
    }
}

/// `R` rows and `C` panels over some inputs; the sums stay in registers.
#[inline(always)]
fn tile<S: Simd, W: Weights, const R: usize, const C: usize>(
    s: S,
    weights: [&[W::Weight]; C],
    x: &[W::X],
    from_memory: bool,
    sums: [&mut [[f32; LANES]]; C],
) {
    let mut acc = [[s.splat(0.0); C]; R];
    for r in 0..R {
        for c in 0..C {
            acc[r][c] = s.load(&sums[c][r]);
        }
    }
    let x = x.chunks_exact(2 / W::X::INPUTS * R);
    let mut pairs: [&[[W::Weight; 2 * LANES]]; C] = [&[]; C];
    for c in 0..C {
        pairs[c] = &weights[c].as_chunks().0[..x.len()];
    }
    for (k, x) in x.enumerate() {
        let mut two = [&pairs[0][k]; C];
        for c in 0..C {
            two[c] = &pairs[c][k];
            if from_memory {
                for line in 0..size_of_val(two[c]) / 64 {
                    s.prefetch(two[c], PREFETCH_BYTES + line * 64);
                }
            }
        }
        W::add(s, two, x, &mut acc);
    }
    for r in 0..R {
        for c in 0..C {
            s.store(acc[r][c], &mut sums[c][r]);
        }
    }
}
