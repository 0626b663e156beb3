//! The next token from the logits.
//!
//! Order as in transformers: temperature, top-k, softmax, top-p. Ties go to the smaller identifier, sums are
//! in f64 in a fixed order, and the generator is our own: equal logits and seeds give equal tokens everywhere.

use zeroize::{DefaultIsZeroes, Zeroize, Zeroizing};

use crate::error::InferenceError;
use crate::request::Sampling;

/// Candidates that top-p looks at first; nearly always they hold the whole nucleus.
const NUCLEUS_GUESS: usize = 256;

/// One sampler per sequence: its state is the seed and how far it has drawn.
pub(crate) struct Sampler {
    sampling: Sampling,
    random: SplitMix64,
}

impl Sampler {
    /// Checks the ranges; draws a seed from the system where none is given.
    pub(crate) fn new(sampling: Sampling) -> Result<Self, InferenceError> {
        let invalid = |parameter, expected| Err(InferenceError::RequestInvalid { parameter, expected });
        if !(0.0..=2.0).contains(&sampling.temperature) {
            return invalid("temperature", "from 0 to 2");
        }
        if !(sampling.top_p > 0.0 && sampling.top_p <= 1.0) {
            return invalid("top_p", "above 0 and at most 1");
        }
        if sampling.top_k == Some(0) {
            return invalid("top_k", "at least 1");
        }
        let seed = match sampling.seed {
            Some(seed) => seed,
            None if sampling.temperature == 0.0 => 0,
            None => getrandom::u64().map_err(|_| InferenceError::ComputeFailed)?,
        };
        Ok(Self {
            sampling,
            random: SplitMix64(seed),
        })
    }

    /// Chooses a token. Logits that are not numbers are a fault of the computation.
    pub(crate) fn sample(&mut self, logits: &[f32]) -> Result<u32, InferenceError> {
        if logits.is_empty()
            || logits
                .iter()
                .any(|logit| logit.is_nan() || *logit == f32::INFINITY)
        {
            return Err(InferenceError::ComputeFailed);
        }
        if self.sampling.temperature == 0.0 {
            return Ok(most_probable(logits));
        }
        let mut candidates = Candidates::new(logits, self.sampling.temperature);
        if let Some(top_k) = self.sampling.top_k {
            candidates.keep_most_probable(top_k);
        }
        if self.sampling.top_p < 1.0 {
            candidates.keep_nucleus(f64::from(self.sampling.top_p));
        }
        candidates.draw(self.random.next_unit())
    }
}

fn most_probable(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = token;
        }
    }
    best as u32
}

/// Tokens with their unnormalised probabilities.
struct Candidates(Zeroizing<Vec<Candidate>>);

#[derive(Clone, Copy, Default)]
struct Candidate {
    token: u32,
    weight: f64,
}

impl DefaultIsZeroes for Candidate {}

impl Candidates {
    fn new(logits: &[f32], temperature: f32) -> Self {
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // Then no token has a share, and the draw says so.
        let max = if max == f32::NEG_INFINITY { 0.0 } else { max };
        let weight = |logit: f32| (f64::from(logit - max) / f64::from(temperature)).exp();
        let candidates = logits.iter().zip(0..).map(|(logit, token)| Candidate {
            token,
            weight: weight(*logit),
        });
        Self(Zeroizing::new(candidates.collect()))
    }

    /// The `count` most probable, in order.
    fn keep_most_probable(&mut self, count: usize) {
        if count < self.0.len() {
            self.0.select_nth_unstable_by(count, by_probability);
            self.0[count..].zeroize();
            self.0.truncate(count);
        }
        self.0.sort_unstable_by(by_probability);
    }

    /// The smallest set whose share of the whole reaches `top_p`.
    fn keep_nucleus(&mut self, top_p: f64) {
        let target = top_p * self.total();
        let guess = NUCLEUS_GUESS.min(self.0.len());
        if guess < self.0.len() {
            self.0.select_nth_unstable_by(guess, by_probability);
        }
        self.0[..guess].sort_unstable_by(by_probability);
        let count = self.nucleus(guess, target).unwrap_or_else(|| {
            self.0.sort_unstable_by(by_probability);
            self.nucleus(self.0.len(), target).unwrap_or(self.0.len())
        });
        self.0[count..].zeroize();
        self.0.truncate(count);
    }

