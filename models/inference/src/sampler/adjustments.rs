//! What moves logits before any filter: biases and penalties.

use zeroize::Zeroizing;

use crate::error::InferenceError;
use crate::limits::LOGIT_BIASES_MAX;
use crate::request::Sampling;

/// Largest bias either way, as OpenAI publishes it.
const BIAS_MAX: f32 = 100.0;

/// Biases by token, and what the penalties remember of the text so far.
pub(super) struct Adjustments {
    biases: Zeroizing<Vec<(u32, f32)>>,
    repetition: f32,
    frequency: f32,
    presence: f32,
    /// By token: whether prompt or completion have it. Empty when no penalty asks.
    seen: Zeroizing<Vec<bool>>,
    /// By token: how often the completion has it. Empty when no penalty asks.
    counts: Zeroizing<Vec<u32>>,
}

impl Adjustments {
    /// Checks biases against the vocabulary; takes note of the prompt.
    pub(super) fn new(
        sampling: &Sampling,
        biases: &[(u32, f32)],
        prompt: &[u32],
        vocabulary: usize,
    ) -> Result<Self, InferenceError> {
        let in_range = |(token, bias): &(u32, f32)| {
            (*token as usize) < vocabulary && (-BIAS_MAX..=BIAS_MAX).contains(bias)
        };
        if biases.len() > LOGIT_BIASES_MAX || !biases.iter().all(in_range) {
            return Err(InferenceError::RequestInvalid {
                parameter: "logit_bias",
                expected: "at most 1024 tokens of the vocabulary, each from -100 to 100",
            });
        }
        let repeats = sampling.repetition_penalty != 1.0;
        let counts = sampling.frequency_penalty != 0.0 || sampling.presence_penalty != 0.0;
        let mut adjustments = Self {
            biases: Zeroizing::new(biases.to_vec()),
            repetition: sampling.repetition_penalty,
            frequency: sampling.frequency_penalty,
            presence: sampling.presence_penalty,
            seen: Zeroizing::new(vec![false; if repeats { vocabulary } else { 0 }]),
            counts: Zeroizing::new(vec![0; if counts { vocabulary } else { 0 }]),
        };
        for token in prompt {
            adjustments.see(*token);
        }
        Ok(adjustments)
    }

    /// Moves the logits: bias, repetition penalty, frequency and presence penalty.
    pub(super) fn apply(&self, logits: &mut [f32]) {
        for (token, bias) in self.biases.iter() {
            if let Some(logit) = logits.get_mut(*token as usize) {
                *logit += bias;
            }
        }
        for (logit, seen) in logits.iter_mut().zip(self.seen.iter()) {
            if *seen {
                *logit = if *logit < 0.0 {
                    *logit * self.repetition
                } else {
                    *logit / self.repetition
                };
            }
        }
        for (logit, count) in logits.iter_mut().zip(self.counts.iter()) {
            if *count > 0 {
                *logit -= self.frequency * *count as f32 + self.presence;
            }
        }
    }

    /// Takes note of a token of the completion.
    pub(super) fn note(&mut self, token: u32) {
        self.see(token);
        if let Some(count) = self.counts.get_mut(token as usize) {
            *count = count.saturating_add(1);
        }
    }

    fn see(&mut self, token: u32) {
        if let Some(seen) = self.seen.get_mut(token as usize) {
            *seen = true;
        }
    }
}
