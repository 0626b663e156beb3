//! Products with block formats: integers within a scale, f32 between scales.
//!
//! The arithmetic is the same for one row and for many, and on every CPU. For an output and a row, over the
//! blocks in order, every `fma` being rounded once:
//!
//! - Q8_0, Q4_0: `sum = fma(dot, d * dx, sum)`
//! - Q4_K, Q5_K, Q6_K: `inner = fma(dot_j, scale_j, inner)` over the sub-blocks `j`, from zero; then
//!   `sum = fma(inner, d * dx, sum)`, and with minima `sum = fma(min_dot, dmin * -dx, sum)`
//!
//! `dot` is the exact whole-number product of codes; `dx` is the scale of the activations.
//!
//! With tiles, sixteen rows and more take their dots from them (`tiled`); fewer rows, and CPUs without, from vector
//! instructions (`direct`).

use std::ops::Range;

use super::activations::{Group, Quantised};
use super::layouts::{Layout, Q4_0, Q4K, Q5K, Q6K, Q8_0};
use super::{Columns, PREFETCH_BYTES, Panels};
use crate::format::Format;
use crate::isa::Kernel;
use crate::simd::{LANES, Simd};
#[cfg(target_arch = "x86_64")]
use crate::tiles::hardware::Hardware;
use crate::tiles::model::Model;
use crate::tiles::{Sums, TILE_BYTES, TILE_ROWS, TileSource, Tiles};

/// The product of `x` with some panels of one part.
pub(super) struct Product<'a, 'out> {
    pub(super) format: Format,
    pub(super) panels: Panels<'a, u8>,
    pub(super) x: &'a Quantised,
    pub(super) tiles: TileSource,
    pub(super) out: &'a mut Columns<'out>,
}

impl Kernel for Product<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.format {
            Format::Q8_0 => self.with::<S, Q8_0>(s),
            Format::Q4_0 => self.with::<S, Q4_0>(s),
            Format::Q4K => self.with::<S, Q4K>(s),
            Format::Q5K => self.with::<S, Q5K>(s),
            Format::Q6K => self.with::<S, Q6K>(s),
            Format::F32 | Format::F16 | Format::Bf16 | Format::Mxfp4 => {}
        }
    }
}

impl Product<'_, '_> {
    #[inline(always)]
    fn with<S: Simd, L: Layout>(self, s: S) {
        let whole_tiles = self
            .x
            .groups
            .iter()
            .take_while(|group| group.rows == TILE_ROWS)
            .count();
        let (tiled_groups, groups) = self.x.groups.split_at(whole_tiles);
        if !tiled_groups.is_empty() {
            match self.tiles {
                TileSource::None => {}
                TileSource::Model => tiled::<S, L, Model>(s, &self.panels, tiled_groups, self.out),
                #[cfg(target_arch = "x86_64")]
                TileSource::Hardware => tiled::<S, L, Hardware>(s, &self.panels, tiled_groups, self.out),
            }
        }
        for index in 0..self.panels.count() {
            let panel = self.panels.get(index);
            for (number, group) in groups.iter().enumerate() {
                let out = (&mut *self.out, self.panels.columns(index));
                let is_first = number == 0;
                match group.rows {
                    8 => direct::<S, L, 8>(s, panel, group, is_first, out),
                    4 => direct::<S, L, 4>(s, panel, group, is_first, out),
                    2 => direct::<S, L, 2>(s, panel, group, is_first, out),
                    _ => direct::<S, L, 1>(s, panel, group, is_first, out),
                }
            }
        }
    }
}

