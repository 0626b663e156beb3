//! The filters: each takes away tokens, none changes the ratio of those that stay.

use zeroize::{DefaultIsZeroes, Zeroize, Zeroizing};

use crate::error::InferenceError;

/// Candidates that top-p looks at first; nearly always they hold the whole nucleus.
const NUCLEUS_GUESS: usize = 256;

/// Tokens with their unnormalised probabilities.
pub(super) struct Candidates(Zeroizing<Vec<Candidate>>);

#[derive(Clone, Copy, Default)]
struct Candidate {
    token: u32,
    weight: f64,
    /// How far its information is from what is typical, once that was computed.
    surprise: f64,
}

impl DefaultIsZeroes for Candidate {}

impl Candidates {
    /// All tokens, with `exp((logit - max) / temperature)`.
    pub(super) fn new(logits: &[f32], temperature: f32) -> Self {
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // Then no token has a share, and the draw says so.
        let max = if max == f32::NEG_INFINITY { 0.0 } else { max };
        let weight = |logit: f32| (f64::from(logit - max) / f64::from(temperature)).exp();
        let candidates = logits.iter().zip(0..).map(|(logit, token)| Candidate {
            token,
            weight: weight(*logit),
            surprise: 0.0,
        });
        Self(Zeroizing::new(candidates.collect()))
    }

    /// The `count` most probable, in order.
    pub(super) fn keep_most_probable(&mut self, count: usize) {
        if count < self.0.len() {
            self.0.select_nth_unstable_by(count, by_probability);
            self.truncate(count);
        }
        self.0.sort_unstable_by(by_probability);
    }

    /// The smallest set of the most probable whose share of the whole reaches `top_p`.
    pub(super) fn keep_nucleus(&mut self, top_p: f64) {
        let target = top_p * self.total();
        let guess = NUCLEUS_GUESS.min(self.0.len());
        if guess < self.0.len() {
            self.0.select_nth_unstable_by(guess, by_probability);
        }
        self.0[..guess].sort_unstable_by(by_probability);
        let count = self.prefix(guess, target).unwrap_or_else(|| {
            self.0.sort_unstable_by(by_probability);
            self.prefix(self.0.len(), target).unwrap_or(self.0.len())
        });
        self.truncate(count);
    }

    /// Those at least `min_p` times as probable as the most probable.
    pub(super) fn keep_above(&mut self, min_p: f64) {
        let most = self
            .0
            .iter()
            .map(|candidate| candidate.weight)
            .fold(0.0, f64::max);
        self.keep(|candidate| candidate.weight >= min_p * most);
    }

    /// Locally typical sampling (Meister et al. 2022): the smallest set of those whose information is nearest to the
    /// entropy, whose share reaches `mass`; and those as near as its last.
    pub(super) fn keep_typical(&mut self, mass: f64) {
        let total = self.total();
        let information = |candidate: &Candidate| -(candidate.weight / total).ln();
        let entropy: f64 = self
            .0
            .iter()
            .filter(|candidate| candidate.weight > 0.0)
            .map(|candidate| candidate.weight / total * information(candidate))
            .sum();
        for candidate in self.0.iter_mut() {
            candidate.surprise = (information(candidate) - entropy).abs();
        }
        self.0
            .sort_unstable_by(|a, b| a.surprise.total_cmp(&b.surprise).then(a.token.cmp(&b.token)));
        let count = self.prefix(self.0.len(), mass * total).unwrap_or(self.0.len());
        let Some(last) = count.checked_sub(1).and_then(|last| self.0.get(last)) else {
            return;
        };
        let surprise_max = last.surprise;
        self.keep(|candidate| candidate.surprise <= surprise_max);
    }

    /// The token at `unit` of the whole, which is in [0, 1).
    pub(super) fn draw(&self, unit: f64) -> Result<u32, InferenceError> {
        let mut left = unit * self.total();
        for candidate in self.0.iter() {
            left -= candidate.weight;
            if left < 0.0 {
                return Ok(candidate.token);
            }
        }
        // Rounding can leave a rest: the last candidate that has a share at all.
        let last = self.0.iter().rev().find(|candidate| candidate.weight > 0.0);
        last.map(|candidate| candidate.token)
            .ok_or(InferenceError::ComputeFailed)
    }

    /// How many of the first `among` it takes to reach `target`.
    fn prefix(&self, among: usize, target: f64) -> Option<usize> {
        let mut sum = 0.0;
        self.0[..among]
            .iter()
            .position(|candidate| {
                sum += candidate.weight;
                sum >= target
            })
            .map(|last| last + 1)
    }

    fn total(&self) -> f64 {
        self.0.iter().map(|candidate| candidate.weight).sum()
    }

    /// Keeps the order; what goes is overwritten by what stays, and the rest wiped.
    fn keep(&mut self, stays: impl Fn(&Candidate) -> bool) {
        let mut kept = 0;
        for index in 0..self.0.len() {
            if stays(&self.0[index]) {
                self.0.swap(kept, index);
                kept += 1;
            }
        }
        self.truncate(kept);
    }

    fn truncate(&mut self, count: usize) {
        self.0[count..].zeroize();
        self.0.truncate(count);
    }

    /// Tokens and shares, for tests.
    #[cfg(test)]
    pub(super) fn shares(&self) -> Vec<(u32, f64)> {
        let total = self.total();
        let shares = self.0.iter().filter(|candidate| candidate.weight > 0.0);
        shares
            .map(|candidate| (candidate.token, candidate.weight / total))
            .collect()
    }
}

/// Most probable first, then by identifier.
fn by_probability(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.weight.total_cmp(&a.weight).then(a.token.cmp(&b.token))
}
