//! AVX2 with FMA: two registers for sixteen lanes.
//!
//! UNSAFETY: intrinsics may run only on CPUs that have them, and loads and stores take pointers. An [`Avx2`] is
//! made by [`Avx2::run`] only, whose caller has asked [`Avx2::is_available`]; every pointer comes from a
//! reference to an array of the length that the instruction reads or writes.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::avx512::{pair, quad};
use super::{LANES, Simd};
use crate::isa::Kernel;

/// Proof that the CPU has AVX2, FMA and F16C.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub(crate) fn is_available() -> bool {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
    }

    /// Runs `kernel` with these instructions.
    // SAFETY: the caller has seen `is_available` return true.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(crate) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
        kernel.run(Self(()))
    }
}

/// The body of a method: intrinsics on values, and on pointers made from references to arrays.
macro_rules! proven {
    ($body:expr) => {{
        // SAFETY: `self` proves the features; pointers come from references to arrays of the full length.
        unsafe { $body }
    }};
}

/// One intrinsic for both registers.
macro_rules! both {
    ($intrinsic:path, $($operand:expr),+) => {
        proven!([$intrinsic($($operand[0]),+), $intrinsic($($operand[1]),+)])
    };
}

impl Simd for Avx2 {
    type F = [__m256; 2];
    type I = [__m256i; 2];
    type Q = [__m256i; 2];
    type P = [__m256i; 2];

