//! The next token from the logits.
//!
//! The order, which is that of the logits processors of transformers for every step that both have:
//!
//! 1. logit bias
//! 2. repetition penalty, over prompt and completion
//! 3. frequency and presence penalty, over the completion (OpenAI; transformers has none)
//! 4. the tokens that the constraint of the request allows
//! 5. temperature; 0 takes the most probable token and skips what follows
//! 6. top-k
//! 7. top-p
//! 8. min-p
//! 9. typical-p
//! 10. the draw
//!
//! Ties go to the smaller identifier, sums are in f64 in a fixed order, and the generator is our own: equal logits
//! and seeds give equal tokens everywhere.

mod adjustments;
mod candidates;
mod log_probabilities;
mod random;

use self::adjustments::Adjustments;
use self::candidates::Candidates;
use self::random::SplitMix64;
use crate::error::InferenceError;
use crate::request::Sampling;

pub(crate) use self::log_probabilities::LogProbabilities;

/// One sampler per sequence: its state is how far it has drawn, and what the penalties remember.
pub(crate) struct Sampler {
    sampling: Sampling,
    adjustments: Adjustments,
    random: SplitMix64,
}

impl Sampling {
    /// Checks the ranges, and draws a seed from the system where none is given and one is needed.
    pub(crate) fn checked(mut self) -> Result<Self, InferenceError> {
        let ranges = [
            (
                "temperature",
                (0.0..=2.0).contains(&self.temperature),
                "from 0 to 2",
            ),
            (
                "top_p",
                self.top_p > 0.0 && self.top_p <= 1.0,
                "above 0 and at most 1",
            ),
            ("top_k", self.top_k != Some(0), "at least 1"),
            ("min_p", (0.0..=1.0).contains(&self.min_p), "from 0 to 1"),
            (
                "typical_p",
                self.typical_p > 0.0 && self.typical_p <= 1.0,
                "above 0 and at most 1",
            ),
            (
                "repetition_penalty",
                self.repetition_penalty > 0.0 && self.repetition_penalty <= 10.0,
                "above 0 and at most 10",
            ),
            (
                "frequency_penalty",
                (-2.0..=2.0).contains(&self.frequency_penalty),
                "from -2 to 2",
            ),
            (
                "presence_penalty",
                (-2.0..=2.0).contains(&self.presence_penalty),
                "from -2 to 2",
            ),
        ];
        if let Some((parameter, _, expected)) = ranges.into_iter().find(|(_, holds, _)| !holds) {
            return Err(InferenceError::RequestInvalid { parameter, expected });
        }
        if self.seed.is_none() && self.temperature > 0.0 {
            self.seed = Some(getrandom::u64().map_err(|_| InferenceError::ComputeFailed)?);
        }
        Ok(self)
    }
}

impl Sampler {
    /// For choice `choice` of a request whose `sampling` was checked.
    pub(crate) fn new(
        sampling: &Sampling,
        biases: &[(u32, f32)],
        prompt: &[u32],
        vocabulary: usize,
        choice: usize,
    ) -> Result<Self, InferenceError> {
        Ok(Self {
            sampling: sampling.clone(),
            adjustments: Adjustments::new(sampling, biases, prompt, vocabulary)?,
            random: SplitMix64::new(sampling.seed.unwrap_or(0), choice),
        })
    }

    /// Chooses a token; `logits` are used up. Logits that are not numbers are a fault of the computation.
    /// `constrain` sets the logits of what it forbids to negative infinity.
    pub(crate) fn sample(
        &mut self,
        logits: &mut [f32],
        constrain: impl FnOnce(&mut [f32]) -> Result<(), InferenceError>,
    ) -> Result<u32, InferenceError> {
        check_numbers(logits)?;
        self.adjustments.apply(logits);
        constrain(logits)?;
        let token = if self.sampling.temperature == 0.0 {
            most_probable(logits)?
        } else {
            let unit = self.random.next_unit();
            self.candidates(logits).draw(unit)?
        };
        self.adjustments.note(token);
        Ok(token)
    }

    /// Steps 5 to 9.
    fn candidates(&self, logits: &[f32]) -> Candidates {
        let sampling = &self.sampling;
        let mut candidates = Candidates::new(logits, sampling.temperature);
        if let Some(top_k) = sampling.top_k {
            candidates.keep_most_probable(top_k);
        }
        if sampling.top_p < 1.0 {
            candidates.keep_nucleus(f64::from(sampling.top_p));
        }
        if sampling.min_p > 0.0 {
            candidates.keep_above(f64::from(sampling.min_p));
        }
        if sampling.typical_p < 1.0 {
            candidates.keep_typical(f64::from(sampling.typical_p));
        }
        candidates
    }
}

fn check_numbers(logits: &[f32]) -> Result<(), InferenceError> {
    let no_number = |logit: &f32| logit.is_nan() || *logit == f32::INFINITY;
    if logits.is_empty() || logits.iter().any(no_number) {
        return Err(InferenceError::ComputeFailed);
    }
    Ok(())
}

fn most_probable(logits: &[f32]) -> Result<u32, InferenceError> {
    let mut best: Option<(u32, f32)> = None;
    for (token, logit) in (0..).zip(logits) {
        if *logit > best.map_or(f32::NEG_INFINITY, |(_, logit)| logit) {
            best = Some((token, *logit));
        }
    }
    best.map(|(token, _)| token).ok_or(InferenceError::ComputeFailed)
}

#[cfg(test)]
mod tests;
