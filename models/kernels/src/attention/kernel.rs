//! One tile of query rows over some chunks of the context.

use std::ops::Range;

use super::cache::CacheElement;
use super::{Attention, BLOCK_TOKENS, CHUNK_TOKENS, Tile};
use crate::isa::Kernel;
use crate::simd::{LANES, Simd, math};

/// Vectors of a block's tokens.
const BLOCK_VECTORS: usize = BLOCK_TOKENS / LANES;
/// Vectors of the output that are summed together.
const VALUE_VECTORS: usize = 4;

/// What a row has seen so far.
#[derive(Clone)]
pub(super) struct State {
    /// Largest score.
    maximum: f32,
    /// Sum of exponentials of scores less the maximum. Zero: nothing seen.
    total: f32,
    /// Values, weighted with those exponentials.
    values: Vec<f32>,
}

impl State {
    pub(super) fn new(width: usize) -> Self {
        Self {
            maximum: f32::NEG_INFINITY,
            total: 0.0,
            values: vec![0.0; width],
        }
    }

    fn is_empty(&self) -> bool {
        self.total == 0.0
    }

    /// Adds what `later` has seen.
    pub(super) fn merge(&mut self, later: &Self) {
        if later.is_empty() {
            return;
        }
        if self.is_empty() {
            self.clone_from(later);
            return;
        }
        let maximum = if later.maximum > self.maximum {
            later.maximum
        } else {
            self.maximum
        };
        let (own, other) = ((self.maximum - maximum).exp(), (later.maximum - maximum).exp());
        self.maximum = maximum;
        self.total = self.total * own + later.total * other;
        for (value, later) in self.values.iter_mut().zip(&later.values) {
            *value = *value * own + *later * other;
        }
    }

    /// The average of the values; a sink takes weight for nothing.
    pub(super) fn finish(&self, sink: Option<f32>, out: &mut [f32]) {
        let mut factor = 1.0 / self.total;
        if let Some(sink) = sink {
            // Relative to the larger of both, as either exponential could overflow.
            let maximum = if sink > self.maximum { sink } else { self.maximum };
            let own = (self.maximum - maximum).exp();
            factor = own / (self.total * own + (sink - maximum).exp());
        }
        for (out, value) in out.iter_mut().zip(&self.values) {
            *out = value * factor;
        }
    }
}

pub(super) struct Chunks<'a, 't, T> {
    pub(super) attention: &'a Attention<'a>,
    pub(super) tile: &'a Tile<'t, T>,
    pub(super) chunks: Range<usize>,
    pub(super) states: &'a mut [State],
}

impl<T: CacheElement> Kernel for Chunks<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self {
            attention,
            tile,
            chunks,
            states,
        } = self;
        let group = attention.heads / attention.layout.kv_heads;
        let rows = tile.rows(attention);
        let visible = |row: usize| attention.visible(tile.past + tile.tokens.start + row / group, tile.total);
        // Of all rows: the first sees the earliest token, the last the latest.
        let seen = visible(0).start..visible(rows - 1).end;
        let mut scores = vec![[0.0_f32; CHUNK_TOKENS]; rows];
        let mut later = State::new(attention.layout.value_stride());
        let mut weighted = vec![0.0_f32; rows * attention.layout.value_stride()];
        for chunk in chunks {
            let start = chunk * CHUNK_TOKENS;
            let part = start.max(seen.start)..(start + CHUNK_TOKENS).min(seen.end);
            if part.is_empty() {
                continue;
            }
            let blocks = part.start / BLOCK_TOKENS..part.end.div_ceil(BLOCK_TOKENS);
            let mut row = 0;
            while row < rows {
                row += match rows - row {
                    4.. => score_rows::<S, T, 4>(s, attention, tile, row, blocks.clone(), &mut scores),
                    2.. => score_rows::<S, T, 2>(s, attention, tile, row, blocks.clone(), &mut scores),
                    _ => score_rows::<S, T, 1>(s, attention, tile, row, blocks.clone(), &mut scores),
                };
            }
            // The same for every row, whatever it sees: what it does not see weighs zero.
            let mut sums = [(f32::NEG_INFINITY, 0.0); super::ROWS_TOGETHER];
            let mut sums_large = Vec::new();
            if rows > sums.len() {
                sums_large = vec![(f32::NEG_INFINITY, 0.0); rows];
            }
            let sums = if rows > sums.len() {
                &mut sums_large[..]
            } else {
                &mut sums[..rows]
            };
            for (row, (scores, sums)) in scores.iter_mut().zip(sums.iter_mut()).enumerate() {
                let visible = visible(row);
                let first = visible.start.clamp(start, start + CHUNK_TOKENS) - start;
                let last = visible.end.clamp(start, start + CHUNK_TOKENS) - start;
                if first < last {
                    *sums = exponentials(s, scores, first, last);
                } else {
                    scores.fill(0.0);
                }
            }
            weighted.fill(0.0);
            let mut row = 0;
            while row < rows {
                row += match rows - row {
                    4.. => {
                        weigh_rows::<S, T, 4>(s, attention, tile, row, part.clone(), &scores, &mut weighted)
                    }
                    2.. => {
                        weigh_rows::<S, T, 2>(s, attention, tile, row, part.clone(), &scores, &mut weighted)
                    }
                    _ => weigh_rows::<S, T, 1>(s, attention, tile, row, part.clone(), &scores, &mut weighted),
                };
            }
            let weighted = weighted.chunks_exact(attention.layout.value_stride());
            for ((state, (maximum, total)), values) in states.iter_mut().zip(sums.iter()).zip(weighted) {
                (later.maximum, later.total) = (*maximum, *total);
                later.values.copy_from_slice(values);
                state.merge(&later);
            }
        }
    }
}

