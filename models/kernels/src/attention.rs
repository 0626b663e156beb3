//! Grouped-query attention over a cache of blocks, without materialised scores.
//!
//! 1. keys and values are written into blocks of [`BLOCK_TOKENS`] tokens ([`KvLayout::write`])
//! 2. the work is cut: by sequence, by key head, by some rows of queries, and by chunks of the context where
//!    there are too few of those for the threads (decoding with a long context)
//! 3. for each chunk of [`CHUNK_TOKENS`] tokens: scores of this chunk, their maximum, exponentials, weighted
//!    values (`kernel`)
//! 4. chunks are merged in their order, rescaled to the larger maximum (Milakov and Gimelshein, 2018)
//!
//! Chunks begin at multiples of their size in the sequence, so the result of a row is the same bits for any
//! batch, any cutting of a prompt, and any number of threads.

mod cache;
mod kernel;

use std::ops::Range;

pub use self::cache::{BLOCK_TOKENS, CacheElement, KvLayout};

use self::kernel::{Chunks, State};
use crate::error::{ShapeError, check_length, checked_product};
use crate::ops::{Heads, Ops};

/// Tokens whose scores are held at a time.
pub(crate) const CHUNK_TOKENS: usize = 256;
/// Rows (token and head) that share the reading of keys and values.
const ROWS_TOGETHER: usize = 32;

/// What kind of attention a layer has.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a> {
    /// Shape of the cache.
    pub layout: KvLayout,
    /// Heads of the queries, a multiple of those of the keys: head `h` reads key head `h / (heads / kv_heads)`.
    pub heads: usize,
    /// Multiplies the scores.
    pub scale: f32,
    /// A token sees the tokens up to itself; otherwise all of the sequence.
    pub causal: bool,
    /// A token sees so many tokens, itself included, if causal.
    pub window: Option<usize>,
    /// Scores become `cap tanh(score / cap)`.
    pub softcap: Option<f32>,
    /// Per query head, a score that takes weight and has no value (gpt-oss).
    pub sinks: Option<&'a [f32]>,
}

/// The new tokens of one sequence. Their keys and values are in the cache already.
pub struct Sequence<'a, T> {
    /// Rows of a fused projection, one for each new token.
    pub queries: &'a [f32],
    /// Tokens of the sequence before these.
    pub past: usize,
    /// Blocks of the whole sequence in order; they may be more than are filled.
    pub blocks: &'a [&'a [T]],
    /// A row for each new token: `heads * head_width` elements.
    pub out: &'a mut [f32],
}

/// Query rows that one thread reads keys and values for.
struct Tile<'a, T> {
    queries: &'a [f32],
    row_width: usize,
    /// Where the first of the group's heads begins in a row.
    column: usize,
    past: usize,
    tokens: Range<usize>,
    total: usize,
    kv_head: usize,
    blocks: &'a [&'a [T]],
    /// For each token, the elements of the group's heads.
    out: Vec<&'a mut [f32]>,
}

