//! AVX2 with FMA: two registers for sixteen lanes.
//!
//! UNSAFETY: intrinsics may run only on CPUs that have them, and loads and stores take pointers. An [`Avx2`] is
//! made by [`Avx2::run`] only, whose caller has asked [`Avx2::is_available`]; every pointer comes from a
//! reference to an array of the length that the instruction reads or writes.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::avx512::{pair, quad};
use super::{LANES, Simd};
use crate::blocks::E2M1;
use crate::isa::Kernel;

/// The upper bytes of [`E2M1`], and those below them; the lower half of each number is zero.
const E2M1_BYTES: [[u8; 16]; 2] = {
    let mut bytes = [[0; 16]; 2];
    let mut code = 0;
    while code < 16 {
        let [_, _, lower, upper] = E2M1[code].to_le_bytes();
        bytes[0][code] = upper;
        bytes[1][code] = lower;
        code += 1;
    }
    bytes
};

/// Of each four bytes the first two, then of each the last two.
const PAIRS_OF_LANES: [u8; 16] = [0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15];

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
        proven!([$intrinsic($(($operand)[0]),+), $intrinsic($(($operand)[1]),+)])
    };
}

impl Simd for Avx2 {
    type F = [__m256; 2];
    type I = [__m256i; 2];
    type Q = [__m256i; 2];
    type P = [__m256i; 2];

    const ROWS_DENSE: usize = 4;
    const HAS_DOT_TWO: bool = true;
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
            (self.of_bits(first), self.of_bits(second))
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
    fn load_i(self, from: &[i32; LANES]) -> Self::I {
        proven!([
            _mm256_loadu_si256(from.as_ptr().cast()),
            _mm256_loadu_si256(from[8..].as_ptr().cast()),
        ])
    }
    #[inline(always)]
    fn splat_i(self, value: i32) -> Self::I {
        proven!([_mm256_set1_epi32(value); 2])
    }
    #[inline(always)]
    fn load_u8(self, from: &[u8; LANES]) -> Self::I {
        proven!({
            let bytes = _mm_loadu_si128(from.as_ptr().cast());
            [
                _mm256_cvtepu8_epi32(bytes),
                _mm256_cvtepu8_epi32(_mm_srli_si128::<8>(bytes)),
            ]
        })
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
    fn of_bits(self, value: Self::I) -> Self::F {
        both!(_mm256_castsi256_ps, value)
    }
    #[inline(always)]
    fn shift_to_exponent(self, value: Self::I) -> Self::I {
        both!(_mm256_slli_epi32::<23>, value)
    }
    #[inline(always)]
    fn sum_i(self, value: Self::I) -> i32 {
        proven!({
            let eight = _mm256_add_epi32(value[0], value[1]);
            let four = _mm_add_epi32(
                _mm256_castsi256_si128(eight),
                _mm256_extracti128_si256::<1>(eight),
            );
            let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
            _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two)))
        })
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
    fn dot_two(self, sum: Self::I, codes: [Self::Q; 2], x: [[i8; 4]; 2]) -> Self::I {
        let (first, second) = (self.splat_i(quad(x[0])), self.splat_i(quad(x[1])));
        // Four products of at most 63 * 127 fit 16 bits.
        let first = both!(_mm256_maddubs_epi16, codes[0], first);
        let second = both!(_mm256_maddubs_epi16, codes[1], second);
        let four = both!(_mm256_add_epi16, first, second);
        let ones = proven!([_mm256_set1_epi16(1); 2]);
        self.add_i(sum, both!(_mm256_madd_epi16, four, ones))
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
    fn e2m1(self, codes: Self::Q) -> [Self::F; 8] {
        let mut numbers = [self.splat(0.0); 8];
        for half in 0..2 {
            let halves = proven!(e2m1_of_eight_lanes(codes[half]));
            for k in 0..8 {
                numbers[k][half] = halves[k];
            }
        }
        numbers
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
    fn prefetch<T>(self, near: &[T], bytes: usize) {
        proven!(_mm_prefetch::<_MM_HINT_T0>(
            near.as_ptr().cast::<i8>().wrapping_add(bytes)
        ));
    }
}

/// [`Simd::e2m1`] of one register.
// SAFETY: the caller has the features, as a value of `Avx2` proves.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn e2m1_of_eight_lanes(codes: __m256i) -> [__m256; 8] {
    let [order, upper, lower] = [
        broadcast(&PAIRS_OF_LANES),
        broadcast(&E2M1_BYTES[0]),
        broadcast(&E2M1_BYTES[1]),
    ];
    let (nibble, second) = (
        _mm256_set1_epi8(15),
        _mm256_set1_epi32(0xffff_0000_u32.cast_signed()),
    );
    let codes = _mm256_shuffle_epi8(codes, order);
    let mut numbers = [_mm256_setzero_ps(); 8];
    for (half, codes) in [codes, _mm256_srli_epi16::<4>(codes)].into_iter().enumerate() {
        let codes = _mm256_and_si256(codes, nibble);
        let (upper, lower) = (
            _mm256_shuffle_epi8(upper, codes),
            _mm256_shuffle_epi8(lower, codes),
        );
        // Two numbers of each lane, as pairs of bf16.
        let pairs = [
            _mm256_unpacklo_epi8(lower, upper),
            _mm256_unpackhi_epi8(lower, upper),
        ];
        for (i, pair) in pairs.into_iter().enumerate() {
            let at = 4 * half + 2 * i;
            numbers[at] = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(pair));
            numbers[at + 1] = _mm256_castsi256_ps(_mm256_and_si256(pair, second));
        }
    }
    numbers
}

/// The same sixteen bytes twice.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn broadcast(bytes: &[u8; 16]) -> __m256i {
    // SAFETY: sixteen bytes are read from a reference to as many.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}
