//! Activations as the products want them, prepared once for all outputs.
//!
//! Quantised products take signed bytes: per group of 32 inputs (Q8_0, Q4_0) or 256 (Q4_K, Q5_K, Q6_K) the
//! largest magnitude becomes 127 and the rest is rounded to the nearest, as llama.cpp does. The error of a
//! number is at most 1/254 of the largest of its group. A group with a number that is none, or an infinity, has
//! the scale NaN, and so have the results that use it; a group below 1e-30 throughout counts as zeros.

use super::narrow::{Narrow, round};
use crate::isa::{Isa, Kernel};
use crate::pool::Pool;
use crate::simd::{LANES, Simd};
use crate::tiles::{TILE_ROWS, TileSource};

/// Below this a group is zeros: the reciprocal of its scale would overflow.
const MAGNITUDE_MIN: f32 = 1e-30;
/// From here on threads share the preparation; below, waking them costs more.
pub(super) const ELEMENTS_TO_SHARE: usize = 1 << 15;

/// Rows in every form that the parts of one matrix need.
#[derive(Default)]
pub(super) struct Activations {
    pub(super) per_32: Quantised,
    pub(super) per_256: Quantised,
    pub(super) dense: Dense<f32>,
    pub(super) pairs: Dense<u32>,
    pub(super) narrow: Narrow,
}

/// Signed bytes with their scales and sums, in groups of rows. Within a group of `R` rows everything is interleaved
/// as in [`Dense`]: the first quad of every row, then the second, and so on.
#[derive(Default)]
pub(super) struct Quantised {
    pub(super) groups: Vec<Group>,
}

/// Some rows of [`Quantised`]: 16 for tiles, or 8, 4, 2 or 1.
#[derive(Default)]
pub(super) struct Group {
    /// The first of the rows.
    pub(super) first: usize,
    pub(super) rows: usize,
    quads: Vec<[i8; 4]>,
    /// Per 32 or 256 inputs.
    scales: Vec<f32>,
    /// Per 16 inputs of groups of 256: their sum times -32, which takes back the 32 in the codes of Q6_K. Per 32
    /// inputs of groups of 32: the sum times -8, for Q4_0.
    offsets: Vec<i32>,
    /// Per 32 inputs of groups of 32: the sum times [`Simd::SIGNED_DOT_OFFSET`], for Q8_0.
    signed_offsets: Vec<i32>,
    /// The sum times -128, for Q8_0 with tiles.
    tile_offsets: Vec<i32>,
    /// Per 64 inputs of groups of 256: the sums of the first 32 and of the last, for minima.
    pair_sums: Vec<[i16; 2]>,
    /// Groups of 16 have their codes here instead: a row after the other, `tile_stride` bytes apart.
    pub(super) tile_rows: Vec<u8>,
    pub(super) tile_stride: usize,
}

/// The vectors of a [`Group`] of `R` rows.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, const R: usize> {
    pub(super) quads: &'a [[[i8; 4]; R]],
    pub(super) scales: &'a [[f32; R]],
    pub(super) offsets: &'a [[i32; R]],
    pub(super) signed_offsets: &'a [[i32; R]],
    pub(super) tile_offsets: &'a [[i32; R]],
    pub(super) pair_sums: &'a [[[i16; 2]; R]],
}

impl Group {
    #[inline(always)]
    pub(super) fn rows<const R: usize>(&self) -> Rows<'_, R> {
        Rows {
            quads: self.quads.as_chunks().0,
            scales: self.scales.as_chunks().0,
            offsets: self.offsets.as_chunks().0,
            signed_offsets: self.signed_offsets.as_chunks().0,
            tile_offsets: self.tile_offsets.as_chunks().0,
            pair_sums: self.pair_sums.as_chunks().0,
        }
    }
}

/// Rows in groups; within a group, the first element of every row, then the second, and so on. An element is an input
/// (f32), or two inputs in bf16, the first in the low half (u32).
#[derive(Default)]
pub(super) struct Dense<X> {
    /// Inputs, made even.
    pub(super) inputs: usize,
    pub(super) values: Vec<X>,
    /// First row and number of rows of each group.
    pub(super) groups: Vec<(usize, usize)>,
}