/// All inputs of a panel, which is read as it is stored.
#[inline(always)]
fn direct<S: Simd, L: Layout, const R: usize>(
    s: S,
    panel: &[u8],
    group: &Group,
    is_first: bool,
    (out, columns): (&mut Columns<'_>, Range<usize>),
) {
    let x = group.rows::<R>();
    let mut sums = [s.splat(0.0); R];
    for (b, block) in panel.chunks_exact(L::BYTES).enumerate() {
        let mut inner = [s.splat(0.0); R];
        for j in 0..L::SUB_BLOCKS {
            if is_first {
                let bytes = L::BYTES / L::SUB_BLOCKS;
                for line in 0..bytes.div_ceil(64) {
                    s.prefetch(block, PREFETCH_BYTES + j * bytes + line * 64);
                }
            }
            let quads = L::quads(s, block, j);
            let number = b * L::SUB_BLOCKS + j;
            let x_quads: &[_; 8] = x.quads[number * 8..]
                .first_chunk()
                .expect("a row has whole groups");
            for part in 0..L::PARTS {
                let mut dots = [s.splat_i(0); R];
                if let Some(offsets) = L::offsets(x) {
                    let offsets = &offsets[number * L::PARTS + part];
                    for r in 0..R {
                        dots[r] = s.splat_i(offsets[r]);
                    }
                }
                // Rows are the inner loop: their sums do not wait for each other.
                for i in (part * (8 / L::PARTS)..(part + 1) * (8 / L::PARTS)).step_by(2) {
                    if S::HAS_DOT_TWO {
                        for r in 0..R {
                            let x = [x_quads[i][r], x_quads[i + 1][r]];
                            dots[r] = L::dot_two(s, dots[r], [quads[i], quads[i + 1]], x);
                        }
                    } else {
                        for r in 0..R {
                            dots[r] = L::dot(s, dots[r], quads[i], x_quads[i][r]);
                        }
                        for r in 0..R {
                            dots[r] = L::dot(s, dots[r], quads[i + 1], x_quads[i + 1][r]);
                        }
                    }
                }
                let scale = L::scale(s, block, j * L::PARTS + part);
                for r in 0..R {
                    inner[r] = L::add(s, s.to_f(dots[r]), scale, x.scales[b][r], inner[r], &mut sums[r]);
                }
            }
        }
        L::finish(s, block, b, x, &inner, &mut sums);
    }
    for (i, sum) in sums.into_iter().enumerate() {
        let mut lanes = [0.0; LANES];
        s.store(sum, &mut lanes);
        out.write(group.first + i, columns.clone(), &lanes);
    }
}

/// Codes of a panel, unpacked once for all groups of rows.
struct Unpacked {
    /// Whole codes, a quad after the other.
    quads: Vec<[u8; TILE_BYTES]>,
}

/// Groups of sixteen rows; the dots come from tiles.
#[inline(always)]
fn tiled<S: Simd, L: Layout, T: Tiles>(
    s: S,
    panels: &Panels<'_, u8>,
    groups: &[Group],
    out: &mut Columns<'_>,
) {
    // The inputs of one scale are one product: 32, or 16 for Q6_K.
    let depth = 32 / L::PARTS;
    let mut tiles = T::begin(depth);
    let mut unpacked = Unpacked { quads: Vec::new() };
    let mut dots = [[[0; TILE_ROWS]; TILE_ROWS]; 2];
    for index in 0..panels.count() {
        let panel = panels.get(index);
        unpacked.fill::<S, L>(s, panel);
        for pair in groups.chunks(2) {
            let mut sums = [[s.splat(0.0); TILE_ROWS]; 2];
            for (b, block) in panel.chunks_exact(L::BYTES).enumerate() {
                let mut inner = [[s.splat(0.0); TILE_ROWS]; 2];
                for part in 0..L::SUB_BLOCKS * L::PARTS {
                    let number = b * L::SUB_BLOCKS * L::PARTS + part;
                    tiles.load_weights::<6>(&unpacked.quads[number * depth / 4..]);
                    tile_dots(&mut tiles, pair, number * depth, &mut dots);
                    let scale = L::scale(s, block, part);
                    for (g, group) in pair.iter().enumerate() {
                        let x = group.rows::<TILE_ROWS>();
                        for r in 0..TILE_ROWS {
                            let offset = L::tile_offsets(x).map_or(0, |offsets| offsets[number][r]);
                            let dot = s.to_f(s.add_i(s.load_i(&dots[g][r]), s.splat_i(offset)));
                            inner[g][r] = L::add(s, dot, scale, x.scales[b][r], inner[g][r], &mut sums[g][r]);
                        }
                    }
                }
                for (g, group) in pair.iter().enumerate() {
                    L::finish(s, block, b, group.rows(), &inner[g], &mut sums[g]);
                }
            }
            for (group, sums) in pair.iter().zip(sums) {
                for (r, sum) in sums.into_iter().enumerate() {
                    let mut lanes = [0.0; LANES];
                    s.store(sum, &mut lanes);
                    out.write(group.first + r, panels.columns(index), &lanes);
                }
            }
        }
    }
}

/// One product for one or two groups of rows, with the weights that are loaded.
#[inline(always)]
fn tile_dots<T: Tiles>(tiles: &mut T, pair: &[Group], at: usize, dots: &mut [Sums<i32>; 2]) {
    tiles.zero::<0>();
    tiles.load_x::<4>(&pair[0].tile_rows[at..], pair[0].tile_stride);
    tiles.dot_bytes::<0, 4, 6>();
    if let Some(second) = pair.get(1) {
        tiles.zero::<1>();
        tiles.load_x::<5>(&second.tile_rows[at..], second.tile_stride);
        tiles.dot_bytes::<1, 5, 6>();
        tiles.store_i32::<1>(&mut dots[1]);
    }
    tiles.store_i32::<0>(&mut dots[0]);
}

impl Unpacked {
    #[inline(always)]
    fn fill<S: Simd, L: Layout>(&mut self, s: S, panel: &[u8]) {
        let blocks = panel.chunks_exact(L::BYTES);
        self.quads
            .resize(blocks.len() * L::SUB_BLOCKS * 8, [0; TILE_BYTES]);
        for (block, quads) in blocks.zip(self.quads.chunks_exact_mut(L::SUB_BLOCKS * 8)) {
            for (j, to) in quads.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                let quads = L::quads(s, block, j);
                for i in 0..8 {
                    s.store_q(quads[i], &mut to[i]);
                }
            }
        }
    }
}
