//! How each block format is read from its panel, and how its dots become sums.

use super::activations::Rows;
use super::panels::{HALVES, K_CODES, K_MINS, K_SCALES, Q6K_CODES, Q6K_SCALES, QUAD, block_bytes};
use crate::format::Format;
use crate::simd::{LANES, Simd};

/// A block format in panels.
pub(super) trait Layout {
    /// Bytes of a block of sixteen outputs.
    const BYTES: usize;
    /// Runs of 32 inputs in a block.
    const SUB_BLOCKS: usize;
    /// Scales in each of them.
    const PARTS: usize;

    /// Unsigned codes of run `j`.
    fn quads<S: Simd>(s: S, block: &[u8], j: usize) -> [S::Q; 8];

    /// Scale number `part` of the block.
    fn scale<S: Simd>(s: S, block: &[u8], part: usize) -> S::F;

    /// What takes back the number that was added to signed codes, for each part of the row.
    #[inline(always)]
    fn offsets<const R: usize>(_: Rows<'_, R>) -> Option<&[[i32; R]]> {
        None
    }

    /// The same for dots of tiles, which multiply unsigned codes on every CPU.
    #[inline(always)]
    fn tile_offsets<const R: usize>(x: Rows<'_, R>) -> Option<&[[i32; R]]> {
        Self::offsets(x)
    }

    /// Four products of each output.
    #[inline(always)]
    fn dot<S: Simd>(s: S, dot: S::I, quad: S::Q, x: [i8; 4]) -> S::I {
        s.dot(dot, quad, x)
    }

    /// Eight products of each output.
    #[inline(always)]
    fn dot_two<S: Simd>(s: S, dot: S::I, quads: [S::Q; 2], x: [[i8; 4]; 2]) -> S::I {
        s.dot_two(dot, quads, x)
    }

    /// Adds one dot; returns the new sum within the block.
    #[inline(always)]
    fn add<S: Simd>(s: S, dot: S::F, scale: S::F, _x_scale: f32, inner: S::F, _sum: &mut S::F) -> S::F {
        s.fma(dot, scale, inner)
    }

    /// Adds the sums within block number `b`.
    fn finish<S: Simd, const R: usize>(
        s: S,
        block: &[u8],
        b: usize,
        x: Rows<'_, R>,
        inner: &[S::F; R],
        sums: &mut [S::F; R],
    );
}

pub(super) struct Q8_0;
pub(super) struct Q4_0;
pub(super) struct Q4K;
pub(super) struct Q5K;
pub(super) struct Q6K;

impl Layout for Q8_0 {
    const BYTES: usize = block_bytes(Format::Q8_0);
    const SUB_BLOCKS: usize = 1;
    const PARTS: usize = 1;

    #[inline(always)]
    fn quads<S: Simd>(s: S, block: &[u8], _: usize) -> [S::Q; 8] {
        let mut quads = [s.splat_q(0); 8];
        for (i, quad) in quads.iter_mut().enumerate() {
            *quad = s.load_q(at(block, HALVES + i * QUAD));
        }
        quads
    }

    #[inline(always)]
    fn scale<S: Simd>(s: S, block: &[u8], _: usize) -> S::F {
        s.load_f16_bytes(at(block, 0))
    }

    #[inline(always)]
    fn offsets<const R: usize>(x: Rows<'_, R>) -> Option<&[[i32; R]]> {
        Some(x.signed_offsets)
    }

    #[inline(always)]
    fn tile_offsets<const R: usize>(x: Rows<'_, R>) -> Option<&[[i32; R]]> {
        Some(x.tile_offsets)
    }

    #[inline(always)]
    fn dot<S: Simd>(s: S, dot: S::I, quad: S::Q, x: [i8; 4]) -> S::I {
        s.dot_signed(dot, quad, x)
    }

    #[inline(always)]
    fn dot_two<S: Simd>(s: S, dot: S::I, quads: [S::Q; 2], x: [[i8; 4]; 2]) -> S::I {
        s.dot_signed(s.dot_signed(dot, quads[0], x[0]), quads[1], x[1])
    }

    #[inline(always)]
    fn add<S: Simd>(s: S, dot: S::F, scale: S::F, x_scale: f32, inner: S::F, sum: &mut S::F) -> S::F {
        *sum = s.fma(dot, s.mul(scale, s.splat(x_scale)), *sum);
        inner
    }

    #[inline(always)]
    fn finish<S: Simd, const R: usize>(
        _: S,
        _: &[u8],
        _: usize,
        _: Rows<'_, R>,
        _: &[S::F; R],
        _: &mut [S::F; R],
    ) {
    }
}

