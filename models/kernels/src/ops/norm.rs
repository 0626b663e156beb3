//! Root mean square norm (Zhang and Sennrich, 2019) and layer norm (Ba et al., 2016).

use super::{Heads, Ops, lanes_at, put_lanes, whole_rows};
use crate::error::{ShapeError, check_length};
use crate::isa::Kernel;
use crate::simd::{LANES, Simd, math};

/// Weights of a norm.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    /// One factor for each element of a row (or of a head).
    pub weight: &'a [f32],
    /// The factor is the weight plus this: 1 for Gemma, 0 for others.
    pub offset: f32,
    /// Added to the mean of squares (or the variance).
    pub epsilon: f32,
}

impl Ops<'_> {
    /// Each row of `x` divided by the root of its mean square, times the weights.
    ///
    /// # Errors
    /// `x` is not whole rows as long as the weights, or `out` is not as long as `x`.
    pub fn rms_norm(&self, x: &[f32], norm: Norm<'_>, out: &mut [f32]) -> Result<(), ShapeError> {
        let width = norm.weight.len();
        whole_rows("x", x.len(), width)?;
        check_length("out", out.len(), x.len())?;
        self.share(x, width, out, width, |x, out| {
            self.isa.dispatch(Rms { x, norm, out })
        });
        Ok(())
    }

    /// The same in place, for each head of each row by itself.
    ///
    /// # Errors
    /// `x` is not whole rows, the heads are outside of a row, or their width is not that of the weights.
    pub fn rms_norm_heads(&self, x: &mut [f32], heads: Heads, norm: Norm<'_>) -> Result<(), ShapeError> {
        let columns = heads.columns()?;
        whole_rows("x", x.len(), heads.row_width)?;
        check_length("weights", norm.weight.len(), heads.width)?;
        self.share_in_place(x, heads.row_width, |_, x| {
            for row in x.chunks_exact_mut(heads.row_width) {
                let x = &mut row[columns.clone()];
                self.isa.dispatch(RmsInPlace { x, norm });
            }
        });
        Ok(())
    }

    /// Each row of `x` less its mean, divided by its deviation, times the weights, plus `bias` if there is one.
    ///
    /// # Errors
    /// As [`Self::rms_norm`]; `bias` is as long as the weights.
    pub fn layer_norm(
        &self,
        x: &[f32],
        norm: Norm<'_>,
        bias: Option<&[f32]>,
        out: &mut [f32],
    ) -> Result<(), ShapeError> {
        let width = norm.weight.len();
        whole_rows("x", x.len(), width)?;
        check_length("out", out.len(), x.len())?;
        check_length("bias", bias.map_or(width, <[f32]>::len), width)?;
        self.share(x, width, out, width, |x, out| {
            self.isa.dispatch(Layer { x, norm, bias, out });
        });
        Ok(())
    }
}

struct Rms<'a> {
    x: &'a [f32],
    norm: Norm<'a>,
    out: &'a mut [f32],
}

impl Kernel for Rms<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.norm.weight.len();
        for (x, out) in self.x.chunks_exact(width).zip(self.out.chunks_exact_mut(width)) {
            let factor = rms_factor(s, x, self.norm.epsilon);
            for at in (0..width).step_by(LANES) {
                put_lanes(&scaled(s, x, self.norm, factor, at), out, at);
            }
        }
    }
}

struct RmsInPlace<'a> {
    x: &'a mut [f32],
    norm: Norm<'a>,
}

impl Kernel for RmsInPlace<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.norm.weight.len();
        for x in self.x.chunks_exact_mut(width) {
            let factor = rms_factor(s, x, self.norm.epsilon);
            for at in (0..width).step_by(LANES) {
                let lanes = scaled(s, x, self.norm, factor, at);
                put_lanes(&lanes, x, at);
            }
        }
    }
}

#[inline(always)]
fn rms_factor<S: Simd>(s: S, x: &[f32], epsilon: f32) -> f32 {
    let mut squares = s.splat(0.0);
    for at in (0..x.len()).step_by(LANES) {
        let x = s.load(&lanes_at(x, at));
        squares = s.fma(x, x, squares);
    }
    1.0 / (math::sum(s, squares) / x.len() as f32 + epsilon).sqrt()
}

#[inline(always)]
fn scaled<S: Simd>(s: S, x: &[f32], norm: Norm<'_>, factor: f32, at: usize) -> [f32; LANES] {
    let x = s.mul(s.load(&lanes_at(x, at)), s.splat(factor));
    let weight = s.add(s.load(&lanes_at(norm.weight, at)), s.splat(norm.offset));
    let mut lanes = [0.0; LANES];
    s.store(s.mul(x, weight), &mut lanes);
    lanes
}

struct Layer<'a> {
    x: &'a [f32],
    norm: Norm<'a>,
    bias: Option<&'a [f32]>,
    out: &'a mut [f32],
}

impl Kernel for Layer<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.norm.weight.len();
        for (x, out) in self.x.chunks_exact(width).zip(self.out.chunks_exact_mut(width)) {
            let mut total = s.splat(0.0);
            for at in (0..width).step_by(LANES) {
                total = s.add(total, s.load(&lanes_at(x, at)));
            }
            let mean = math::sum(s, total) / width as f32;
            // Centred first, for the variance of large numbers that lie close together.
            for (out, x) in out.iter_mut().zip(x) {
                *out = x - mean;
            }
            let factor = rms_factor(s, out, self.norm.epsilon);
            for at in (0..width).step_by(LANES) {
                let mut lanes = scaled(s, out, self.norm, factor, at);
                if let Some(bias) = self.bias {
                    let sum = s.add(s.load(&lanes), s.load(&lanes_at(bias, at)));
                    s.store(sum, &mut lanes);
                }
                put_lanes(&lanes, out, at);
            }
        }
    }
}
