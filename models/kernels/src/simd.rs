//! Sixteen lanes: the vocabulary in which every kernel is written once.
//!
//! A value of a [`Simd`] type is proof that the CPU has what its methods need; such values come from
//! [`Isa`](crate::isa::Isa) only. Lanes are always sixteen, whatever the registers are: two registers of AVX2, or
//! an array for the scalar reference. All of them round each step alike (fused multiply-add is one rounding), so
//! the same kernel gives the same bits on every CPU.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
pub(crate) mod math;
pub(crate) mod scalar;

/// Lanes of every vector, and outputs that are packed together.
pub(crate) const LANES: usize = 16;

/// Arithmetic on sixteen lanes.
///
/// Methods are `inline(always)` in each implementation: they must end up inside a function that is compiled for
/// the features, which [`Isa::dispatch`](crate::isa::Isa::dispatch) provides.
pub trait Simd: Copy + Send + Sync + 'static {
    /// Sixteen f32.
    type F: Copy;
    /// Sixteen i32.
    type I: Copy;
    /// Sixty-four bytes: four consecutive codes of each of sixteen outputs.
    type Q: Copy;
    /// Thirty-two i16: two of each of sixteen outputs.
    type P: Copy;

    /// Rows that a dense product computes together: 12, 8, 4, 2 or 1.
    const ROWS_DENSE: usize;
    /// Panels that it computes together: 2 or 1.
    const PANELS_DENSE: usize;

    fn splat(self, value: f32) -> Self::F;
    fn load(self, from: &[f32; LANES]) -> Self::F;
    fn store(self, value: Self::F, to: &mut [f32; LANES]);
    /// Widens binary16.
    fn load_f16(self, from: &[u16; LANES]) -> Self::F;
    /// The same for little-endian bytes.
    fn load_f16_bytes(self, from: &[u8; 2 * LANES]) -> Self::F;
    /// Widens the upper halves of f32.
    fn load_bf16(self, from: &[u16; LANES]) -> Self::F;
    /// Widens two of each lane: the first, and the second.
    fn load_bf16_pairs(self, from: &[u16; 2 * LANES]) -> (Self::F, Self::F);
    /// Signed bytes as numbers.
    fn load_i8(self, from: &[u8; LANES]) -> Self::F;

    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `a > b ? a : b`, so the second where either is NaN.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a < b ? a : b`, so the second where either is NaN.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;

    fn load_i(self, from: &[i32; LANES]) -> Self::I;
    fn splat_i(self, value: i32) -> Self::I;
    /// Unsigned bytes.
    fn load_u8(self, from: &[u8; LANES]) -> Self::I;
    fn add_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn max_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn and_i(self, a: Self::I, b: Self::I) -> Self::I;
    /// Exact below 2^24.
    fn to_f(self, value: Self::I) -> Self::F;
    /// To the nearest, ties to even; anything where that is no i32.
    fn round_i(self, value: Self::F) -> Self::I;
    fn bits(self, value: Self::F) -> Self::I;
    fn of_bits(self, value: Self::I) -> Self::F;
    /// Times 2^23: a whole number as an exponent.
    fn shift_to_exponent(self, value: Self::I) -> Self::I;
    /// The sum of the lanes, which does not overflow.
    fn sum_i(self, value: Self::I) -> i32;
    fn store_i(self, value: Self::I, to: &mut [i32; LANES]);
    /// The low byte of each lane.
    fn store_low_bytes(self, value: Self::I, to: &mut [i8; LANES]);

    fn load_q(self, from: &[u8; 64]) -> Self::Q;
    fn store_q(self, value: Self::Q, to: &mut [u8; 64]);
    fn splat_q(self, value: u8) -> Self::Q;
    fn and_q(self, a: Self::Q, b: Self::Q) -> Self::Q;
    fn or_q(self, a: Self::Q, b: Self::Q) -> Self::Q;
    /// Shifts pairs of bytes left; bits cross from the first byte into the second.
    fn shl_q<const BITS: u32>(self, a: Self::Q) -> Self::Q;
    /// Shifts pairs of bytes right; bits cross from the second byte into the first.
    fn shr_q<const BITS: u32>(self, a: Self::Q) -> Self::Q;
    /// Adds to each lane the products of its four unsigned codes, below 64, with four signed numbers.
    fn dot(self, sum: Self::I, codes: Self::Q, x: [i8; 4]) -> Self::I;
    /// The products of two quads, together where that takes fewer instructions.
    fn dot_two(self, sum: Self::I, codes: [Self::Q; 2], x: [[i8; 4]; 2]) -> Self::I;
    /// Whether it does.
    const HAS_DOT_TWO: bool;
    /// As [`Self::dot`] for codes that are signed bytes with 128 added, `x` being between -127 and 127. What it adds is
    /// off by [`Self::SIGNED_DOT_OFFSET`] times the sum of `x`.
    fn dot_signed(self, sum: Self::I, codes: Self::Q, x: [i8; 4]) -> Self::I;
    /// See [`Self::dot_signed`].
    const SIGNED_DOT_OFFSET: i32;

    /// Eight numbers of each lane whose codes, places in [`E2M1`](crate::blocks::E2M1), are its nibbles: `k` in the low
    /// nibble of its byte `k`, `k + 4` in the high one.
    fn e2m1(self, codes: Self::Q) -> [Self::F; 8];

    /// Sixteen pairs of unsigned bytes.
    fn load_pairs(self, from: &[u8; 32]) -> Self::P;
    /// Adds to each lane the products of its pair with two numbers.
    fn dot_pairs(self, sum: Self::I, pairs: Self::P, x: [i16; 2]) -> Self::I;

    /// Adds to each lane the products of its pair of bf16 with two, the first in the low half of `x`: the second product
    /// first, each rounded as it is added. The instruction (VDPBF16PS) takes subnormals as zeros; this does not.
    #[inline(always)]
    fn dot_bf16(self, sum: Self::F, pairs: &[u16; 2 * LANES], x: u32) -> Self::F {
        dot_widened(self, sum, pairs, x)
    }

    /// Asks for the cache line `bytes` beyond the start of `near`; never faults.
    fn prefetch<T>(self, near: &[T], bytes: usize);
}

/// [`Simd::dot_bf16`] where there is no instruction for it.
#[inline(always)]
pub(crate) fn dot_widened<S: Simd>(s: S, sum: S::F, pairs: &[u16; 2 * LANES], x: u32) -> S::F {
    let (first, second) = s.load_bf16_pairs(pairs);
    let sum = s.fma(s.splat(f32::from_bits(x & 0xffff_0000)), second, sum);
    s.fma(s.splat(f32::from_bits(x << 16)), first, sum)
}