impl Layout for Q4_0 {
    const BYTES: usize = block_bytes(Format::Q4_0);
    const SUB_BLOCKS: usize = 1;
    const PARTS: usize = 1;

    #[inline(always)]
    fn quads<S: Simd>(s: S, block: &[u8], _: usize) -> [S::Q; 8] {
        nibbles(s, block, HALVES)
    }

    #[inline(always)]
    fn scale<S: Simd>(s: S, block: &[u8], _: usize) -> S::F {
        s.load_f16_bytes(at(block, 0))
    }

    #[inline(always)]
    fn offsets<const R: usize>(x: Rows<'_, R>) -> Option<&[[i32; R]]> {
        Some(x.offsets)
    }

    #[inline(always)]
    fn add<S: Simd>(s: S, dot: S::F, scale: S::F, x_scale: f32, inner: S::F, sum: &mut S::F) -> S::F {
        *sum = s.fma(dot, s.mul(scale, s.splat(x_scale)), *sum);
        inner
    }

    #[inline(always)]
    fn finish<S: Simd, const R: usize>(
        _: S,
        _: &[u8],
        _: usize,
        _: Rows<'_, R>,
        _: &[S::F; R],
        _: &mut [S::F; R],
    ) {
    }
}

impl Layout for Q4K {
    const BYTES: usize = block_bytes(Format::Q4K);
    const SUB_BLOCKS: usize = 8;
    const PARTS: usize = 1;

    #[inline(always)]
    fn quads<S: Simd>(s: S, block: &[u8], j: usize) -> [S::Q; 8] {
        nibbles(s, block, K_CODES + j * 4 * QUAD)
    }

    #[inline(always)]
    fn scale<S: Simd>(s: S, block: &[u8], part: usize) -> S::F {
        s.load_i8(at(block, K_SCALES + part * LANES))
    }

    #[inline(always)]
    fn finish<S: Simd, const R: usize>(
        s: S,
        block: &[u8],
        b: usize,
        x: Rows<'_, R>,
        inner: &[S::F; R],
        sums: &mut [S::F; R],
    ) {
        finish_with_mins(s, block, b, x, inner, sums);
    }
}

impl Layout for Q5K {
    const BYTES: usize = block_bytes(Format::Q5K);
    const SUB_BLOCKS: usize = 8;
    const PARTS: usize = 1;

    #[inline(always)]
    fn quads<S: Simd>(s: S, block: &[u8], j: usize) -> [S::Q; 8] {
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
        quads
    }

    #[inline(always)]
    fn scale<S: Simd>(s: S, block: &[u8], part: usize) -> S::F {
        s.load_i8(at(block, K_SCALES + part * LANES))
    }

    #[inline(always)]
    fn finish<S: Simd, const R: usize>(
        s: S,
        block: &[u8],
        b: usize,
        x: Rows<'_, R>,
        inner: &[S::F; R],
        sums: &mut [S::F; R],
    ) {
        finish_with_mins(s, block, b, x, inner, sums);
    }
}

impl Layout for Q6K {
    const BYTES: usize = block_bytes(Format::Q6K);
    const SUB_BLOCKS: usize = 8;
    const PARTS: usize = 2;

    #[inline(always)]
    fn quads<S: Simd>(s: S, block: &[u8], j: usize) -> [S::Q; 8] {
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
        quads
    }

    #[inline(always)]
    fn scale<S: Simd>(s: S, block: &[u8], part: usize) -> S::F {
        s.load_i8(at(block, Q6K_SCALES + part * LANES))
    }

    #[inline(always)]
    fn offsets<const R: usize>(x: Rows<'_, R>) -> Option<&[[i32; R]]> {
        Some(x.offsets)
    }

    #[inline(always)]
    fn finish<S: Simd, const R: usize>(
        s: S,
        block: &[u8],
        b: usize,
        x: Rows<'_, R>,
        inner: &[S::F; R],
        sums: &mut [S::F; R],
    ) {
        let d = s.load_f16_bytes(at(block, 0));
        for r in 0..R {
            sums[r] = s.fma(inner[r], s.mul(d, s.splat(x.scales[b][r])), sums[r]);
        }
    }
}

/// The end of a block of Q4_K or Q5_K.
#[inline(always)]
fn finish_with_mins<S: Simd, const R: usize>(
    s: S,
    block: &[u8],
    b: usize,
    x: Rows<'_, R>,
    inner: &[S::F; R],
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
            dots[r] = s.dot_pairs(dots[r], mins, x.pair_sums[4 * b + i][r]);
        }
    }
    for r in 0..R {
        let scale = x.scales[b][r];
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
fn at<const N: usize>(block: &[u8], offset: usize) -> &[u8; N] {
    block[offset..]
        .first_chunk()
        .expect("the offset is of the layout")
}
