//! MXFP4: its panels, and its products, in which activations stay f32.
//!
//! A panel holds, for each 32 inputs, the 16 scales of its outputs and then four vectors of codes, one for eight inputs
//! each. A vector has four bytes for every output: input `k` in the low nibble of byte `k`, input `k + 4` in its high
//! nibble. That is as many bytes as the file has.
//!
//! The arithmetic is the same for one row and for many, and on every CPU: over the blocks in order,
//! `inner = fma(x, code, inner)` over its 32 inputs in order, from zero; then `sum = fma(inner, scale, sum)`. Codes
//! and scales are exact in f32, so only sums are rounded.
//!
//! One row or two read the panels as they are stored ([`direct`]). More share what is decoded to f32 once, some blocks at
//! a time ([`through_memory`]), and go through the loops of `dense`.

use super::activations::Dense;
use super::dense::{F32, rows_at_once};
use super::{Columns, PREFETCH_BYTES, Panels};
use crate::isa::Kernel;
use crate::simd::{LANES, Simd};

/// Inputs of a block.
pub(super) const INPUTS: usize = 32;
/// Bytes of one output's block.
const BYTES: usize = 17;
/// Bytes of a block of sixteen outputs.
pub(super) const PANEL_BLOCK_BYTES: usize = BYTES * LANES;
/// Bytes of eight inputs of sixteen outputs.
const VECTOR: usize = 4 * LANES;
/// Blocks at a time when there are many rows: their weights stay in the nearest cache for all rows.
const CHUNK_BLOCKS: usize = 8;

/// Panels that are computed together at most.
const PANELS_MAX: usize = 4;
/// Rows that read panels as they are stored; more share what is decoded into memory.
const ROWS_DIRECT: usize = 2;
/// The largest group of rows.
const ROWS_DENSE_MAX: usize = 12;

/// Writes one output's block into a block of sixteen.
pub(super) fn write(from: &[u8; BYTES], lane: usize, block: &mut Block) {
    let [scale, codes @ ..] = from;
    block[lane] = *scale;
    for (half, eight) in codes.as_chunks::<8>().0.iter().enumerate() {
        let eight = u64::from_le_bytes(*eight);
        // Low nibbles are inputs 0 to 15, high ones 16 to 31.
        for (vector, codes) in [(half, eight), (half + 2, eight >> 4)] {
            let [low, high] = [codes, codes >> 32].map(|codes| codes as u32 & 0x0f0f_0f0f);
            block[LANES + vector * VECTOR + 4 * lane..][..4]
                .copy_from_slice(&(low | high << 4).to_le_bytes());
        }
    }
}

/// The inverse of [`write`].
pub(super) fn read(block: &Block, lane: usize) -> [u8; BYTES] {
    let mut to = [0; BYTES];
    let [scale, codes @ ..] = &mut to;
    *scale = block[lane];
    for (half, to) in codes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let eight = |vector: usize| {
            let bytes = block[LANES + vector * VECTOR + 4 * lane..].first_chunk();
            let codes = u32::from_le_bytes(*bytes.expect("the vector is of the block"));
            u64::from(codes & 0x0f0f_0f0f) | u64::from(codes >> 4 & 0x0f0f_0f0f) << 32
        };
        *to = (eight(half) | eight(half + 2) << 4).to_le_bytes();
    }
    to
}

/// One block of sixteen outputs.
type Block = [u8; PANEL_BLOCK_BYTES];

/// The product of `x` with some panels of one part.
pub(super) struct Product<'a, 'out> {
    pub(super) panels: Panels<'a, u8>,
    pub(super) x: &'a Dense<f32>,
    pub(super) out: &'a mut Columns<'out>,
}

