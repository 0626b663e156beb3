//! Rotary positions (Su et al., 2021) of the rows of a pass, applied to heads in place.

use crate::config::Rope;
use crate::config::rope::QueryGrowth;

/// The frequencies of one rope of a model: for the usual lengths, and for long sequences where they differ.
pub(crate) struct RotaryTable {
    usual: Vec<f32>,
    long: Vec<f32>,
    rope: Rope,
}

impl RotaryTable {
    pub(crate) fn new(rope: &Rope) -> Self {
        Self {
            usual: rope.inverse_frequencies(1),
            long: rope.inverse_frequencies(usize::MAX),
            rope: rope.clone(),
        }
    }
}

/// Cosines and sines of the positions of one pass, shared by all layers.
pub(crate) struct Rotation {
    /// Per row, per pair: (cosine, sine).
    angles: Vec<(f32, f32)>,
    pairs: usize,
    /// Per row, where queries grow with the position.
    growth: Vec<f32>,
}

impl Rotation {
    /// `sequences` gives first position, rows, and length after the pass.
    pub(crate) fn new(table: &RotaryTable, sequences: impl Iterator<Item = (usize, usize, usize)>) -> Self {
        let factor = table.rope.attention_factor();
        let (mut angles, mut growth) = (Vec::new(), Vec::new());
        for (first, rows, length) in sequences {
            let frequencies = if table.rope.changes_between(1, length) {
                &table.long
            } else {
                &table.usual
            };
            for position in first..first + rows {
                // f32 holds positions exactly up to 2^24, the bound of the config.
                let angle = |frequency: &f32| (position as f32 * frequency).sin_cos();
                let pairs = frequencies.iter().map(angle);
                angles.extend(pairs.map(|(sine, cosine)| (cosine * factor, sine * factor)));
                growth.extend(
                    table
                        .rope
                        .query_growth
                        .map(|growth: QueryGrowth| growth.at(position)),
                );
            }
        }
        Self {
            angles,
            pairs: table.usual.len(),
            growth,
        }
    }

    /// Of each row: (cosine, sine) of each pair.
    pub(in crate::decoder::ops) fn angles(&self) -> std::slice::ChunksExact<'_, (f32, f32)> {
        self.angles.chunks_exact(self.pairs)
    }

    /// Of each row, what its queries are multiplied with; empty where they do not grow.
    pub(in crate::decoder::ops) fn growth(&self) -> &[f32] {
        &self.growth
    }

    /// Turns the heads of a row. Pairs are element `i` of each half of the rotary part, as Hugging Face
    /// checkpoints are laid out; elements after that part stay.
    pub(crate) fn turn(&self, row: usize, heads: &mut [f32], head_dim: usize) {
        let angles = &self.angles[row * self.pairs..][..self.pairs];
        for head in heads.chunks_exact_mut(head_dim) {
            let (x1, rest) = head.split_at_mut(self.pairs);
            let x2 = &mut rest[..self.pairs];
            for ((x1, x2), (cosine, sine)) in x1.iter_mut().zip(x2).zip(angles) {
                (*x1, *x2) = (*x1 * cosine - *x2 * sine, *x2 * cosine + *x1 * sine);
            }
        }
    }

    /// Lets the queries of a row grow where the family does.
    pub(crate) fn grow(&self, row: usize, queries: &mut [f32]) {
        if let Some(growth) = self.growth.get(row) {
            queries.iter_mut().for_each(|query| *query *= growth);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RopeScaling;

    fn rotation(rope: &Rope, positions: (usize, usize)) -> Rotation {
        let length = positions.0 + positions.1;
        Rotation::new(
            &RotaryTable::new(rope),
            [(positions.0, positions.1, length)].into_iter(),
        )
    }

    #[test]
    fn a_turn_mixes_the_halves_and_leaves_the_rest() {
        // One pair; its frequency is 1 radian per position.
        let rotation = rotation(&Rope::plain(1e4, 2), (1, 1));
        let mut heads = [1.0, 0.0, 7.0, 0.0, 1.0, 8.0];
        rotation.turn(0, &mut heads, 3);
        let (sine, cosine) = 1.0_f32.sin_cos();
        assert_eq!(heads, [cosine, sine, 7.0, -sine, cosine, 8.0]);
        let mut queries = [1.0];
        rotation.grow(0, &mut queries);
        assert_eq!(queries, [1.0]);
    }

    #[test]
    fn a_long_sequence_uses_its_own_frequencies_from_the_first_row_on() {
        let rope = Rope {
            scaling: RopeScaling::LongRope {
                short: vec![1.0],
                long: vec![2.0],
                original_context_tokens: 4,
                attention_factor: 1.0,
            },
            ..Rope::plain(1e4, 2)
        };
        assert_eq!(rotation(&rope, (1, 3)).angles[0].1, 1.0_f32.sin());
        assert_eq!(rotation(&rope, (1, 4)).angles[0].1, 0.5_f32.sin());
    }

    #[test]
    fn queries_grow_by_the_logarithm_of_whole_contexts() {
        let rope = Rope {
            query_growth: Some(QueryGrowth {
                beta: 0.5,
                original_context_tokens: 2,
            }),
            ..Rope::plain(1e4, 2)
        };
        let rotation = rotation(&rope, (0, 4));
        assert_eq!(rotation.growth[1], 1.0);
        assert!((rotation.growth[2] - (1.0 + 0.5 * 2.0_f32.ln())).abs() < 1e-6);
    }
}
