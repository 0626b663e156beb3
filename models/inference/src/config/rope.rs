//! Rotary position embedding (Su et al., 2021) and the ways to stretch it, as transformers computes them.

use super::{CONTEXT_TOKENS_MAX, require};
use crate::error::InferenceError;

/// One rotary table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rope {
    pub(crate) theta: f32,
    /// How many elements of a head are turned, from the first; the others pass.
    pub(crate) rotary_dim: usize,
    pub(crate) scaling: RopeScaling,
    /// Ministral 3: queries grow with the logarithm of the position.
    pub(crate) query_growth: Option<QueryGrowth>,
}

/// `1 + beta * ln(1 + floor(position / original_context_tokens))`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct QueryGrowth {
    pub(crate) beta: f32,
    pub(crate) original_context_tokens: usize,
}

/// How the frequencies are stretched beyond the context of the first training.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RopeScaling {
    /// Not at all.
    None,
    /// All positions divided by `factor`.
    Linear { factor: f32 },
    /// Llama 3.1: low frequencies divided by `factor`, high ones kept, a ramp between.
    Llama3 {
        factor: f32,
        low_freq_factor: f32,
        high_freq_factor: f32,
        original_context_tokens: usize,
    },
    /// Peng et al., 2023: a ramp over the dimensions, and larger cosines and sines.
    Yarn(Yarn),
    /// Ding et al., 2024: a divisor per pair, one list up to the original context and one beyond.
    LongRope {
        short: Vec<f32>,
        long: Vec<f32>,
        original_context_tokens: usize,
        attention_factor: f32,
    },
}

/// The numbers of YaRN.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Yarn {
    pub(crate) factor: f32,
    pub(crate) beta_fast: f32,
    pub(crate) beta_slow: f32,
    pub(crate) original_context_tokens: usize,
    /// Whether the borders of the ramp are whole dimensions.
    pub(crate) truncate: bool,
    /// Cosines and sines are multiplied by this.
    pub(crate) attention_factor: f32,
}

impl Rope {
    /// All pairs of a head, not stretched.
    pub(crate) fn plain(theta: f32, rotary_dim: usize) -> Self {
        Self {
            theta,
            rotary_dim,
            scaling: RopeScaling::None,
            query_growth: None,
        }
    }

    pub(crate) fn validate(&self, head_dim: usize) -> Result<(), InferenceError> {
        require(self.theta.is_finite() && self.theta >= 1.0, || {
            format!("rope_theta is {}", self.theta)
        })?;
        require(
            (2..=head_dim).contains(&self.rotary_dim) && self.rotary_dim.is_multiple_of(2),
            || format!("{} of {head_dim} elements of a head are rotary", self.rotary_dim),
        )?;
        if let Some(growth) = self.query_growth {
            positive("llama_4_scaling_beta", growth.beta)?;
            context(growth.original_context_tokens)?;
        }
        match &self.scaling {
            RopeScaling::None => Ok(()),
            RopeScaling::Linear { factor } => stretch(*factor),
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_context_tokens,
            } => {
                stretch(*factor)?;
                positive("low_freq_factor", *low_freq_factor)?;
                require(
                    high_freq_factor.is_finite() && high_freq_factor > low_freq_factor,
                    || format!("rope frequency factors are {low_freq_factor} and {high_freq_factor}"),
                )?;
                context(*original_context_tokens)
            }
            RopeScaling::Yarn(yarn) => {
                stretch(yarn.factor)?;
                positive("attention_factor", yarn.attention_factor)?;
                positive("beta_fast", yarn.beta_fast)?;
                positive("beta_slow", yarn.beta_slow)?;
                require(self.theta > 1.0, || "rope_theta is 1".to_owned())?;
                context(yarn.original_context_tokens)
            }
            RopeScaling::LongRope {
                short,
                long,
                original_context_tokens,
                attention_factor,
            } => {
                for (name, factors) in [("short_factor", short), ("long_factor", long)] {
                    require(factors.len() == self.rotary_dim / 2, || {
                        format!(
                            "{name} has {} numbers for {} pairs",
                            factors.len(),
                            self.rotary_dim / 2
                        )
                    })?;
                    factors.iter().try_for_each(|factor| positive(name, *factor))?;
                }
                positive("attention_factor", *attention_factor)?;
                context(*original_context_tokens)
            }
        }
    }

    /// Whether sequences of the two lengths use different frequencies, so that what was computed for the
    /// shorter one does not hold for the longer.
    pub(crate) fn changes_between(&self, shorter: usize, longer: usize) -> bool {
        match self.scaling {
            RopeScaling::LongRope {
                original_context_tokens,
                ..
            } => shorter > 0 && shorter <= original_context_tokens && longer > original_context_tokens,
            _ => false,
        }
    }

    /// Radians per position for each pair, of a sequence of `tokens`, in f32 as transformers does.
    pub(crate) fn inverse_frequencies(&self, tokens: usize) -> Vec<f32> {
        let dim = self.rotary_dim;
        let powers = (0..dim / 2).map(|pair| self.theta.powf((2 * pair) as f32 / dim as f32));
        match &self.scaling {
            RopeScaling::None => powers.map(f32::recip).collect(),
            RopeScaling::Linear { factor } => powers.map(|power| power.recip() / factor).collect(),
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_context_tokens,
            } => {
                let context = *original_context_tokens as f32;
                let (low, high) = (*low_freq_factor, *high_freq_factor);
                powers
                    .map(f32::recip)
                    .map(|frequency| {
                        let wavelength = std::f32::consts::TAU / frequency;
                        if wavelength < context / high {
                            frequency
                        } else if wavelength > context / low {
                            frequency / factor
                        } else {
                            let smooth = (context / wavelength - low) / (high - low);
                            (1.0 - smooth) * frequency / factor + smooth * frequency
                        }
                    })
                    .collect()
            }
            RopeScaling::Yarn(yarn) => {
                let (low, high) = yarn.ramp(self.theta, dim);
                powers
                    .enumerate()
                    .map(|(pair, power)| {
                        let interpolated = ((pair as f32 - low) / (high - low)).clamp(0.0, 1.0);
                        let kept = 1.0 - interpolated;
                        (yarn.factor * power).recip() * (1.0 - kept) + power.recip() * kept
                    })
                    .collect()
            }
            RopeScaling::LongRope {
                short,
                long,
                original_context_tokens,
                ..
            } => {
                let factors = if tokens > *original_context_tokens {
                    long
                } else {
                    short
                };
                powers
                    .zip(factors)
                    .map(|(power, factor)| (factor * power).recip())
                    .collect()
            }
        }
    }

    /// Cosines and sines are multiplied by this.
    pub(crate) fn attention_factor(&self) -> f32 {
        match &self.scaling {
            RopeScaling::Yarn(yarn) => yarn.attention_factor,
            RopeScaling::LongRope { attention_factor, .. } => *attention_factor,
            _ => 1.0,
        }
    }
}

