//! Activation functions, gated and not.

use super::{Ops, lanes_at, map_lanes, put_lanes, whole_rows};
use crate::error::{ShapeError, check_length};
use crate::isa::Kernel;
use crate::simd::{LANES, Simd, math};

/// A function of each element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// `x sigmoid(x)`.
    Silu,
    /// The approximation of GELU with a hyperbolic tangent (Hendrycks and Gimpel, 2016).
    GeluTanh,
    /// GELU with the error function, to 2e-7 of the element.
    Gelu,
    /// That of gpt-oss: `x sigmoid(alpha x)` with `x` at most `limit`; gated, the other side is held between
    /// `-limit` and `limit` and 1 is added to it.
    ClampedSilu {
        /// 1.702.
        alpha: f32,
        /// 7.
        limit: f32,
    },
}

impl Ops<'_> {
    /// `out = activation(gate) * up`; each row of `gate_up` is `width` of gate, then `width` of up.
    ///
    /// # Errors
    /// `gate_up` is not whole rows, or `out` does not have half its length.
    pub fn gate(
        &self,
        activation: Activation,
        gate_up: &[f32],
        width: usize,
        out: &mut [f32],
    ) -> Result<(), ShapeError> {
        let row = width.checked_mul(2).ok_or(ShapeError::Size { what: "gate" })?;
        whole_rows("gate", gate_up.len(), row)?;
        check_length("out", out.len(), gate_up.len() / 2)?;
        self.share(gate_up, row, out, width, |x, out| {
            self.isa.dispatch(Gate {
                activation,
                x,
                width,
                out,
            });
        });
        Ok(())
    }

    /// `x = activation(x)`.
    pub fn activate(&self, activation: Activation, x: &mut [f32]) {
        self.share_in_place(x, LANES, |_, x| self.isa.dispatch(Activate { activation, x }));
    }

    /// `x = cap tanh(x / cap)`.
    pub fn softcap(&self, x: &mut [f32], cap: f32) {
        self.share_in_place(x, LANES, |_, x| self.isa.dispatch(Softcap { x, cap }));
    }
}

struct Gate<'a> {
    activation: Activation,
    x: &'a [f32],
    width: usize,
    out: &'a mut [f32],
}

impl Kernel for Gate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rows = self
            .x
            .chunks_exact(2 * self.width)
            .zip(self.out.chunks_exact_mut(self.width));
        for (x, out) in rows {
            let (gate, up) = x.split_at(self.width);
            for at in (0..self.width).step_by(LANES) {
                let mut up = s.load(&lanes_at(up, at));
                if let Activation::ClampedSilu { limit, .. } = self.activation {
                    up = s.max(s.splat(-limit), s.min(s.splat(limit), up));
                    up = s.add(up, s.splat(1.0));
                }
                let gate = activate(s, self.activation, s.load(&lanes_at(gate, at)));
                let mut lanes = [0.0; LANES];
                s.store(s.mul(gate, up), &mut lanes);
                put_lanes(&lanes, out, at);
            }
        }
    }
}

struct Activate<'a> {
    activation: Activation,
    x: &'a mut [f32],
}

impl Kernel for Activate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let x = self.x;
        map_lanes!(s, x, |value| activate(s, self.activation, value));
    }
}

struct Softcap<'a> {
    x: &'a mut [f32],
    cap: f32,
}

impl Kernel for Softcap<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let x = self.x;
        map_lanes!(s, x, |value| math::softcap(s, value, self.cap));
    }
}

#[inline(always)]
fn activate<S: Simd>(s: S, activation: Activation, x: S::F) -> S::F {
    match activation {
        Activation::Silu => times_sigmoid(s, x, x),
        // tanh u = 2 sigmoid(2 u) - 1, so x / 2 (1 + tanh u) = x sigmoid(2 u).
        Activation::GeluTanh => {
            let cubed = s.mul(s.mul(x, x), x);
            let u = s.mul(s.fma(cubed, s.splat(0.044_715), x), s.splat(1.595_769_1));
            times_sigmoid(s, x, u)
        }
        Activation::Gelu => {
            let half = s.mul(x, s.splat(0.5));
            s.fma(
                half,
                math::erf(s, s.mul(x, s.splat(std::f32::consts::FRAC_1_SQRT_2))),
                half,
            )
        }
        Activation::ClampedSilu { alpha, limit } => {
            let x = s.min(s.splat(limit), x);
            times_sigmoid(s, x, s.mul(x, s.splat(alpha)))
        }
    }
}

/// `x / (1 + e^-u)`.
#[inline(always)]
fn times_sigmoid<S: Simd>(s: S, x: S::F, u: S::F) -> S::F {
    s.div(x, s.add(s.splat(1.0), math::exp(s, s.sub(s.splat(0.0), u))))
}
