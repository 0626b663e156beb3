//! AVX-512 with VNNI: one register for sixteen lanes. `BF16` adds the dot products of AVX512_BF16.
//!
//! UNSAFETY: intrinsics may run only on CPUs that have them, and loads and stores take pointers. An [`Avx512`] is
//! made by [`Avx512::run`] only, whose caller has asked [`Avx512::is_available`]; every pointer comes from a
//! reference to an array of the length that the instruction reads or writes.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{LANES, Simd, dot_widened};
use crate::blocks::E2M1;
use crate::isa::Kernel;

/// Proof that the CPU has AVX-512 F, BW, DQ, VL and VNNI, and BF16 if it says so.
#[derive(Clone, Copy)]
pub(crate) struct Avx512<const BF16: bool>(());

impl Avx512<false> {
    pub(crate) fn is_available() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
    }

    /// Runs `kernel` with these instructions.
    // SAFETY: the caller has seen `is_available` return true.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c")]
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

impl Avx512<true> {
    pub(crate) fn is_available() -> bool {
        Avx512::<false>::is_available() && is_x86_feature_detected!("avx512bf16")
    }

    /// Runs `kernel` with these instructions.
    // SAFETY: the caller has seen `is_available` return true.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma,f16c")]
    pub(crate) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
        kernel.run(Self(()))
    }
}

impl<const BF16: bool> Simd for Avx512<BF16> {
    type F = __m512;
    type I = __m512i;
    type Q = __m512i;
    type P = __m512i;