impl Kernel for Product<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { panels, x, out } = self;
        let (rows, blocks) = (x.values.len() / x.inputs, x.inputs / INPUTS);
        let one_group = x.groups.len() == 1;
        let is_direct = one_group && rows <= ROWS_DIRECT;
        let mut decoded = if is_direct {
            Vec::new()
        } else {
            vec![Decoded::EMPTY; S::PANELS_DENSE]
        };
        let chunk = if one_group { blocks } else { CHUNK_BLOCKS };
        // Sums between blocks, by panel, then by row.
        let mut sums = vec![[0.0_f32; LANES]; panels.count() * rows];
        for start in (0..blocks).step_by(chunk) {
            let part = start..blocks.min(start + chunk);
            let mut first = 0;
            while first < panels.count() {
                let count = panels_together::<S>(rows, panels.count() - first);
                let sums = &mut sums[first * rows..][..count * rows];
                let mut packed: [&[Block]; PANELS_MAX] = [&[]; PANELS_MAX];
                for (index, packed) in packed[..count].iter_mut().enumerate() {
                    *packed = &panels.get(first + index).as_chunks().0[part.clone()];
                }
                if is_direct {
                    direct(s, &packed[..count], &x.values, rows, sums);
                } else {
                    through_memory(s, &packed[..count], &mut decoded, x, part.start, sums);
                }
                first += count;
            }
        }
        for (panel, sums) in sums.chunks_exact(rows).enumerate() {
            for (row, sum) in sums.iter().enumerate() {
                out.write(row, panels.columns(panel), sum);
            }
        }
    }
}

/// Panels to compute together, of those that are left. One row has too few sums in two of them: each waits for the one
/// before.
#[inline(always)]
fn panels_together<S: Simd>(rows: usize, left: usize) -> usize {
    match (rows, left) {
        _ if S::PANELS_DENSE == 1 => 1,
        (1, PANELS_MAX..) => PANELS_MAX,
        (_, 2..) => 2,
        _ => 1,
    }
}

/// One or two rows, all inputs.
#[inline(always)]
fn direct<S: Simd>(s: S, panels: &[&[Block]], x: &[f32], rows: usize, sums: &mut [[f32; LANES]]) {
    match (rows, panels) {
        (1, [a, b, c, d]) => direct_tile::<S, 1, 4>(s, [*a, *b, *c, *d], x, sums),
        (1, [a, b]) => direct_tile::<S, 1, 2>(s, [*a, *b], x, sums),
        (1, [a]) => direct_tile::<S, 1, 1>(s, [*a], x, sums),
        (2, [a, b]) => direct_tile::<S, 2, 2>(s, [*a, *b], x, sums),
        (2, [a]) => direct_tile::<S, 2, 1>(s, [*a], x, sums),
        // Rows are one or two here and panels as many as `panels_together` says, whatever a file or a prompt holds.
        _ => unreachable!("so many are computed together"),
    }
}

/// Loops throughout: a closure is not always compiled into the function that has the instructions, nor is a loop over
/// eight numbers of four panels at a time always unrolled; either made it seven times slower or more.
#[inline(always)]
fn direct_tile<S: Simd, const R: usize, const C: usize>(
    s: S,
    panels: [&[Block]; C],
    x: &[f32],
    sums: &mut [[f32; LANES]],
) {
    let mut acc = [[s.splat(0.0); R]; C];
    let x = x.as_chunks::<R>().0.as_chunks::<INPUTS>().0;
    for (b, x) in x.iter().enumerate() {
        let mut inner = [[s.splat(0.0); R]; C];
        for c in 0..C {
            for line in 0..PANEL_BLOCK_BYTES.div_ceil(64) {
                s.prefetch(&panels[c][b], PREFETCH_BYTES + line * 64);
            }
        }
        for (vector, x) in x.as_chunks::<8>().0.iter().enumerate() {
            for c in 0..C {
                let codes = s.e2m1(codes(s, &panels[c][b], vector));
                for input in 0..8 {
                    for r in 0..R {
                        inner[c][r] = s.fma(s.splat(x[input][r]), codes[input], inner[c][r]);
                    }
                }
            }
        }
        for c in 0..C {
            let scale = powers(s, at(&panels[c][b], 0));
            for r in 0..R {
                acc[c][r] = s.fma(inner[c][r], scale, acc[c][r]);
            }
        }
    }
    for c in 0..C {
        for r in 0..R {
            s.store(acc[c][r], &mut sums[c * R + r]);
        }
    }
}