impl Ops<'_> {
    /// Attention of the new tokens of some sequences; `heads` says where the queries are in their rows.
    ///
    /// # Errors
    /// The shapes of queries, blocks, outputs or sinks do not fit each other, or a sequence has fewer blocks than
    /// tokens.
    pub fn attention<T: CacheElement>(
        &self,
        attention: &Attention<'_>,
        heads: Heads,
        sequences: Vec<Sequence<'_, T>>,
    ) -> Result<(), ShapeError> {
        let layout = attention.layout;
        let group = attention.group(heads)?;
        let mut tiles = Vec::new();
        let mut chunks_max = 0;
        for sequence in sequences {
            let (tokens, total) = attention.check(heads, &sequence)?;
            chunks_max = chunks_max.max(total.div_ceil(CHUNK_TOKENS));
            let tokens_together = (ROWS_TOGETHER / group).max(1);
            let mut rows: Vec<_> = sequence
                .out
                .chunks_exact_mut(attention.heads * layout.head_width)
                .map(|row| row.chunks_exact_mut(group * layout.head_width))
                .collect();
            for kv_head in 0..layout.kv_heads {
                for first in (0..tokens).step_by(tokens_together) {
                    let tokens = first..tokens.min(first + tokens_together);
                    tiles.push(Tile {
                        queries: sequence.queries,
                        row_width: heads.row_width,
                        column: heads.first + kv_head * group * layout.head_width,
                        past: sequence.past,
                        out: rows[tokens.clone()]
                            .iter_mut()
                            .filter_map(Iterator::next)
                            .collect(),
                        tokens,
                        total,
                        kv_head,
                        blocks: sequence.blocks,
                    });
                }
            }
        }
        let threads = self.pool().threads();
        if tiles.len() >= 2 * threads || threads == 1 || chunks_max < 2 {
            self.whole(attention, tiles);
        } else {
            self.cut(attention, tiles, chunks_max);
        }
        Ok(())
    }

    /// Each tile by one thread.
    fn whole<T: CacheElement>(&self, attention: &Attention<'_>, mut tiles: Vec<Tile<'_, T>>) {
        let work = |mut tile: Tile<'_, T>| {
            let mut states = tile.states(attention);
            self.chunks(
                attention,
                &tile,
                0..tile.total.div_ceil(CHUNK_TOKENS),
                &mut states,
            );
            tile.finish(attention, &states);
        };
        if tiles.len() == 1 {
            tiles.drain(..).for_each(work);
        } else {
            self.pool().run_each(tiles, |_, tile| work(tile));
        }
    }

    /// Each chunk of each tile by any thread; then the chunks are merged in the order in which one thread would.
    fn cut<T: CacheElement>(&self, attention: &Attention<'_>, mut tiles: Vec<Tile<'_, T>>, chunks: usize) {
        let mut partial: Vec<Vec<State>> = tiles
            .iter()
            .flat_map(|tile| (0..chunks).map(|_| tile.states(attention)))
            .collect();
        let work = partial.iter_mut().enumerate().collect();
        self.pool()
            .run_each(work, |_, (index, states): (usize, &mut Vec<State>)| {
                let chunk = index % chunks;
                self.chunks(attention, &tiles[index / chunks], chunk..chunk + 1, states);
            });
        for (tile, partial) in tiles.iter_mut().zip(partial.chunks_mut(chunks)) {
            let Some((states, rest)) = partial.split_first_mut() else {
                continue;
            };
            for other in rest {
                for (state, other) in states.iter_mut().zip(other) {
                    state.merge(other);
                }
            }
            tile.finish(attention, states);
        }
    }

    fn chunks<T: CacheElement>(
        &self,
        attention: &Attention<'_>,
        tile: &Tile<'_, T>,
        chunks: Range<usize>,
        states: &mut [State],
    ) {
        self.isa().dispatch(Chunks {
            attention,
            tile,
            chunks,
            states,
        });
    }
}

impl Attention<'_> {
    /// Query heads for each key head.
    fn group(&self, heads: Heads) -> Result<usize, ShapeError> {
        let KvLayout { kv_heads, head_width } = self.layout;
        heads.columns()?;
        check_length("heads", heads.count, self.heads)?;
        check_length("head width", heads.width, head_width)?;
        if kv_heads == 0 || self.heads == 0 || !self.heads.is_multiple_of(kv_heads) || self.window == Some(0)
        {
            return Err(ShapeError::Size { what: "heads" });
        }
        check_length("sinks", self.sinks.map_or(self.heads, <[f32]>::len), self.heads)?;
        Ok(self.heads / kv_heads)
    }

    /// New tokens and all tokens of a sequence that fits.
    fn check<T: CacheElement>(
        &self,
        heads: Heads,
        sequence: &Sequence<'_, T>,
    ) -> Result<(usize, usize), ShapeError> {
        crate::ops::whole_rows("queries", sequence.queries.len(), heads.row_width)?;
        let tokens = sequence.queries.len() / heads.row_width;
        let total = sequence
            .past
            .checked_add(tokens)
            .ok_or(ShapeError::Size { what: "tokens" })?;
        let out = checked_product("out", tokens, self.heads * self.layout.head_width)?;
        check_length("out", sequence.out.len(), out)?;
        let needed = total.div_ceil(BLOCK_TOKENS);
        if sequence.blocks.len() < needed {
            return Err(ShapeError::Length {
                what: "blocks",
                found: sequence.blocks.len(),
                expected: needed,
            });
        }
        let block = self.layout.block_elements()?;
        for held in sequence.blocks {
            check_length("a block", held.len(), block)?;
        }
        Ok((tokens, total))
    }

    /// Tokens that the new token at `position` sees, of `total`.
    fn visible(&self, position: usize, total: usize) -> Range<usize> {
        if !self.causal {
            return 0..total;
        }
        let end = position + 1;
        self.window.map_or(0, |window| end.saturating_sub(window))..end
    }
}

impl<T> Tile<'_, T> {
    /// Rows of the tile: the heads of the first token, of the second, and so on.
    fn rows(&self, attention: &Attention<'_>) -> usize {
        self.tokens.len() * (attention.heads / attention.layout.kv_heads)
    }

    fn states(&self, attention: &Attention<'_>) -> Vec<State> {
        vec![State::new(attention.layout.value_stride()); self.rows(attention)]
    }

    fn finish(&mut self, attention: &Attention<'_>, states: &[State]) {
        let group = attention.heads / attention.layout.kv_heads;
        let width = attention.layout.head_width;
        for (states, out) in states.chunks_exact(group).zip(&mut self.out) {
            for (index, (state, out)) in states.iter().zip(out.chunks_exact_mut(width)).enumerate() {
                let sink = attention.sinks.map(|sinks| sinks[self.kv_head * group + index]);
                state.finish(sink, out);
            }
        }
    }
}
