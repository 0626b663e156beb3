//! Products with block formats: integers within a scale, f32 between scales.
//!
//! The arithmetic is the same for one row and for many, and on every CPU. For an output and a row, over the
//! blocks in order, every `fma` being rounded once:
//!
//! - Q8_0, Q4_0: `sum = fma(dot, d * dx, sum)`
//! - Q4_K, Q5_K, Q6_K: `inner = fma(dot_j, scale_j, inner)` over the sub-blocks `j`, from zero; then
//!   `sum = fma(inner, d * dx, sum)`, and with minima `sum = fma(min_dot, dmin * -dx, sum)`
//!
//! `dot` is the exact whole-number product of codes; `dx` is the scale of the activations.

use std::ops::Range;

use super::activations::{Quantised, Row};
use super::panels::{HALVES, K_CODES, K_MINS, K_SCALES, Q6K_CODES, Q6K_SCALES, QUAD, block_bytes};
use super::{Columns, Panels};
use crate::format::Format;
use crate::isa::Kernel;
use crate::simd::{LANES, Simd};

/// The product of `x` with some panels of one part.
pub(super) struct Product<'a, 'out> {
    pub(super) format: Format,
    pub(super) panels: Panels<'a, u8>,
    pub(super) x: &'a Quantised,
    pub(super) out: &'a mut Columns<'out>,
}

impl Kernel for Product<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.format {
            Format::Q8_0 => self.with::<S, Q8_0>(s),
            Format::Q4_0 => self.with::<S, Q4_0>(s),
            Format::Q4K => self.with::<S, Q4K>(s),
            Format::Q5K => self.with::<S, Q5K>(s),
            Format::Q6K => self.with::<S, Q6K>(s),
            Format::F32 | Format::F16 | Format::Bf16 => {}
        }
    }
}

impl Product<'_, '_> {
    #[inline(always)]
    fn with<S: Simd, L: Layout>(self, s: S) {
        let rows = self.x.rows();
        for index in 0..self.panels.count() {
            let panel = self.panels.get(index);
            let mut row = 0;
            while row < rows {
                let out = (&mut *self.out, self.panels.columns(index));
                row += match rows - row {
                    8.. => direct::<S, L, 8>(s, panel, self.x, row, out),
                    4.. => direct::<S, L, 4>(s, panel, self.x, row, out),
                    2.. => direct::<S, L, 2>(s, panel, self.x, row, out),
                    _ => direct::<S, L, 1>(s, panel, self.x, row, out),
                };
            }
        }
    }
}

