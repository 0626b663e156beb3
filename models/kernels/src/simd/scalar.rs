//! The reference: arrays. Every other implementation is compared with this one.

use half::f16;

use super::{LANES, Simd};
use crate::blocks::E2M1;

/// Works on any CPU.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scalar;

macro_rules! lanes {
    (|$i:ident| $value:expr) => {{
        let mut out = [Default::default(); LANES];
        for $i in 0..LANES {
            out[$i] = $value;
        }
        out
    }};
}

impl Simd for Scalar {
    type F = [f32; LANES];
    type I = [i32; LANES];
    type Q = [u8; 64];
    type P = [u8; 32];

    const ROWS_DENSE: usize = 1;
    const HAS_DOT_TWO: bool = false;
    const PANELS_DENSE: usize = 1;
    const SIGNED_DOT_OFFSET: i32 = 0;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F {
        [value; LANES]
    }
    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Self::F {
        *from
    }
    #[inline(always)]
    fn store(self, value: Self::F, to: &mut [f32; LANES]) {
        *to = value;
    }
    #[inline(always)]
    fn load_f16(self, from: &[u16; LANES]) -> Self::F {
        lanes!(|i| f16::from_bits(from[i]).to_f32())
    }
    #[inline(always)]
    fn load_f16_bytes(self, from: &[u8; 2 * LANES]) -> Self::F {
        lanes!(|i| f16::from_le_bytes([from[2 * i], from[2 * i + 1]]).to_f32())
    }
    #[inline(always)]
    fn load_bf16(self, from: &[u16; LANES]) -> Self::F {
        lanes!(|i| f32::from_bits(u32::from(from[i]) << 16))
    }
    #[inline(always)]
    fn load_bf16_pairs(self, from: &[u16; 2 * LANES]) -> (Self::F, Self::F) {
        let widen = |value: u16| f32::from_bits(u32::from(value) << 16);
        (lanes!(|i| widen(from[2 * i])), lanes!(|i| widen(from[2 * i + 1])))
    }
    #[inline(always)]
    fn load_i8(self, from: &[u8; LANES]) -> Self::F {
        lanes!(|i| f32::from(from[i].cast_signed()))
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        lanes!(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        lanes!(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        lanes!(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        lanes!(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        lanes!(|i| a[i].mul_add(b[i], c[i]))
    }
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        lanes!(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        lanes!(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn load_i(self, from: &[i32; LANES]) -> Self::I {
        *from
    }
    #[inline(always)]
    fn splat_i(self, value: i32) -> Self::I {
        [value; LANES]
    }
    #[inline(always)]
    fn load_u8(self, from: &[u8; LANES]) -> Self::I {
        lanes!(|i| i32::from(from[i]))
    }
    #[inline(always)]
    fn add_i(self, a: Self::I, b: Self::I) -> Self::I {
        lanes!(|i| a[i].wrapping_add(b[i]))
    }
    #[inline(always)]
    fn max_i(self, a: Self::I, b: Self::I) -> Self::I {
        lanes!(|i| a[i].max(b[i]))
    }
    #[inline(always)]
    fn and_i(self, a: Self::I, b: Self::I) -> Self::I {
        lanes!(|i| a[i] & b[i])
    }
    #[inline(always)]
    fn to_f(self, value: Self::I) -> Self::F {
        lanes!(|i| value[i] as f32)
    }
    #[inline(always)]
    fn round_i(self, value: Self::F) -> Self::I {
        lanes!(|i| value[i].round_ties_even() as i32)
    }
    #[inline(always)]
    fn bits(self, value: Self::F) -> Self::I {
        lanes!(|i| value[i].to_bits().cast_signed())
    }
    #[inline(always)]
    fn of_bits(self, value: Self::I) -> Self::F {
        lanes!(|i| f32::from_bits(value[i].cast_unsigned()))
    }
    #[inline(always)]
    fn shift_to_exponent(self, value: Self::I) -> Self::I {
        lanes!(|i| value[i] << 23)
    }
    #[inline(always)]
    fn sum_i(self, value: Self::I) -> i32 {
        value.iter().sum()
    }
    #[inline(always)]
    fn store_i(self, value: Self::I, to: &mut [i32; LANES]) {
        *to = value;
    }
    #[inline(always)]
    fn store_low_bytes(self, value: Self::I, to: &mut [i8; LANES]) {
        *to = lanes!(|i| value[i] as i8);
    }
    #[inline(always)]
    fn load_q(self, from: &[u8; 64]) -> Self::Q {
        *from
    }
    #[inline(always)]
    fn store_q(self, value: Self::Q, to: &mut [u8; 64]) {
        *to = value;
    }
    #[inline(always)]
    fn splat_q(self, value: u8) -> Self::Q {
        [value; 64]
    }
    #[inline(always)]
    fn and_q(self, mut a: Self::Q, b: Self::Q) -> Self::Q {
        a.iter_mut().zip(b).for_each(|(a, b)| *a &= b);
        a
    }
    #[inline(always)]
    fn or_q(self, mut a: Self::Q, b: Self::Q) -> Self::Q {
        a.iter_mut().zip(b).for_each(|(a, b)| *a |= b);
        a
    }
    #[inline(always)]
    fn shl_q<const BITS: u32>(self, mut a: Self::Q) -> Self::Q {
        for pair in a.as_chunks_mut::<2>().0 {
            *pair = (u16::from_le_bytes(*pair) << BITS).to_le_bytes();
        }
        a
    }
    #[inline(always)]
    fn shr_q<const BITS: u32>(self, mut a: Self::Q) -> Self::Q {
        for pair in a.as_chunks_mut::<2>().0 {
            *pair = (u16::from_le_bytes(*pair) >> BITS).to_le_bytes();
        }
        a
    }
    #[inline(always)]
    fn dot(self, mut sum: Self::I, codes: Self::Q, x: [i8; 4]) -> Self::I {
        for (sum, codes) in sum.iter_mut().zip(codes.as_chunks::<4>().0) {
            for (code, x) in codes.iter().zip(x) {
                *sum += i32::from(*code) * i32::from(x);
            }
        }
        sum
    }
    #[inline(always)]
    fn dot_two(self, sum: Self::I, codes: [Self::Q; 2], x: [[i8; 4]; 2]) -> Self::I {
        self.dot(self.dot(sum, codes[0], x[0]), codes[1], x[1])
    }
    #[inline(always)]
    fn dot_signed(self, mut sum: Self::I, codes: Self::Q, x: [i8; 4]) -> Self::I {
        for (sum, codes) in sum.iter_mut().zip(codes.as_chunks::<4>().0) {
            for (code, x) in codes.iter().zip(x) {
                *sum += (i32::from(*code) - 128) * i32::from(x);
            }
        }
        sum
    }
    #[inline(always)]
    fn e2m1(self, codes: Self::Q) -> [Self::F; 8] {
        let code = |k: usize, i: usize| codes[4 * i + k % 4] >> (k / 4 * 4) & 15;
        std::array::from_fn(|k| lanes!(|i| E2M1[usize::from(code(k, i))]))
    }
    #[inline(always)]
    fn load_pairs(self, from: &[u8; 32]) -> Self::P {
        *from
    }
    #[inline(always)]
    fn dot_pairs(self, mut sum: Self::I, pairs: Self::P, x: [i16; 2]) -> Self::I {
        for (sum, pair) in sum.iter_mut().zip(pairs.as_chunks::<2>().0) {
            *sum += i32::from(pair[0]) * i32::from(x[0]) + i32::from(pair[1]) * i32::from(x[1]);
        }
        sum
    }
    #[inline(always)]
    fn prefetch<T>(self, _: &[T], _: usize) {}
}