    const ROWS_DENSE: usize = 4;
    const PANELS_DENSE: usize = 1;
    const SIGNED_DOT_OFFSET: i32 = 0;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F {
        proven!([_mm256_set1_ps(value); 2])
    }
    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Self::F {
        proven!([
            _mm256_loadu_ps(from.as_ptr()),
            _mm256_loadu_ps(from[8..].as_ptr())
        ])
    }
    #[inline(always)]
    fn store(self, value: Self::F, to: &mut [f32; LANES]) {
        proven!({
            _mm256_storeu_ps(to.as_mut_ptr(), value[0]);
            _mm256_storeu_ps(to[8..].as_mut_ptr(), value[1]);
        });
    }
    #[inline(always)]
    fn load_f16(self, from: &[u16; LANES]) -> Self::F {
        proven!([
            _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast())),
            _mm256_cvtph_ps(_mm_loadu_si128(from[8..].as_ptr().cast())),
        ])
    }
    #[inline(always)]
    fn load_f16_bytes(self, from: &[u8; 2 * LANES]) -> Self::F {
        proven!([
            _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast())),
            _mm256_cvtph_ps(_mm_loadu_si128(from[16..].as_ptr().cast())),
        ])
    }
    #[inline(always)]
    fn load_bf16(self, from: &[u16; LANES]) -> Self::F {
        proven!({
            let widen = |halves| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves)));
            [
                widen(_mm_loadu_si128(from.as_ptr().cast())),
                widen(_mm_loadu_si128(from[8..].as_ptr().cast())),
            ]
        })
    }
    #[inline(always)]
    fn load_bf16_pairs(self, from: &[u16; 2 * LANES]) -> (Self::F, Self::F) {
        proven!({
            let low = _mm256_loadu_si256(from.as_ptr().cast());
            let high = _mm256_loadu_si256(from[16..].as_ptr().cast());
            let upper = _mm256_set1_epi32(0xffff_0000_u32.cast_signed());
            let first = [_mm256_slli_epi32::<16>(low), _mm256_slli_epi32::<16>(high)];
            let second = [_mm256_and_si256(low, upper), _mm256_and_si256(high, upper)];
            (self.from_bits(first), self.from_bits(second))
        })
    }
    #[inline(always)]
    fn load_i8(self, from: &[u8; LANES]) -> Self::F {
        proven!({
            let bytes = _mm_loadu_si128(from.as_ptr().cast());
            self.to_f([
                _mm256_cvtepi8_epi32(bytes),
                _mm256_cvtepi8_epi32(_mm_srli_si128::<8>(bytes)),
            ])
        })
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_add_ps, a, b)
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_sub_ps, a, b)
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_mul_ps, a, b)
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_div_ps, a, b)
    }
    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        both!(_mm256_fmadd_ps, a, b, c)
    }
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_max_ps, a, b)
    }
    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_min_ps, a, b)
    }
    #[inline(always)]
    fn splat_i(self, value: i32) -> Self::I {
        proven!([_mm256_set1_epi32(value); 2])
    }
    #[inline(always)]
    fn add_i(self, a: Self::I, b: Self::I) -> Self::I {
        both!(_mm256_add_epi32, a, b)
    }
    #[inline(always)]
    fn max_i(self, a: Self::I, b: Self::I) -> Self::I {
        both!(_mm256_max_epi32, a, b)
    }
    #[inline(always)]
    fn and_i(self, a: Self::I, b: Self::I) -> Self::I {
        both!(_mm256_and_si256, a, b)
    }
    #[inline(always)]
    fn to_f(self, value: Self::I) -> Self::F {
        both!(_mm256_cvtepi32_ps, value)
    }
    #[inline(always)]
    fn round_i(self, value: Self::F) -> Self::I {
        // By the mode of the thread, which Rust fixes to the nearest.
        both!(_mm256_cvtps_epi32, value)
    }
    #[inline(always)]
    fn bits(self, value: Self::F) -> Self::I {
        both!(_mm256_castps_si256, value)
    }
    #[inline(always)]
    fn from_bits(self, value: Self::I) -> Self::F {
        both!(_mm256_castsi256_ps, value)
    }
    #[inline(always)]
    fn shift_to_exponent(self, value: Self::I) -> Self::I {
        both!(_mm256_slli_epi32::<23>, value)
    }
    #[inline(always)]
    fn store_i(self, value: Self::I, to: &mut [i32; LANES]) {
        proven!({
            _mm256_storeu_si256(to.as_mut_ptr().cast(), value[0]);
            _mm256_storeu_si256(to[8..].as_mut_ptr().cast(), value[1]);
        });
    }
    #[inline(always)]
    fn store_low_bytes(self, value: Self::I, to: &mut [i8; LANES]) {
        proven!({
            // Saturation does not show: the numbers are bytes.
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(value[0], value[1]));
            let bytes = _mm_packs_epi16(
                _mm256_castsi256_si128(words),
                _mm256_extracti128_si256::<1>(words),
            );
            _mm_storeu_si128(to.as_mut_ptr().cast(), bytes);
        });
    }
    #[inline(always)]
    fn load_q(self, from: &[u8; 64]) -> Self::Q {
        proven!([
            _mm256_loadu_si256(from.as_ptr().cast()),
            _mm256_loadu_si256(from[32..].as_ptr().cast()),
        ])
    }
    #[inline(always)]
    fn store_q(self, value: Self::Q, to: &mut [u8; 64]) {
        proven!({
            _mm256_storeu_si256(to.as_mut_ptr().cast(), value[0]);
            _mm256_storeu_si256(to[32..].as_mut_ptr().cast(), value[1]);
        });
    }
    #[inline(always)]
    fn splat_q(self, value: u8) -> Self::Q {
        proven!([_mm256_set1_epi8(value.cast_signed()); 2])
    }
    #[inline(always)]
    fn and_q(self, a: Self::Q, b: Self::Q) -> Self::Q {
        both!(_mm256_and_si256, a, b)
    }
    #[inline(always)]
    fn or_q(self, a: Self::Q, b: Self::Q) -> Self::Q {
        both!(_mm256_or_si256, a, b)
    }
    #[inline(always)]
    fn shl_q<const BITS: u32>(self, a: Self::Q) -> Self::Q {
        proven!({
            let count = _mm_cvtsi32_si128(BITS.cast_signed());
            [_mm256_sll_epi16(a[0], count), _mm256_sll_epi16(a[1], count)]
        })
    }
    #[inline(always)]
    fn shr_q<const BITS: u32>(self, a: Self::Q) -> Self::Q {
        proven!({
            let count = _mm_cvtsi32_si128(BITS.cast_signed());
            [_mm256_srl_epi16(a[0], count), _mm256_srl_epi16(a[1], count)]
        })
    }
    #[inline(always)]
    fn dot(self, sum: Self::I, codes: Self::Q, x: [i8; 4]) -> Self::I {
        proven!({
            let x = _mm256_set1_epi32(quad(x));
            let ones = _mm256_set1_epi16(1);
            // Two products of at most 63 * 127 fit 16 bits.
            let pairs = [
                _mm256_maddubs_epi16(codes[0], x),
                _mm256_maddubs_epi16(codes[1], x),
            ];
            self.add_i(
                sum,
                [
                    _mm256_madd_epi16(pairs[0], ones),
                    _mm256_madd_epi16(pairs[1], ones),
                ],
            )
        })
    }
    #[inline(always)]
    fn dot_signed(self, sum: Self::I, codes: Self::Q, x: [i8; 4]) -> Self::I {
        proven!({
            let x = _mm256_set1_epi32(quad(x));
            let ones = _mm256_set1_epi16(1);
            let flip = _mm256_set1_epi8(i8::MIN);
            let (low, high) = (_mm256_xor_si256(codes[0], flip), _mm256_xor_si256(codes[1], flip));
            // The sign moves to `x`; two products of at most 128 * 127 fit 16 bits.
            let pairs = [
                _mm256_maddubs_epi16(_mm256_abs_epi8(low), _mm256_sign_epi8(x, low)),
                _mm256_maddubs_epi16(_mm256_abs_epi8(high), _mm256_sign_epi8(x, high)),
            ];
            self.add_i(
                sum,
                [
                    _mm256_madd_epi16(pairs[0], ones),
                    _mm256_madd_epi16(pairs[1], ones),
                ],
            )
        })
    }
    #[inline(always)]
    fn load_pairs(self, from: &[u8; 32]) -> Self::P {
        proven!([
            _mm256_cvtepu8_epi16(_mm_loadu_si128(from.as_ptr().cast())),
            _mm256_cvtepu8_epi16(_mm_loadu_si128(from[16..].as_ptr().cast())),
        ])
    }
    #[inline(always)]
    fn dot_pairs(self, sum: Self::I, pairs: Self::P, x: [i16; 2]) -> Self::I {
        proven!({
            let x = _mm256_set1_epi32(pair(x));
            self.add_i(
                sum,
                [_mm256_madd_epi16(pairs[0], x), _mm256_madd_epi16(pairs[1], x)],
            )
        })
    }
    #[inline(always)]
    fn prefetch(self, near: &[u8], bytes: usize) {
        proven!(_mm_prefetch::<_MM_HINT_T0>(
            near.as_ptr().wrapping_add(bytes).cast()
        ));
    }
}