#[inline(always)]
fn direct<S: Simd, L: Layout, const R: usize>(
    s: S,
    panel: &[u8],
    x: &Quantised,
    row: usize,
    (out, columns): (&mut Columns<'_>, Range<usize>),
) -> usize {
    let mut rows = [x.row(row); R];
    for (i, slot) in rows.iter_mut().enumerate() {
        *slot = x.row(row + i);
    }
    let mut sums = [s.splat(0.0); R];
    for (b, block) in panel.chunks_exact(L::BYTES).enumerate() {
        L::block(s, block, b, &rows, &mut sums);
    }
    for (i, sum) in sums.into_iter().enumerate() {
        let mut lanes = [0.0; LANES];
        s.store(sum, &mut lanes);
        out.write(row + i, columns.clone(), &lanes);
    }
    R
}

/// A block format in panels.
trait Layout {
    const BYTES: usize;

    /// Adds the products of block number `b` of a panel.
    fn block<S: Simd, const R: usize>(s: S, block: &[u8], b: usize, x: &[Row<'_>; R], sums: &mut [S::F; R]);
}

struct Q8_0;
struct Q4_0;
struct Q4K;
struct Q5K;
struct Q6K;

impl Layout for Q8_0 {
    const BYTES: usize = block_bytes(Format::Q8_0);

    #[inline(always)]
    fn block<S: Simd, const R: usize>(s: S, block: &[u8], b: usize, x: &[Row<'_>; R], sums: &mut [S::F; R]) {
        let d = s.load_f16_bytes(at(block, 0));
        let mut quads = [s.splat_q(0); 8];
        for (i, quad) in quads.iter_mut().enumerate() {
            *quad = s.load_q(at(block, HALVES + i * QUAD));
        }
        for r in 0..R {
            let x_sum = x[r].sums[2 * b] + x[r].sums[2 * b + 1];
            let mut dot = s.splat_i(S::SIGNED_DOT_OFFSET * x_sum);
            let x_quads = quads_of(&x[r], b);
            for i in 0..8 {
                dot = s.dot_signed(dot, quads[i], x_quads[i]);
            }
            sums[r] = s.fma(s.to_f(dot), s.mul(d, s.splat(x[r].scales[b])), sums[r]);
        }
    }
}

impl Layout for Q4_0 {
    const BYTES: usize = block_bytes(Format::Q4_0);

    #[inline(always)]
    fn block<S: Simd, const R: usize>(s: S, block: &[u8], b: usize, x: &[Row<'_>; R], sums: &mut [S::F; R]) {
        let d = s.load_f16_bytes(at(block, 0));
        let quads = nibbles(s, block, HALVES);
        for r in 0..R {
            let x_sum = x[r].sums[2 * b] + x[r].sums[2 * b + 1];
            let dot = dot_32(s, s.splat_i(-8 * x_sum), &quads, quads_of(&x[r], b));
            sums[r] = s.fma(s.to_f(dot), s.mul(d, s.splat(x[r].scales[b])), sums[r]);
        }
    }
}

impl Layout for Q4K {
    const BYTES: usize = block_bytes(Format::Q4K);

    #[inline(always)]
    fn block<S: Simd, const R: usize>(s: S, block: &[u8], b: usize, x: &[Row<'_>; R], sums: &mut [S::F; R]) {
        let mut inner = [s.splat(0.0); R];
        for j in 0..8 {
            let quads = nibbles(s, block, K_CODES + j * 4 * QUAD);
            add_sub_block(s, block, b * 8 + j, j, &quads, x, &mut inner);
        }
        finish_with_mins(s, block, b, &inner, x, sums);
    }
}

impl Layout for Q5K {
    const BYTES: usize = block_bytes(Format::Q5K);

    #[inline(always)]
    fn block<S: Simd, const R: usize>(s: S, block: &[u8], b: usize, x: &[Row<'_>; R], sums: &mut [S::F; R]) {
        let mut inner = [s.splat(0.0); R];
        for j in 0..8 {
            let codes = K_CODES + j * 5 * QUAD;
            let mut quads = nibbles(s, block, codes);
            let fifth = s.load_q(at(block, codes + 4 * QUAD));
            let bit = s.splat_q(16);
            quads[0] = s.or_q(quads[0], s.and_q(s.shl_q::<4>(fifth), bit));
            quads[1] = s.or_q(quads[1], s.and_q(s.shl_q::<3>(fifth), bit));
            quads[2] = s.or_q(quads[2], s.and_q(s.shl_q::<2>(fifth), bit));
            quads[3] = s.or_q(quads[3], s.and_q(s.shl_q::<1>(fifth), bit));
            quads[4] = s.or_q(quads[4], s.and_q(fifth, bit));
            quads[5] = s.or_q(quads[5], s.and_q(s.shr_q::<1>(fifth), bit));
            quads[6] = s.or_q(quads[6], s.and_q(s.shr_q::<2>(fifth), bit));
            quads[7] = s.or_q(quads[7], s.and_q(s.shr_q::<3>(fifth), bit));
            add_sub_block(s, block, b * 8 + j, j, &quads, x, &mut inner);
        }
        finish_with_mins(s, block, b, &inner, x, sums);
    }
}

impl Layout for Q6K {
    const BYTES: usize = block_bytes(Format::Q6K);

    #[inline(always)]
    fn block<S: Simd, const R: usize>(s: S, block: &[u8], b: usize, x: &[Row<'_>; R], sums: &mut [S::F; R]) {
        let mut inner = [s.splat(0.0); R];
        for j in 0..8 {
            let codes = Q6K_CODES + j * 6 * QUAD;
            let mut quads = nibbles(s, block, codes);
            let bits = s.splat_q(48);
            for half in 0..2 {
                let upper = s.load_q(at(block, codes + (4 + half) * QUAD));
                let quads = &mut quads[4 * half..];
                quads[0] = s.or_q(quads[0], s.and_q(s.shl_q::<4>(upper), bits));
                quads[1] = s.or_q(quads[1], s.and_q(s.shl_q::<2>(upper), bits));
                quads[2] = s.or_q(quads[2], s.and_q(upper, bits));
                quads[3] = s.or_q(quads[3], s.and_q(s.shr_q::<2>(upper), bits));
            }
            let scale_0 = s.load_i8(at(block, Q6K_SCALES + 2 * j * LANES));
            let scale_1 = s.load_i8(at(block, Q6K_SCALES + (2 * j + 1) * LANES));
            for r in 0..R {
                let x_quads = quads_of(&x[r], b * 8 + j);
                let x_sums = &x[r].sums[b * 16 + 2 * j..][..2];
                let mut dot_0 = s.splat_i(-32 * x_sums[0]);
                let mut dot_1 = s.splat_i(-32 * x_sums[1]);
                for i in 0..4 {
                    dot_0 = s.dot(dot_0, quads[i], x_quads[i]);
                    dot_1 = s.dot(dot_1, quads[4 + i], x_quads[4 + i]);
                }
                inner[r] = s.fma(s.to_f(dot_0), scale_0, inner[r]);
                inner[r] = s.fma(s.to_f(dot_1), scale_1, inner[r]);
            }
        }
        let d = s.load_f16_bytes(at(block, 0));
        for r in 0..R {
            sums[r] = s.fma(inner[r], s.mul(d, s.splat(x[r].scales[b])), sums[r]);
        }
    }
}

/// Adds sub-block `j` of a block, which is number `group` of the row, of Q4_K or Q5_K.
#[inline(always)]
fn add_sub_block<S: Simd, const R: usize>(
    s: S,
    block: &[u8],
    group: usize,
    j: usize,
    quads: &[S::Q; 8],
    x: &[Row<'_>; R],
    inner: &mut [S::F; R],
) {
    let scale = s.load_i8(at(block, K_SCALES + j * LANES));
    for r in 0..R {
        let dot = dot_32(s, s.splat_i(0), quads, quads_of(&x[r], group));
        inner[r] = s.fma(s.to_f(dot), scale, inner[r]);
    }
}

#[inline(always)]
fn finish_with_mins<S: Simd, const R: usize>(
    s: S,
    block: &[u8],
    b: usize,
    inner: &[S::F; R],
    x: &[Row<'_>; R],
    sums: &mut [S::F; R],
) {
    let (d, dmin) = (
        s.load_f16_bytes(at(block, 0)),
        s.load_f16_bytes(at(block, HALVES)),
    );
    let mut dots = [s.splat_i(0); R];
    for i in 0..4 {
        let mins = s.load_pairs(at(block, K_MINS + i * 2 * LANES));
        for r in 0..R {
            dots[r] = s.dot_pairs(dots[r], mins, x[r].pair_sums[4 * b + i]);
        }
    }
    for r in 0..R {
        let scale = x[r].scales[b];
        sums[r] = s.fma(inner[r], s.mul(d, s.splat(scale)), sums[r]);
        sums[r] = s.fma(s.to_f(dots[r]), s.mul(dmin, s.splat(-scale)), sums[r]);
    }
}

/// Eight quads from four vectors.
#[inline(always)]
fn nibbles<S: Simd>(s: S, block: &[u8], offset: usize) -> [S::Q; 8] {
    let low = s.splat_q(15);
    let mut quads = [low; 8];
    for i in 0..4 {
        let both = s.load_q(at(block, offset + i * QUAD));
        quads[i] = s.and_q(both, low);
        quads[i + 4] = s.and_q(s.shr_q::<4>(both), low);
    }
    quads
}

#[inline(always)]
fn dot_32<S: Simd>(s: S, mut dot: S::I, quads: &[S::Q; 8], x: &[[i8; 4]; 8]) -> S::I {
    for i in 0..8 {
        dot = s.dot(dot, quads[i], x[i]);
    }
    dot
}

/// Activations of group number `group` of 32.
#[inline(always)]
fn quads_of<'a>(x: &Row<'a>, group: usize) -> &'a [[i8; 4]; 8] {
    x.quads[group * 8..]
        .first_chunk()
        .expect("a row has whole groups")
}

#[inline(always)]
fn at<const N: usize>(block: &[u8], offset: usize) -> &[u8; N] {
    block[offset..]
        .first_chunk()
        .expect("the offset is of the layout")
}