/// An element of [`Dense`].
pub(super) trait Element: Copy + Default + Send {
    /// Inputs in it.
    const INPUTS: usize;
    /// From an input, and the one behind it, if there is one.
    fn of(x: f32, next: Option<f32>) -> Self;
}

impl Element for f32 {
    const INPUTS: usize = 1;
    #[inline(always)]
    fn of(x: f32, _: Option<f32>) -> Self {
        x
    }
}

impl Element for u32 {
    const INPUTS: usize = 2;
    #[inline(always)]
    fn of(x: f32, next: Option<f32>) -> Self {
        u32::from(round(x)) | u32::from(round(next.unwrap_or_default())) << 16
    }
}

impl Quantised {
    /// `group` divides `inputs`, which divide `x`.
    pub(super) fn new(x: &[f32], inputs: usize, group: usize, isa: Isa, pool: &Pool) -> Self {
        let mut groups = Vec::new();
        let mut work = Vec::new();
        let rows_max = if isa.tiles() == TileSource::None {
            8
        } else {
            TILE_ROWS
        };
        for (first, rows) in row_groups(x.len() / inputs, rows_max) {
            groups.push(Group {
                first,
                rows,
                ..Group::default()
            });
            work.push(&x[first * inputs..][..rows * inputs]);
        }
        let work: Vec<_> = work.into_iter().zip(&mut groups).collect();
        let quantise = |(x, out)| {
            isa.dispatch(Quantise {
                x,
                inputs,
                group,
                out,
            })
        };
        if x.len() < ELEMENTS_TO_SHARE {
            work.into_iter().for_each(quantise);
        } else {
            pool.run_each(work, |_, piece| quantise(piece));
        }
        Self { groups }
    }
}

/// Cuts `rows` into groups of at most `rows_max`: that many as long as there are, then 8, 4, 2 and 1.
fn row_groups(rows: usize, rows_max: usize) -> Vec<(usize, usize)> {
    let mut groups = Vec::with_capacity(rows / rows_max + 4);
    let mut first = 0;
    while first < rows {
        let fits = |count: &usize| *count <= rows_max && *count <= rows - first;
        let count = [rows_max, 8, 4, 2].into_iter().find(fits).unwrap_or(1);
        groups.push((first, count));
        first += count;
    }
    groups
}

/// Fills the vectors of a [`Group`].
struct Quantise<'a> {
    x: &'a [f32],
    inputs: usize,
    group: usize,
    out: &'a mut Group,
}

impl Kernel for Quantise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self {
            x,
            inputs,
            group,
            out,
        } = self;
        let rows = out.rows;
        out.quads = vec![[0; 4]; x.len() / 4];
        out.scales = vec![0.0; x.len() / group];
        let mut sums = vec![0; x.len() / 16];
        for (row, x) in x.chunks_exact(inputs).enumerate() {
            for (index, x) in x.chunks_exact(group).enumerate() {
                let quads = &mut out.quads[index * group / 4 * rows + row..];
                let sums = &mut sums[index * group / 16 * rows + row..];
                out.scales[index * rows + row] = quantise_group(s, x, rows, quads, sums);
            }
        }
        // Sums of the halves of each pair of 32, row by row beside each other.
        let pairs = sums.chunks_exact(2 * rows).map(|sums| sums.split_at(rows));
        if group == 256 {
            let mut of_32 = vec![0; x.len() / 32];
            for (out, (one, two)) in of_32.chunks_exact_mut(rows).zip(pairs) {
                add(out, one, two);
            }
            out.pair_sums = vec![[0; 2]; x.len() / 64];
            for (out, sums) in out
                .pair_sums
                .chunks_exact_mut(rows)
                .zip(of_32.chunks_exact(2 * rows))
            {
                let (one, two) = sums.split_at(rows);
                for ((out, one), two) in out.iter_mut().zip(one).zip(two) {
                    // At most 32 * 127 each.
                    *out = [*one as i16, *two as i16];
                }
            }
            sums.iter_mut().for_each(|sum| *sum *= -32);
            out.offsets = sums;
        } else {
            out.offsets = vec![0; x.len() / 32];
            for (out, (one, two)) in out.offsets.chunks_exact_mut(rows).zip(pairs) {
                add(out, one, two);
            }
            out.signed_offsets = out.offsets.clone();
            out.signed_offsets
                .iter_mut()
                .for_each(|sum| *sum *= S::SIGNED_DOT_OFFSET);
            out.tile_offsets = out.offsets.iter().map(|sum| sum * -128).collect();
            out.offsets.iter_mut().for_each(|sum| *sum *= -8);
        }
        if rows == TILE_ROWS {
            // Rows of a tile are lines of the cache, so an odd number of lines keeps them in different sets.
            out.tile_stride = inputs.next_multiple_of(128) + 64;
            out.tile_rows = vec![0; rows * out.tile_stride];
            for (index, quads) in out.quads.chunks_exact(rows).enumerate() {
                for (row, quad) in quads.iter().enumerate() {
                    let to = &mut out.tile_rows[row * out.tile_stride + 4 * index..][..4];
                    to.copy_from_slice(&quad.map(i8::cast_unsigned));
                }
            }
            out.quads = Vec::new();
        }
    }
}

