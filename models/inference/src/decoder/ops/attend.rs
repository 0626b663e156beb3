//! Scores, mask, softmax and mixture of one sequence over the blocks of its cache.

use candle_core::{Result, bail};
use rayon::prelude::*;

use super::dot;
use crate::decoder::attention::{CacheView, Queries, Scores};

/// Multiplications below which one core does them all.
const PARALLEL_PRODUCTS_MIN: usize = 1 << 17;

/// Writes (tokens, heads * head width). The token at position `p` sees positions `0..=p`, or the last `window`
/// of them. `sinks` has a score per head that takes its share and gives nothing.
pub(crate) fn attend(
    queries: &Queries<'_>,
    cache: &CacheView<'_>,
    scores: Scores,
    sinks: Option<&[f32]>,
    mixed: &mut [f32],
) -> Result<()> {
    let (heads, width) = (queries.heads, cache.shape.head_dim);
    let group = heads / cache.shape.kv_heads;
    let tokens = mixed.len() / (heads * width);
    if queries.rows.len() != tokens * queries.stride || queries.stride < heads * width {
        bail!("queries of {} elements for {tokens} tokens", queries.rows.len());
    }
    let first_seen = |position: usize| match scores.window {
        Some(window) => (position + 1).saturating_sub(window),
        None => 0,
    };
    // What is seen must be there: a block given back too early would otherwise be left out silently.
    let first = first_seen(queries.past);
    let held: usize = cache
        .pieces(first, queries.past + tokens)
        .map(|(_, range)| range.len())
        .sum();
    if held != queries.past + tokens - first {
        bail!(
            "the cache holds {held} of {} positions",
            queries.past + tokens - first
        );
    }
    // One task is one token with the query heads that share a key-value head.
    let task = |index: usize, mixed: &mut [f32]| {
        let (token, kv_head) = (index / cache.shape.kv_heads, index % cache.shape.kv_heads);
        let position = queries.past + token;
        let row = &queries.rows[token * queries.stride + kv_head * group * width..][..group * width];
        let (from, to) = (first_seen(position), position + 1);
        let mut weights = vec![0.0_f32; to - from];
        for (member, (query, mixed)) in row
            .chunks_exact(width)
            .zip(mixed.chunks_exact_mut(width))
            .enumerate()
        {
            let mut at = 0;
            for (block, range) in cache.pieces(from, to) {
                for key in block.keys(cache.shape, kv_head, range).chunks_exact(width) {
                    weights[at] = score(dot(query, key), scores);
                    at += 1;
                }
            }
            softmax(&mut weights, sinks.map(|sinks| sinks[kv_head * group + member]));
            let mut at = 0;
            for (block, range) in cache.pieces(from, to) {
                for value in block.values(cache.shape, kv_head, range).chunks_exact(width) {
                    let weight = weights[at];
                    mixed
                        .iter_mut()
                        .zip(value)
                        .for_each(|(mixed, value)| *mixed += weight * value);
                    at += 1;
                }
            }
        }
    };
    let products = mixed.len() * (queries.past + tokens);
    if products < PARALLEL_PRODUCTS_MIN {
        mixed
            .chunks_exact_mut(group * width)
            .enumerate()
            .for_each(|(index, mixed)| task(index, mixed));
    } else {
        mixed
            .par_chunks_exact_mut(group * width)
            .enumerate()
            .for_each(|(index, mixed)| task(index, mixed));
    }
    Ok(())
}

/// Every row sees every row: `fused` has queries, keys and values of the same number of heads in each.
pub(crate) fn attend_both_ways(fused: &[f32], heads: usize, head_dim: usize) -> Vec<f32> {
    let (width, scale) = (heads * head_dim, (head_dim as f32).sqrt().recip());
    let rows = fused.len() / (3 * width);
    let part = |row: usize, which: usize, head: usize| {
        &fused[row * 3 * width + which * width + head * head_dim..][..head_dim]
    };
    let mut mixed = vec![0.0_f32; rows * width];
    let task = |(index, mixed): (usize, &mut [f32])| {
        let (row, head) = (index / heads, index % heads);
        let query = part(row, 0, head);
        let mut weights: Vec<f32> = (0..rows)
            .map(|other| dot(query, part(other, 1, head)) * scale)
            .collect();
        softmax(&mut weights, None);
        for (other, weight) in weights.iter().enumerate() {
            mixed
                .iter_mut()
                .zip(part(other, 2, head))
                .for_each(|(mixed, value)| *mixed += weight * value);
        }
    };
    if mixed.len() * rows < PARALLEL_PRODUCTS_MIN {
        mixed.chunks_exact_mut(head_dim).enumerate().for_each(task);
    } else {
        mixed.par_chunks_exact_mut(head_dim).enumerate().for_each(task);
    }
    mixed
}

fn score(product: f32, scores: Scores) -> f32 {
    let score = product * scores.scale;
    match scores.softcap {
        Some(cap) => cap * (score / cap).tanh(),
        None => score,
    }
}

/// In place; a sink joins the sum and is left out.
fn softmax(scores: &mut [f32], sink: Option<f32>) {
    let max = scores
        .iter()
        .copied()
        .chain(sink)
        .fold(f32::NEG_INFINITY, f32::max);
    let mut sum = sink.map_or(0.0, |sink| (sink - max).exp());
    for score in scores.iter_mut() {
        *score = (*score - max).exp();
        sum += *score;
    }
    let normaliser = f32::recip(sum);
    scores.iter_mut().for_each(|score| *score *= normaliser);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_takes_a_share_and_gives_nothing() {
        let mut scores = [0.0, 0.0];
        softmax(&mut scores, Some(2.0_f32.ln()));
        assert!(
            scores.iter().all(|share| (share - 0.25).abs() < 1e-6),
            "{scores:?}"
        );
        softmax(&mut scores, None);
        assert_eq!(scores, [0.5, 0.5]);
    }

    #[test]
    fn large_scores_do_not_overflow() {
        let mut scores = [3e38_f32, -3e38];
        softmax(&mut scores, None);
        assert_eq!(scores, [1.0, 0.0]);
    }
}