impl Yarn {
    /// The dimensions between which frequencies pass from kept to interpolated.
    fn ramp(&self, theta: f32, dim: usize) -> (f32, f32) {
        let dimension = |rotations: f32| {
            let context = self.original_context_tokens as f64;
            let turns = context / (f64::from(rotations) * std::f64::consts::TAU);
            dim as f64 * turns.ln() / (2.0 * f64::from(theta).ln())
        };
        let (mut low, mut high) = (dimension(self.beta_fast), dimension(self.beta_slow));
        if self.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        let (low, mut high) = (low.max(0.0), high.min(dim as f64 - 1.0));
        if low == high {
            high += 0.001;
        }
        (low as f32, high as f32)
    }

    /// The factor that transformers takes where the config gives none.
    pub(crate) fn default_attention_factor(factor: f64, mscale: Option<f64>, mscale_all: Option<f64>) -> f64 {
        let scale = |mscale: f64| {
            if factor <= 1.0 {
                1.0
            } else {
                0.1 * mscale * factor.ln() + 1.0
            }
        };
        match (mscale.filter(|m| *m != 0.0), mscale_all.filter(|m| *m != 0.0)) {
            (Some(mscale), Some(all)) => scale(mscale) / scale(all),
            _ => scale(1.0),
        }
    }
}

impl QueryGrowth {
    pub(crate) fn at(&self, position: usize) -> f32 {
        1.0 + self.beta * (1.0 + (position / self.original_context_tokens) as f32).ln()
    }
}

fn stretch(factor: f32) -> Result<(), InferenceError> {
    require(factor.is_finite() && factor >= 1.0, || {
        format!("rope factor is {factor}")
    })
}

fn positive(name: &str, value: f32) -> Result<(), InferenceError> {
    require(value.is_finite() && value > 0.0, || format!("{name} is {value}"))
}

fn context(tokens: usize) -> Result<(), InferenceError> {
    require((1..=CONTEXT_TOKENS_MAX).contains(&tokens), || {
        format!("original_max_position_embeddings is {tokens}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope(scaling: RopeScaling, theta: f32, rotary_dim: usize) -> Rope {
        Rope {
            scaling,
            ..Rope::plain(theta, rotary_dim)
        }
    }

    #[test]
    fn llama3_scaling_keeps_high_and_divides_low_frequencies() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_context_tokens: 8192,
        };
        let plain = Rope::plain(500_000.0, 128).inverse_frequencies(1);
        let scaled = rope(scaling, 500_000.0, 128).inverse_frequencies(1);
        assert_eq!(scaled[0], plain[0]);
        assert_eq!(scaled[63], plain[63] / 8.0);
        assert!(
            scaled[33] < plain[33] && scaled[33] > plain[33] / 8.0,
            "the ramp is between"
        );
    }

    #[test]
    fn yarn_keeps_high_and_divides_low_frequencies() {
        let yarn = Yarn {
            factor: 32.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            original_context_tokens: 4096,
            truncate: false,
            attention_factor: Yarn::default_attention_factor(32.0, None, None) as f32,
        };
        assert!((yarn.attention_factor - 1.346_573_6).abs() < 1e-6);
        let plain = Rope::plain(150_000.0, 64).inverse_frequencies(1);
        let scaled = rope(RopeScaling::Yarn(yarn), 150_000.0, 64).inverse_frequencies(1);
        assert_eq!(scaled[0], plain[0]);
        assert!((scaled[31] - plain[31] / 32.0).abs() < 1e-12);
    }

    #[test]
    fn longrope_changes_where_the_original_context_ends() {
        let scaling = RopeScaling::LongRope {
            short: vec![1.0; 2],
            long: vec![4.0; 2],
            original_context_tokens: 8,
            attention_factor: 1.0,
        };
        let rope = rope(scaling, 1e4, 4);
        assert!(rope.changes_between(8, 9) && rope.changes_between(1, 100));
        assert!(!rope.changes_between(0, 9) && !rope.changes_between(9, 10) && !rope.changes_between(7, 8));
        assert_eq!(rope.inverse_frequencies(8)[0], 1.0);
        assert_eq!(rope.inverse_frequencies(9)[0], 0.25);
    }
}