    /// How many of the first `sorted` it takes to reach `target`.
    fn nucleus(&self, sorted: usize, target: f64) -> Option<usize> {
        let mut sum = 0.0;
        self.0[..sorted]
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

    fn draw(&self, unit: f64) -> Result<u32, InferenceError> {
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
}

/// Most probable first, then by identifier.
fn by_probability(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.weight.total_cmp(&a.weight).then(a.token.cmp(&b.token))
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014). Not for secrets: it only
/// spreads a seed that the caller may know.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [0, 1), with 53 bits.
    fn next_unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Drop for SplitMix64 {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(change: impl FnOnce(&mut Sampling)) -> Sampler {
        let mut sampling = Sampling {
            seed: Some(7),
            ..Sampling::default()
        };
        change(&mut sampling);
        Sampler::new(sampling).expect("it is in range")
    }

    fn frequencies(sampler: &mut Sampler, logits: &[f32], draws: usize) -> Vec<f64> {
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..draws {
            counts[sampler.sample(logits).expect("a token") as usize] += 1.0 / draws as f64;
        }
        counts
    }

    #[test]
    fn the_generator_gives_the_published_sequence() {
        // The sequence of the reference implementation for seed 1234567.
        let mut random = SplitMix64(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn draws_follow_the_softmax() {
        let logits = [0.0, 1.0, 2.0, f32::NEG_INFINITY];
        let found = frequencies(&mut sampler(|_| ()), &logits, 40_000);
        let total: f64 = logits[..3].iter().map(|l| f64::from(*l).exp()).sum();
        for (token, logit) in logits[..3].iter().enumerate() {
            assert!(
                (found[token] - f64::from(*logit).exp() / total).abs() < 0.01,
                "{found:?}"
            );
        }
        assert_eq!(found[3], 0.0);
    }

    #[test]
    fn temperature_sharpens_and_flattens() {
        let cold = frequencies(&mut sampler(|s| s.temperature = 0.2), &[0.0, 1.0], 4_000);
        let hot = frequencies(&mut sampler(|s| s.temperature = 2.0), &[0.0, 1.0], 4_000);
        assert!(cold[1] > 0.98 && hot[1] < 0.66, "{cold:?} {hot:?}");
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail() {
        let logits = [1.0, 3.0, 2.0, 0.0];
        let top_k = frequencies(&mut sampler(|s| s.top_k = Some(2)), &logits, 2_000);
        assert!(top_k[0] == 0.0 && top_k[3] == 0.0 && top_k[2] > 0.0);
        // Shares: 0.644, 0.237, 0.087, 0.032. Seven tenths need the first two.
        let top_p = frequencies(&mut sampler(|s| s.top_p = 0.7), &logits, 2_000);
        assert!(top_p[0] == 0.0 && top_p[3] == 0.0 && top_p[2] > 0.0);
        let one = frequencies(&mut sampler(|s| s.top_p = 0.6), &logits, 200);
        assert_eq!(one[1].round(), 1.0);
    }

    #[test]
    fn a_flat_nucleus_beyond_the_guess_is_whole() {
        let mut sampler = sampler(|s| s.top_p = 0.5);
        let found = frequencies(&mut sampler, &[0.0; 2000], 40_000);
        assert_eq!(found.iter().filter(|share| **share > 0.0).count(), 1000);
    }

    #[test]
    fn equal_seeds_are_equal_and_others_differ() {
        let logits: Vec<f32> = (0..50).map(|i| (i % 7) as f32 * 0.1).collect();
        let draw = |seed| {
            let mut sampler = sampler(|s| s.seed = Some(seed));
            (0..32)
                .map(|_| sampler.sample(&logits).expect("a token"))
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn greedy_takes_the_first_of_equals_and_no_number_is_an_error() {
        let mut greedy = sampler(|s| s.temperature = 0.0);
        assert_eq!(greedy.sample(&[1.0, 5.0, 5.0]).expect("a token"), 1);
        for logits in [&[f32::NAN, 1.0][..], &[f32::INFINITY], &[]] {
            assert_eq!(
                greedy.sample(logits).expect_err("not numbers").code(),
                "compute-failed"
            );
        }
    }

    #[test]
    fn parameters_out_of_range_are_named() {
        let cases: [(&str, Sampling); 7] = [
            (
                "temperature",
                Sampling {
                    temperature: -0.1,
                    ..Sampling::default()
                },
            ),
            (
                "temperature",
                Sampling {
                    temperature: 2.1,
                    ..Sampling::default()
                },
            ),
            (
                "temperature",
                Sampling {
                    temperature: f32::NAN,
                    ..Sampling::default()
                },
            ),
            (
                "top_p",
                Sampling {
                    top_p: 0.0,
                    ..Sampling::default()
                },
            ),
            (
                "top_p",
                Sampling {
                    top_p: 1.1,
                    ..Sampling::default()
                },
            ),
            (
                "top_p",
                Sampling {
                    top_p: f32::NAN,
                    ..Sampling::default()
                },
            ),
            (
                "top_k",
                Sampling {
                    top_k: Some(0),
                    ..Sampling::default()
                },
            ),
        ];
        for (name, sampling) in cases {
            let error = Sampler::new(sampling).err().expect(name);
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }
}