/// Scores of `R` rows with the tokens of some blocks of a chunk.
#[inline(always)]
fn score_rows<S: Simd, T: CacheElement, const R: usize>(
    s: S,
    attention: &Attention<'_>,
    tile: &Tile<'_, T>,
    row: usize,
    blocks: Range<usize>,
    scores: &mut [[f32; CHUNK_TOKENS]],
) -> usize {
    let layout = attention.layout;
    let group = attention.heads / layout.kv_heads;
    let mut queries: [&[f32]; R] = [&[]; R];
    for (i, query) in queries.iter_mut().enumerate() {
        let (token, head) = (tile.tokens.start + (row + i) / group, (row + i) % group);
        let start = token * tile.row_width + tile.column + head * layout.head_width;
        *query = &tile.queries[start..start + layout.head_width];
    }
    for block in blocks {
        let (keys, _) = layout.head(tile.blocks[block], tile.kv_head);
        let mut sums = [[s.splat(0.0); BLOCK_VECTORS]; R];
        for (i, keys) in keys.as_chunks::<BLOCK_TOKENS>().0.iter().enumerate() {
            let keys = keys.as_chunks::<LANES>().0;
            for v in 0..BLOCK_VECTORS {
                let keys = T::load(s, &keys[v]);
                for r in 0..R {
                    sums[r][v] = s.fma(s.splat(queries[r][i]), keys, sums[r][v]);
                }
            }
        }
        let at = block * BLOCK_TOKENS % CHUNK_TOKENS;
        for r in 0..R {
            for v in 0..BLOCK_VECTORS {
                let mut score = s.mul(sums[r][v], s.splat(attention.scale));
                if let Some(cap) = attention.softcap {
                    score = math::softcap(s, score, cap);
                }
                let to = scores[row + r][at + v * LANES..].first_chunk_mut();
                s.store(score, to.expect("a block ends inside its chunk"));
            }
        }
    }
    R
}

/// Turns the scores of `first..last` into exponentials, the others into zeros; returns maximum and sum.
#[inline(always)]
fn exponentials<S: Simd>(s: S, scores: &mut [f32; CHUNK_TOKENS], first: usize, last: usize) -> (f32, f32) {
    scores[..first].fill(f32::NEG_INFINITY);
    scores[last..].fill(f32::NEG_INFINITY);
    let vectors = first / LANES..last.div_ceil(LANES);
    let lanes = scores.as_chunks_mut::<LANES>().0;
    let mut maximum = s.splat(f32::NEG_INFINITY);
    for lanes in &lanes[vectors.clone()] {
        maximum = s.max(s.load(lanes), maximum);
    }
    let maximum = math::largest(s, maximum);
    let mut total = s.splat(0.0);
    for (index, lanes) in lanes.iter_mut().enumerate() {
        if !vectors.contains(&index) {
            lanes.fill(0.0);
            continue;
        }
        s.store(math::exp(s, s.sub(s.load(lanes), s.splat(maximum))), lanes);
        let (start, end) = (index * LANES, (index + 1) * LANES);
        lanes[..first.clamp(start, end) - start].fill(0.0);
        lanes[last.clamp(start, end) - start..].fill(0.0);
        total = s.add(total, s.load(lanes));
    }
    (maximum, math::sum(s, total))
}

/// Adds the values of the tokens of `part`, weighted, to `R` rows.
#[inline(always)]
fn weigh_rows<S: Simd, T: CacheElement, const R: usize>(
    s: S,
    attention: &Attention<'_>,
    tile: &Tile<'_, T>,
    row: usize,
    part: Range<usize>,
    weights: &[[f32; CHUNK_TOKENS]],
    out: &mut [f32],
) -> usize {
    let stride = attention.layout.value_stride();
    let mut column = 0;
    while column < stride {
        let args = (attention, tile, row, part.clone());
        column += match (stride - column) / LANES {
            VALUE_VECTORS.. => weigh::<S, T, R, VALUE_VECTORS>(s, args, column, weights, out),
            2.. => weigh::<S, T, R, 2>(s, args, column, weights, out),
            _ => weigh::<S, T, R, 1>(s, args, column, weights, out),
        };
    }
    R
}

#[inline(always)]
fn weigh<S: Simd, T: CacheElement, const R: usize, const C: usize>(
    s: S,
    (attention, tile, row, part): (&Attention<'_>, &Tile<'_, T>, usize, Range<usize>),
    column: usize,
    weights: &[[f32; CHUNK_TOKENS]],
    out: &mut [f32],
) -> usize {
    let layout = attention.layout;
    let stride = layout.value_stride();
    let mut sums = [[s.splat(0.0); C]; R];
    for block in part.start / BLOCK_TOKENS..part.end.div_ceil(BLOCK_TOKENS) {
        let (_, values) = layout.head(tile.blocks[block], tile.kv_head);
        let start = block * BLOCK_TOKENS;
        let tokens = part.start.max(start)..part.end.min(start + BLOCK_TOKENS);
        for token in tokens {
            let values = &values[(token - start) * stride + column..][..C * LANES];
            let values = values.as_chunks::<LANES>().0;
            let mut loaded = [s.splat(0.0); C];
            for c in 0..C {
                loaded[c] = T::load(s, &values[c]);
            }
            for r in 0..R {
                let weight = s.splat(weights[row + r][token % CHUNK_TOKENS]);
                for c in 0..C {
                    sums[r][c] = s.fma(weight, loaded[c], sums[r][c]);
                }
            }
        }
    }
    for r in 0..R {
        for c in 0..C {
            let to = out[(row + r) * stride + column + c * LANES..].first_chunk_mut();
            s.store(sums[r][c], to.expect("a row has whole vectors"));
        }
    }
    C * LANES
}