#[inline(always)]
fn add(out: &mut [i32], one: &[i32], two: &[i32]) {
    for ((out, one), two) in out.iter_mut().zip(one).zip(two) {
        *out = one + two;
    }
}

/// Quantises one group of one row; its quads and sums are `stride` apart. Returns the scale.
#[inline(always)]
fn quantise_group<S: Simd>(s: S, x: &[f32], stride: usize, quads: &mut [[i8; 4]], sums: &mut [i32]) -> f32 {
    let x = x.as_chunks::<LANES>().0;
    // Magnitudes order as their bits do, with infinities and NaN last.
    let magnitude = s.splat_i(i32::MAX);
    let mut largest = s.splat_i(0);
    for x in x {
        largest = s.max_i(largest, s.and_i(s.bits(s.load(x)), magnitude));
    }
    let mut lanes = [0; LANES];
    s.store_i(largest, &mut lanes);
    let mut bits = 0;
    for lane in lanes {
        bits = if lane > bits { lane } else { bits };
    }
    let largest = f32::from_bits(bits.cast_unsigned());
    let (scale, inverse) = if !largest.is_finite() {
        (f32::NAN, 0.0)
    } else if largest < MAGNITUDE_MIN {
        (0.0, 0.0)
    } else {
        (largest / 127.0, 127.0 / largest)
    };
    // No code where there is no scale: what NaN rounds to differs between instruction sets.
    let keep = s.splat_i(if inverse == 0.0 { 0 } else { -1 });
    let inverse = s.splat(inverse);
    for (index, x) in x.iter().enumerate() {
        let codes = s.and_i(s.round_i(s.mul(s.load(x), inverse)), keep);
        let mut bytes = [0; LANES];
        s.store_low_bytes(codes, &mut bytes);
        sums[index * stride] = s.sum_i(codes);
        for (i, bytes) in bytes.as_chunks::<4>().0.iter().enumerate() {
            quads[(index * 4 + i) * stride] = *bytes;
        }
    }
    scale
}

impl<X: Element> Dense<X> {
    /// Groups of at most `rows_max` rows, each a power of two or `rows_max`.
    pub(super) fn new(x: &[f32], inputs: usize, rows_max: usize, pool: &Pool) -> Self {
        let rows = x.len() / inputs;
        let padded = inputs.next_multiple_of(2);
        let elements = padded / X::INPUTS;
        let mut values = vec![X::default(); rows * elements];
        let groups = row_groups(rows, rows_max);
        let mut pieces = Vec::with_capacity(groups.len());
        let mut rest = values.as_mut_slice();
        for (first, count) in &groups {
            let (piece, after) = rest.split_at_mut(count * elements);
            pieces.push((&x[first * inputs..][..count * inputs], piece));
            rest = after;
        }
        let interleave = |(x, piece): (&[f32], &mut [X])| {
            let count = x.len() / inputs;
            let starts = (0..inputs).step_by(X::INPUTS);
            for (start, values) in starts.zip(piece.chunks_exact_mut(count)) {
                for (value, x) in values.iter_mut().zip(x.chunks_exact(inputs)) {
                    *value = X::of(x[start], x.get(start + 1).copied());
                }
            }
        };
        if x.len() < ELEMENTS_TO_SHARE {
            pieces.into_iter().for_each(interleave);
        } else {
            pool.run_each(pieces, |_, piece| interleave(piece));
        }
        Self {
            inputs: padded,
            values,
            groups,
        }
    }
}
