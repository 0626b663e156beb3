//! Attention of encoders: every token sees every other, so there is no cache.

use super::{dot, for_each_row_of};

/// Every row sees every row: `fused` has queries, keys and values of the same number of heads in each.
pub(crate) fn attend_both_ways(fused: &[f32], heads: usize, head_dim: usize) -> Vec<f32> {
    let (width, scale) = (heads * head_dim, (head_dim as f32).sqrt().recip());
    let rows = fused.len() / (3 * width);
    let part = |row: usize, which: usize, head: usize| {
        &fused[row * 3 * width + which * width + head * head_dim..][..head_dim]
    };
    let mut mixed = vec![0.0_f32; rows * width];
    let products = 2 * mixed.len() * rows;
    for_each_row_of(products, &mut mixed, head_dim, |index, mixed| {
        let (row, head) = (index / heads, index % heads);
        let query = part(row, 0, head);
        let mut weights: Vec<f32> = (0..rows)
            .map(|other| dot(query, part(other, 1, head)) * scale)
            .collect();
        softmax(&mut weights);
        for (other, weight) in weights.iter().enumerate() {
            mixed
                .iter_mut()
                .zip(part(other, 2, head))
                .for_each(|(mixed, value)| *mixed += weight * value);
        }
    });
    mixed
}

/// In place.
fn softmax(scores: &mut [f32]) {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
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
    fn equal_keys_give_the_mean_of_the_values() {
        // Two rows of one head of two: query, key, value.
        let fused = [1.0, 0.0, 1.0, 1.0, 2.0, 4.0, 0.0, 1.0, 1.0, 1.0, 4.0, 8.0];
        assert_eq!(attend_both_ways(&fused, 1, 2), [3.0, 6.0, 3.0, 6.0]);
    }

    #[test]
    fn large_scores_do_not_overflow() {
        let mut scores = [3e38_f32, -3e38];
        softmax(&mut scores);
        assert_eq!(scores, [1.0, 0.0]);
    }
}
