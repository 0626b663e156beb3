//! Operations on rows of activations.
//!
//! Rows are shared among the threads when there is enough to do; a row is always computed by one of them, in one
//! order.

mod gate;
mod norm;
mod rotary;

use std::ops::Range;

pub use self::gate::Activation;
pub use self::norm::Norm;
pub use self::rotary::{Pairs, Rotation};

use crate::error::{ShapeError, check_length};
use crate::isa::{Isa, Kernel};
use crate::pool::Pool;
use crate::simd::LANES;

/// Below so many elements the calling thread does the work itself: waking others takes longer.
const ELEMENTS_TO_SHARE: usize = 1 << 14;

/// Instructions and threads to compute with.
#[derive(Clone, Copy)]
pub struct Ops<'a> {
    isa: Isa,
    pool: &'a Pool,
}

/// Heads that lie side by side in each row of a fused projection.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// Elements of a row.
    pub row_width: usize,
    /// Where the first head begins.
    pub first: usize,
    /// How many there are.
    pub count: usize,
    /// Elements of each.
    pub width: usize,
}

impl<'a> Ops<'a> {
    /// Operations with `isa` on `pool`.
    pub fn new(isa: Isa, pool: &'a Pool) -> Self {
        Self { isa, pool }
    }

    /// The instructions.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The threads.
    pub fn pool(&self) -> &'a Pool {
        self.pool
    }

    /// `y += x`.
    ///
    /// # Errors
    /// The lengths differ.
    pub fn add(&self, y: &mut [f32], x: &[f32]) -> Result<(), ShapeError> {
        check_length("x", x.len(), y.len())?;
        self.isa.dispatch(Add { y, x });
        Ok(())
    }

    /// Adds `bias` to every row of `y`.
    ///
    /// # Errors
    /// `y` is not whole rows as long as `bias`.
    pub fn add_bias(&self, y: &mut [f32], bias: &[f32]) -> Result<(), ShapeError> {
        whole_rows("y", y.len(), bias.len())?;
        for y in y.chunks_exact_mut(bias.len()) {
            self.isa.dispatch(Add { y, x: bias });
        }
        Ok(())
    }

    /// Calls `work` for pieces of whole rows of `x` (that many elements each) and of `out`.
    fn share<W>(&self, x: &[f32], x_row: usize, out: &mut [f32], out_row: usize, work: W)
    where
        W: Fn(&[f32], &mut [f32]) + Sync,
    {
        let rows = out.len() / out_row;
        if rows < 2 || out.len() < ELEMENTS_TO_SHARE || self.pool.threads() == 1 {
            return work(x, out);
        }
        let each = rows.div_ceil(self.pool.threads());
        let pieces = x
            .chunks(each * x_row)
            .zip(out.chunks_mut(each * out_row))
            .collect();
        self.pool.run_each(pieces, |_, (x, out)| work(x, out));
    }

    /// The same in place; `work` is also told the first row of its piece.
    fn share_in_place<W>(&self, x: &mut [f32], row: usize, work: W)
    where
        W: Fn(usize, &mut [f32]) + Sync,
    {
        let rows = x.len() / row;
        if rows < 2 || x.len() < ELEMENTS_TO_SHARE || self.pool.threads() == 1 {
            return work(0, x);
        }
        let each = rows.div_ceil(self.pool.threads());
        let pieces = x.chunks_mut(each * row).collect();
        self.pool.run_each(pieces, |index, x| work(index * each, x));
    }
}

impl Heads {
    /// All of a row: `count` heads of `width`.
    pub fn of_row(count: usize, width: usize) -> Self {
        Self {
            row_width: count.saturating_mul(width),
            first: 0,
            count,
            width,
        }
    }

    /// Columns of the heads, if they are inside the row.
    pub(crate) fn columns(&self) -> Result<Range<usize>, ShapeError> {
        let end = self
            .count
            .checked_mul(self.width)
            .and_then(|width| width.checked_add(self.first))
            .filter(|end| *end <= self.row_width && self.width > 0)
            .ok_or(ShapeError::Size { what: "heads" })?;
        Ok(self.first..end)
    }
}

struct Add<'a> {
    y: &'a mut [f32],
    x: &'a [f32],
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: crate::simd::Simd>(self, _: S) {
        for (y, x) in self.y.iter_mut().zip(self.x) {
            *y += x;
        }
    }
}

/// `len` elements are whole rows of `row`.
pub(crate) fn whole_rows(what: &'static str, len: usize, row: usize) -> Result<(), ShapeError> {
    if row == 0 {
        return Err(ShapeError::Size { what });
    }
    if !len.is_multiple_of(row) {
        return Err(ShapeError::Length {
            what,
            found: len,
            expected: len.next_multiple_of(row),
        });
    }
    Ok(())
}

/// Sixteen elements from `at`, or what is left with zeros after it.
#[inline(always)]
fn lanes_at(from: &[f32], at: usize) -> [f32; LANES] {
    let rest = &from[at..];
    match rest.first_chunk() {
        Some(lanes) => *lanes,
        None => {
            let mut lanes = [0.0; LANES];
            lanes[..rest.len()].copy_from_slice(rest);
            lanes
        }
    }
}

/// Writes as many lanes as there is room for.
#[inline(always)]
fn put_lanes(lanes: &[f32; LANES], to: &mut [f32], at: usize) {
    let rest = &mut to[at..];
    match rest.first_chunk_mut() {
        Some(to) => *to = *lanes,
        None => {
            let count = rest.len();
            rest.copy_from_slice(&lanes[..count]);
        }
    }
}

/// Applies one function of a vector to all elements of a slice, the last ones with zeros beside them.
macro_rules! map_lanes {
    ($s:ident, $x:ident, |$value:ident| $body:expr) => {{
        for at in (0..$x.len()).step_by($crate::simd::LANES) {
            let $value = $s.load(&$crate::ops::lanes_at($x, at));
            let mut lanes = [0.0; $crate::simd::LANES];
            $s.store($body, &mut lanes);
            $crate::ops::put_lanes(&lanes, $x, at);
        }
    }};
}
use map_lanes;