    const ROWS_DENSE: usize = 12;
    const HAS_DOT_TWO: bool = false;
    const PANELS_DENSE: usize = 2;
    // The instruction multiplies unsigned codes, of which 128 is to be taken away.
    const SIGNED_DOT_OFFSET: i32 = -128;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F {
        proven!(_mm512_set1_ps(value))
    }
    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Self::F {
        proven!(_mm512_loadu_ps(from.as_ptr()))
    }
    #[inline(always)]
    fn store(self, value: Self::F, to: &mut [f32; LANES]) {
        proven!(_mm512_storeu_ps(to.as_mut_ptr(), value));
    }
    #[inline(always)]
    fn load_f16(self, from: &[u16; LANES]) -> Self::F {
        proven!(_mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast())))
    }
    #[inline(always)]
    fn load_f16_bytes(self, from: &[u8; 2 * LANES]) -> Self::F {
        proven!(_mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast())))
    }
    #[inline(always)]
    fn load_bf16(self, from: &[u16; LANES]) -> Self::F {
        proven!({
            let halves = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(halves))
        })
    }
    #[inline(always)]
    fn load_bf16_pairs(self, from: &[u16; 2 * LANES]) -> (Self::F, Self::F) {
        proven!({
            let pairs = _mm512_loadu_si512(from.as_ptr().cast());
            let second = _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff_0000_u32.cast_signed()));
            (
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs)),
                _mm512_castsi512_ps(second),
            )
        })
    }
    #[inline(always)]
    fn load_i8(self, from: &[u8; LANES]) -> Self::F {
        proven!(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(
            from.as_ptr().cast()
        ))))
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        proven!(_mm512_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        proven!(_mm512_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        proven!(_mm512_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        proven!(_mm512_div_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        proven!(_mm512_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        proven!(_mm512_max_ps(a, b))
    }
    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        proven!(_mm512_min_ps(a, b))
    }
    #[inline(always)]
    fn load_i(self, from: &[i32; LANES]) -> Self::I {
        proven!(_mm512_loadu_si512(from.as_ptr().cast()))
    }
    #[inline(always)]
    fn splat_i(self, value: i32) -> Self::I {
        proven!(_mm512_set1_epi32(value))
    }
    #[inline(always)]
    fn load_u8(self, from: &[u8; LANES]) -> Self::I {
        proven!(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.as_ptr().cast())))
    }
    #[inline(always)]
    fn add_i(self, a: Self::I, b: Self::I) -> Self::I {
        proven!(_mm512_add_epi32(a, b))
    }
    #[inline(always)]
    fn max_i(self, a: Self::I, b: Self::I) -> Self::I {
        proven!(_mm512_max_epi32(a, b))
    }
    #[inline(always)]
    fn and_i(self, a: Self::I, b: Self::I) -> Self::I {
        proven!(_mm512_and_si512(a, b))
    }
    #[inline(always)]
    fn to_f(self, value: Self::I) -> Self::F {
        proven!(_mm512_cvtepi32_ps(value))
    }
    #[inline(always)]
    fn round_i(self, value: Self::F) -> Self::I {
        proven!(_mm512_cvt_roundps_epi32::<
            { _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC },
        >(value))
    }
    #[inline(always)]
    fn bits(self, value: Self::F) -> Self::I {
        proven!(_mm512_castps_si512(value))
    }
    #[inline(always)]
    fn of_bits(self, value: Self::I) -> Self::F {
        proven!(_mm512_castsi512_ps(value))
    }
    #[inline(always)]
    fn shift_to_exponent(self, value: Self::I) -> Self::I {
        proven!(_mm512_slli_epi32::<23>(value))
    }
    #[inline(always)]
    fn sum_i(self, value: Self::I) -> i32 {
        proven!(_mm512_reduce_add_epi32(value))
    }
    #[inline(always)]
    fn store_i(self, value: Self::I, to: &mut [i32; LANES]) {
        proven!(_mm512_storeu_si512(to.as_mut_ptr().cast(), value));
    }
    #[inline(always)]
    fn store_low_bytes(self, value: Self::I, to: &mut [i8; LANES]) {
        proven!(_mm_storeu_si128(
            to.as_mut_ptr().cast(),
            _mm512_cvtepi32_epi8(value)
        ));
    }
    #[inline(always)]
    fn load_q(self, from: &[u8; 64]) -> Self::Q {
        proven!(_mm512_loadu_si512(from.as_ptr().cast()))
    }
    #[inline(always)]
    fn store_q(self, value: Self::Q, to: &mut [u8; 64]) {
        proven!(_mm512_storeu_si512(to.as_mut_ptr().cast(), value));
    }
    #[inline(always)]
    fn splat_q(self, value: u8) -> Self::Q {
        proven!(_mm512_set1_epi8(value.cast_signed()))
    }
    #[inline(always)]
    fn and_q(self, a: Self::Q, b: Self::Q) -> Self::Q {
        proven!(_mm512_and_si512(a, b))
    }
    #[inline(always)]
    fn or_q(self, a: Self::Q, b: Self::Q) -> Self::Q {
        proven!(_mm512_or_si512(a, b))
    }
    #[inline(always)]
    fn shl_q<const BITS: u32>(self, a: Self::Q) -> Self::Q {
        proven!(_mm512_slli_epi16::<BITS>(a))
    }
    #[inline(always)]
    fn shr_q<const BITS: u32>(self, a: Self::Q) -> Self::Q {
        proven!(_mm512_srli_epi16::<BITS>(a))
    }
    #[inline(always)]
    fn dot(self, sum: Self::I, codes: Self::Q, x: [i8; 4]) -> Self::I {
        proven!(_mm512_dpbusd_epi32(sum, codes, _mm512_set1_epi32(quad(x))))
    }
    #[inline(always)]
    fn dot_two(self, sum: Self::I, codes: [Self::Q; 2], x: [[i8; 4]; 2]) -> Self::I {
        self.dot(self.dot(sum, codes[0], x[0]), codes[1], x[1])
    }
    #[inline(always)]
    fn dot_signed(self, sum: Self::I, codes: Self::Q, x: [i8; 4]) -> Self::I {
        self.dot(sum, codes, x)
    }
    #[inline(always)]
    fn e2m1(self, codes: Self::Q) -> [Self::F; 8] {
        let numbers = self.load(&E2M1);
        // The instruction looks at the low four bits of a lane.
        proven!([
            _mm512_permutexvar_ps(codes, numbers),
            _mm512_permutexvar_ps(_mm512_srli_epi32::<8>(codes), numbers),
            _mm512_permutexvar_ps(_mm512_srli_epi32::<16>(codes), numbers),
            _mm512_permutexvar_ps(_mm512_srli_epi32::<24>(codes), numbers),
            _mm512_permutexvar_ps(_mm512_srli_epi32::<4>(codes), numbers),
            _mm512_permutexvar_ps(_mm512_srli_epi32::<12>(codes), numbers),
            _mm512_permutexvar_ps(_mm512_srli_epi32::<20>(codes), numbers),
            _mm512_permutexvar_ps(_mm512_srli_epi32::<28>(codes), numbers),
        ])
    }
    #[inline(always)]
    fn load_pairs(self, from: &[u8; 32]) -> Self::P {
        proven!(_mm512_cvtepu8_epi16(_mm256_loadu_si256(from.as_ptr().cast())))
    }
    #[inline(always)]
    fn dot_pairs(self, sum: Self::I, pairs: Self::P, x: [i16; 2]) -> Self::I {
        proven!(_mm512_dpwssd_epi32(sum, pairs, _mm512_set1_epi32(pair(x))))
    }
    #[inline(always)]
    fn dot_bf16(self, sum: Self::F, pairs: &[u16; 2 * LANES], x: u32) -> Self::F {
        if !BF16 {
            return dot_widened(self, sum, pairs, x);
        }
        proven!({
            let pairs: __m512bh = std::mem::transmute(_mm512_loadu_si512(pairs.as_ptr().cast()));
            let x: __m512bh = std::mem::transmute(_mm512_set1_epi32(x.cast_signed()));
            _mm512_dpbf16_ps(sum, pairs, x)
        })
    }
    #[inline(always)]
    fn prefetch<T>(self, near: &[T], bytes: usize) {
        proven!(_mm_prefetch::<_MM_HINT_T0>(
            near.as_ptr().cast::<i8>().wrapping_add(bytes)
        ));
    }
}

#[inline(always)]
pub(super) fn quad(x: [i8; 4]) -> i32 {
    i32::from_le_bytes([
        x[0].cast_unsigned(),
        x[1].cast_unsigned(),
        x[2].cast_unsigned(),
        x[3].cast_unsigned(),
    ])
}

#[inline(always)]
pub(super) fn pair(x: [i16; 2]) -> i32 {
    i32::from(x[0]) & 0xffff | i32::from(x[1]) << 16
}