/// Some blocks of one panel in f32, codes and scales apart.
#[derive(Clone)]
struct Decoded {
    codes: [[[f32; LANES]; INPUTS]; CHUNK_BLOCKS],
    scales: [[f32; LANES]; CHUNK_BLOCKS],
}

impl Decoded {
    const EMPTY: Self = Self {
        codes: [[[0.0; LANES]; INPUTS]; CHUNK_BLOCKS],
        scales: [[0.0; LANES]; CHUNK_BLOCKS],
    };

    /// Decodes at most [`CHUNK_BLOCKS`].
    #[inline(always)]
    fn fill<S: Simd>(&mut self, s: S, blocks: &[Block]) {
        let memory = self.codes.iter_mut().zip(&mut self.scales);
        for (block, (to, scale)) in blocks.iter().zip(memory) {
            for line in 0..PANEL_BLOCK_BYTES.div_ceil(64) {
                s.prefetch(block, PREFETCH_BYTES + line * 64);
            }
            s.store(powers(s, at(block, 0)), scale);
            for (vector, to) in to.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                let codes = s.e2m1(codes(s, block, vector));
                for input in 0..8 {
                    s.store(codes[input], &mut to[input]);
                }
            }
        }
    }
}

/// Every group of rows with one or two panels, from block `first` of each row on.
#[inline(always)]
fn through_memory<S: Simd>(
    s: S,
    panels: &[&[Block]],
    decoded: &mut [Decoded],
    x: &Dense<f32>,
    first: usize,
    sums: &mut [[f32; LANES]],
) {
    let blocks = panels[0].len();
    let (one, two) = sums.split_at_mut(sums.len() / panels.len());
    for start in (0..blocks).step_by(CHUNK_BLOCKS) {
        let part = start..blocks.min(start + CHUNK_BLOCKS);
        for (decoded, panel) in decoded.iter_mut().zip(panels) {
            decoded.fill(s, &panel[part.clone()]);
        }
        for (row, rows) in &x.groups {
            let x = &x.values[row * x.inputs..][..rows * x.inputs];
            let x = &x[(first + start) * INPUTS * rows..];
            let own = *row..row + rows;
            for (b, x) in x.chunks_exact(INPUTS * rows).take(part.len()).enumerate() {
                match (&*decoded, panels.len()) {
                    ([left, right, ..], 2) => {
                        let sums = [&mut one[own.clone()], &mut two[own.clone()]];
                        block(s, [left, right], b, x, sums);
                    }
                    ([left, ..], _) => block(s, [left], b, x, [&mut one[own.clone()]]),
                    ([], _) => {}
                }
            }
        }
    }
}

/// One block with one group of rows.
#[inline(always)]
fn block<S: Simd, const C: usize>(
    s: S,
    decoded: [&Decoded; C],
    b: usize,
    x: &[f32],
    sums: [&mut [[f32; LANES]]; C],
) {
    let rows = sums[0].len();
    let mut inner = [[[0.0; LANES]; ROWS_DENSE_MAX]; C];
    let mut codes: [&[f32]; C] = [&[]; C];
    for c in 0..C {
        codes[c] = decoded[c].codes[b].as_flattened();
    }
    let to = inner.each_mut().map(|inner| &mut inner[..rows]);
    rows_at_once::<S, F32, C>(s, codes, x, (rows, false), to);
    for (c, sums) in sums.into_iter().enumerate() {
        let scale = s.load(&decoded[c].scales[b]);
        for (sum, inner) in sums.iter_mut().zip(&inner[c]) {
            let value = s.fma(s.load(inner), scale, s.load(sum));
            s.store(value, sum);
        }
    }
}

