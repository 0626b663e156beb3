//! Activations as the products want them, prepared once for all outputs.
//!
//! Quantised products take signed bytes: per group of 32 inputs (Q8_0, Q4_0) or 256 (Q4_K, Q5_K, Q6_K) the
//! largest magnitude becomes 127 and the rest is rounded to the nearest, as llama.cpp does. The error of a
//! number is at most 1/254 of the largest of its group. A group with a number that is none, or an infinity, has
//! the scale NaN, and so have the results that use it; a group below 1e-30 throughout counts as zeros.

use crate::format::Format;
use crate::isa::{Isa, Kernel};
use crate::pool::Pool;
use crate::simd::{LANES, Simd};

/// Below this a group is zeros: the reciprocal of its scale would overflow.
const MAGNITUDE_MIN: f32 = 1e-30;
/// From here on threads share the preparation; below, waking them costs more.
const ELEMENTS_TO_SHARE: usize = 1 << 15;

/// Rows in every form that the parts of one matrix need.
#[derive(Default)]
pub(super) struct Activations {
    pub(super) per_32: Quantised,
    pub(super) per_256: Quantised,
    pub(super) dense: Dense,
}

/// Signed bytes with their scales and sums. Vectors are indexed by row first.
#[derive(Default)]
pub(super) struct Quantised {
    /// Inputs that share a scale.
    group: usize,
    inputs: usize,
    quads: Vec<[i8; 4]>,
    scales: Vec<f32>,
    /// Per 16 inputs: their sum.
    sums: Vec<i32>,
    /// Per 64 inputs: the sums of the first 32 and of the last.
    pair_sums: Vec<[i16; 2]>,
}

/// f32 in groups of rows; within a group, the first input of every row, then the second, and so on.
#[derive(Default)]
pub(super) struct Dense {
    /// Inputs, made even.
    pub(super) inputs: usize,
    pub(super) values: Vec<f32>,
    /// First row and number of rows of each group.
    pub(super) groups: Vec<(usize, usize)>,
}

/// One row of [`Quantised`].
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) quads: &'a [[i8; 4]],
    pub(super) scales: &'a [f32],
    pub(super) sums: &'a [i32],
    pub(super) pair_sums: &'a [[i16; 2]],
}

impl Quantised {
    /// `group` divides `inputs`, which divide `x`.
    pub(super) fn new(x: &[f32], inputs: usize, group: usize, isa: Isa, pool: &Pool) -> Self {
        let mut out = Self {
            group,
            inputs,
            quads: vec![[0; 4]; x.len() / 4],
            scales: vec![0.0; x.len() / group],
            sums: vec![0; x.len() / 16],
            pair_sums: vec![[0; 2]; if group == 256 { x.len() / 64 } else { 0 }],
        };
        let each = if x.len() < ELEMENTS_TO_SHARE {
            x.len()
        } else {
            (x.len() / inputs).div_ceil(pool.threads()) * inputs
        };
        let pieces = x
            .chunks(each)
            .zip(out.quads.chunks_mut(each / 4))
            .zip(out.scales.chunks_mut(each / group))
            .zip(out.sums.chunks_mut(each / 16))
            .map(|(((x, quads), scales), sums)| Quantise {
                x,
                group,
                quads,
                scales,
                sums,
            })
            .collect::<Vec<_>>();
        if pieces.len() == 1 {
            pieces.into_iter().for_each(|piece| isa.dispatch(piece));
        } else {
            pool.run_each(pieces, |_, piece| isa.dispatch(piece));
        }
        for (pair, sums) in out.pair_sums.iter_mut().zip(out.sums.as_chunks::<4>().0) {
            // At most 32 * 127 each.
            *pair = [(sums[0] + sums[1]) as i16, (sums[2] + sums[3]) as i16];
        }
        out
    }

    pub(super) fn rows(&self) -> usize {
        self.scales.len() * self.group / self.inputs.max(1)
    }

    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> Row<'_> {
        let part = |each: usize| row * (self.inputs / each)..(row + 1) * (self.inputs / each);
        Row {
            quads: &self.quads[part(4)],
            scales: &self.scales[part(self.group)],
            sums: &self.sums[part(16)],
            pair_sums: if self.group == 256 {
                &self.pair_sums[part(64)]
            } else {
                &[]
            },
        }
    }
}

/// Inputs that share a scale when multiplied with weights of this format; none for dense formats.
pub(super) const fn group_of(format: Format) -> Option<usize> {
    match format {
        Format::F32 | Format::F16 | Format::Bf16 => None,
        _ => Some(format.block_elements()),
    }
}

/// Fills the vectors of [`Quantised`] for some rows.
struct Quantise<'a> {
    x: &'a [f32],
    group: usize,
    quads: &'a mut [[i8; 4]],
    scales: &'a mut [f32],
    sums: &'a mut [i32],
}

impl Kernel for Quantise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let group = self.group;
        let groups = self
            .x
            .chunks_exact(group)
            .zip(self.quads.chunks_exact_mut(group / 4));
        let sums = self.sums.chunks_exact_mut(group / 16);
        for (((x, quads), sums), scale) in groups.zip(sums).zip(self.scales) {
            *scale = quantise_group(s, x, quads, sums);
        }
    }
}

#[inline(always)]
fn quantise_group<S: Simd>(s: S, x: &[f32], quads: &mut [[i8; 4]], sums: &mut [i32]) -> f32 {
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
    let inverse = s.splat(inverse);
    for ((x, quads), sum) in x.iter().zip(quads.as_chunks_mut::<4>().0).zip(sums) {
        let codes = s.round_i(s.mul(s.load(x), inverse));
        let mut bytes = [0; LANES];
        s.store_low_bytes(codes, &mut bytes);
        let mut total = 0;
        for (quad, bytes) in quads.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *quad = *bytes;
            for byte in bytes {
                total += i32::from(*byte);
            }
        }
        *sum = total;
    }
    scale
}

impl Dense {
    /// Groups of at most `rows_max` rows, each a power of two or `rows_max`.
    pub(super) fn new(x: &[f32], inputs: usize, rows_max: usize, pool: &Pool) -> Self {
        let rows = x.len() / inputs;
        let padded = inputs.next_multiple_of(2);
        let mut values = vec![0.0; rows * padded];
        let mut groups = Vec::new();
        let mut pieces = Vec::new();
        let (mut first, mut rest) = (0, values.as_mut_slice());
        while first < rows {
            let fits = |count: &usize| *count <= rows_max && *count <= rows - first;
            let count = [rows_max, 8, 4, 2].into_iter().find(fits).unwrap_or(1);
            let (piece, after) = rest.split_at_mut(count * padded);
            pieces.push((&x[first * inputs..][..count * inputs], piece));
            groups.push((first, count));
            (first, rest) = (first + count, after);
        }
        let interleave = |(x, piece): (&[f32], &mut [f32])| {
            let count = x.len() / inputs;
            for (row, x) in x.chunks_exact(inputs).enumerate() {
                for (value, x) in piece[row..].iter_mut().step_by(count).zip(x) {
                    *value = *x;
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
