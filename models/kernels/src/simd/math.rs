//! Functions of sixteen lanes, from the arithmetic of [`Simd`] only, so that they round alike everywhere.

use super::{LANES, Simd};

/// Sum of the lanes, always in the same order: halves, quarters and so on.
#[inline(always)]
pub(crate) fn sum<S: Simd>(s: S, value: S::F) -> f32 {
    let mut lanes = [0.0; LANES];
    s.store(value, &mut lanes);
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// Largest of the lanes; NaN is passed over.
#[inline(always)]
pub(crate) fn largest<S: Simd>(s: S, value: S::F) -> f32 {
    let mut lanes = [0.0; LANES];
    s.store(value, &mut lanes);
    let mut largest = f32::NEG_INFINITY;
    for lane in lanes {
        largest = if lane > largest { lane } else { largest };
    }
    largest
}

/// `e^x` to 2 units in the last place; beyond -87.3 and 88.3 it stays what it is there (1e-38 and 2e38), and NaN
/// is NaN.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    // The order of operands keeps NaN.
    let x = s.max(s.splat(-87.3), s.min(s.splat(88.3), x));
    // x = n ln 2 + r, |r| <= ln 2 / 2; ln 2 in two parts, the first with zeros at its end (Cody and Waite).
    let n = s.round_i(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let whole = s.to_f(n);
    let r = s.fma(whole, s.splat(-0.693_359_4), x);
    let r = s.fma(whole, s.splat(2.121_944_4e-4), r);
    // A polynomial of degree 7 with the coefficients of the Cephes library: below 2^-26 relative on the interval.
    let mut y = s.splat(1.987_569_1e-4);
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1] {
        y = s.fma(y, r, s.splat(c));
    }
    let y = s.add(s.fma(y, s.mul(r, r), r), s.splat(1.0));
    let power = s.from_bits(s.shift_to_exponent(s.add_i(n, s.splat_i(127))));
    s.mul(y, power)
}

/// `cap tanh(x / cap)`, to 2e-7 of `cap`.
#[inline(always)]
pub(crate) fn softcap<S: Simd>(s: S, x: S::F, cap: f32) -> S::F {
    // tanh u = 1 - 2 / (e^2u + 1)
    let power = exp(s, s.mul(x, s.splat(2.0 / cap)));
    let tanh = s.sub(s.splat(1.0), s.div(s.splat(2.0), s.add(power, s.splat(1.0))));
    s.mul(tanh, s.splat(cap))
}

/// The error function to 2e-7 (Abramowitz and Stegun, 7.1.26).
#[inline(always)]
pub(crate) fn erf<S: Simd>(s: S, x: S::F) -> S::F {
    let magnitude = s.from_bits(s.and_i(s.bits(x), s.splat_i(i32::MAX)));
    let t = s.div(s.splat(1.0), s.fma(magnitude, s.splat(0.327_591_1), s.splat(1.0)));
    let mut y = s.splat(1.061_405_4);
    for c in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        y = s.fma(y, t, s.splat(c));
    }
    let power = exp(s, s.sub(s.splat(0.0), s.mul(magnitude, magnitude)));
    let y = s.sub(s.splat(1.0), s.mul(s.mul(y, t), power));
    // The sign of x; y is not negative.
    s.from_bits(s.add_i(s.bits(y), s.and_i(s.bits(x), s.splat_i(i32::MIN))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::scalar::Scalar;

    #[test]
    fn exponentials_are_those_of_the_library() {
        for step in -8730..8830 {
            let x = step as f32 / 100.0 + 0.001;
            let (found, expected) = (exp(Scalar, [x; LANES])[0], f64::from(x).exp());
            assert!(
                ((f64::from(found) - expected) / expected).abs() < 2.4e-7,
                "{x}: {found}, not {expected}"
            );
        }
        assert!(exp(Scalar, [f32::NAN; LANES])[0].is_nan());
        assert!(exp(Scalar, [f32::NEG_INFINITY; LANES])[0] < 2e-38);
        assert_eq!(exp(Scalar, [0.0; LANES])[0], 1.0);
    }
}