/// Eight inputs of sixteen outputs.
#[inline(always)]
fn codes<S: Simd>(s: S, block: &Block, vector: usize) -> S::Q {
    s.load_q(at(block, LANES + vector * VECTOR))
}

/// What scales of E8M0 stand for, exactly as [`e8m0`](crate::blocks::e8m0).
#[inline(always)]
fn powers<S: Simd>(s: S, scales: &[u8; LANES]) -> S::F {
    let bits = s.shift_to_exponent(s.load_u8(scales));
    // 0 is half of the smallest normal number.
    let power = s.of_bits(s.max_i(bits, s.splat_i(1 << 22)));
    // 255 became infinity, of which zero times is NaN; to any other this adds nothing.
    s.fma(power, s.splat(0.0), power)
}

#[inline(always)]
fn at<const N: usize>(block: &Block, offset: usize) -> &[u8; N] {
    block[offset..]
        .first_chunk()
        .expect("the offset is of the layout")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::e8m0;
    use crate::isa::Isa;

    #[test]
    fn a_block_of_sixteen_outputs_keeps_every_bit() {
        let from: Vec<[u8; BYTES]> = (0..LANES)
            .map(|lane| std::array::from_fn(|i| (lane * 37 + i * 101) as u8))
            .collect();
        let mut block = [0; PANEL_BLOCK_BYTES];
        for (lane, from) in from.iter().enumerate() {
            write(from, lane, &mut block);
        }
        for (lane, from) in from.iter().enumerate() {
            assert_eq!(read(&block, lane), *from);
        }
    }

    struct Powers(u8);

    impl Kernel for Powers {
        type Output = [f32; LANES];

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> [f32; LANES] {
            let mut lanes = [0.0; LANES];
            s.store(powers(s, &[self.0; LANES]), &mut lanes);
            lanes
        }
    }

    #[test]
    fn every_scale_is_its_power_on_every_cpu() {
        for isa in Isa::all_available() {
            for scale in 0..=254 {
                assert_eq!(
                    isa.dispatch(Powers(scale)),
                    [e8m0(scale); LANES],
                    "{isa:?} {scale}"
                );
            }
            assert!(isa.dispatch(Powers(255)).iter().all(|power| power.is_nan()));
        }
    }

    struct Eight(u32);

    impl Kernel for Eight {
        type Output = [[f32; LANES]; 8];

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> [[f32; LANES]; 8] {
            let mut bytes = [0; 64];
            for (lane, bytes) in bytes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                // Another code in every place of every lane.
                *bytes = self.0.wrapping_add(0x1111_1111 * lane as u32).to_le_bytes();
            }
            let mut eight = [[0.0; LANES]; 8];
            for (lanes, values) in eight.iter_mut().zip(s.e2m1(s.load_q(&bytes))) {
                s.store(values, lanes);
            }
            eight
        }
    }

    #[test]
    fn every_code_is_its_number_in_every_place_on_every_cpu() {
        for isa in Isa::all_available() {
            for bits in [0, 0x1234_5678, 0x9abc_def0, 0x7f08_8f70] {
                let found = isa.dispatch(Eight(bits)).map(|lanes| lanes.map(f32::to_bits));
                let expected = Isa::scalar().dispatch(Eight(bits));
                assert_eq!(found, expected.map(|lanes| lanes.map(f32::to_bits)), "{isa:?}");
            }
        }
        // The reference itself: input k in the low nibble of byte k, k + 4 in its high nibble.
        let eight = Isa::scalar().dispatch(Eight(0xf7b3_9180));
        let first = [0.0, 0.5, 1.5, 6.0, 0.0, -0.5, -1.5, -6.0].map(f32::to_bits);
        assert_eq!(eight.map(|lanes| lanes[0].to_bits()), first);
    }
}
