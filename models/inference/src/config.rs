//! What a decoder is made of, validated. The rest of the crate computes with these numbers unchecked.

use crate::error::InferenceError;

/// Largest value of any single dimension (hidden, intermediate, vocabulary, heads times head width).
/// Products of two of them stay far below `usize::MAX`.
pub(crate) const DIMENSION_MAX: usize = 1 << 24;
/// Most layers.
pub(crate) const LAYERS_MAX: usize = 1024;
/// Longest context any checkpoint may claim.
pub(crate) const CONTEXT_TOKENS_MAX: usize = 1 << 24;

/// A pre-norm decoder with grouped-query attention, rotary positions and a gated MLP.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DecoderConfig {
    pub(crate) vocabulary: usize,
    pub(crate) hidden: usize,
    pub(crate) intermediate: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) norm_epsilon: f32,
    pub(crate) rope: Rope,
    pub(crate) context_tokens_max: usize,
    pub(crate) tied_embeddings: bool,
    pub(crate) attention_bias: bool,
    pub(crate) mlp_bias: bool,
}

/// Rotary position embedding.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rope {
    pub(crate) theta: f32,
    pub(crate) scaling: RopeScaling,
}

/// How the frequencies are stretched beyond the context of the first training.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RopeScaling {
    /// Not at all.
    None,
    /// Llama 3.1: low frequencies divided by `factor`, high ones kept, a ramp between.
    Llama3 {
        factor: f32,
        low_freq_factor: f32,
        high_freq_factor: f32,
        original_context_tokens: usize,
    },
}

impl DecoderConfig {
    /// Checks every bound and relation between the fields.
    pub(crate) fn validated(self) -> Result<Self, InferenceError> {
        let dimensions = [
            ("vocab_size", self.vocabulary),
            ("hidden_size", self.hidden),
            ("intermediate_size", self.intermediate),
            ("num_attention_heads", self.heads),
            ("num_key_value_heads", self.kv_heads),
            ("head_dim", self.head_dim),
        ];
        for (name, value) in dimensions {
            require((1..=DIMENSION_MAX).contains(&value), || {
                format!("{name} is {value}")
            })?;
        }
        require((1..=LAYERS_MAX).contains(&self.layers), || {
            format!("num_hidden_layers is {}", self.layers)
        })?;
        require(
            (1..=CONTEXT_TOKENS_MAX).contains(&self.context_tokens_max),
            || format!("max_position_embeddings is {}", self.context_tokens_max),
        )?;
        require(self.heads.is_multiple_of(self.kv_heads), || {
            format!(
                "{} attention heads do not divide among {} key-value heads",
                self.heads, self.kv_heads
            )
        })?;
        require(self.head_dim.is_multiple_of(2), || {
            format!("head_dim {} is odd", self.head_dim)
        })?;
        require(self.heads * self.head_dim <= DIMENSION_MAX, || {
            "attention is too wide".to_owned()
        })?;
        require(self.norm_epsilon.is_finite() && self.norm_epsilon > 0.0, || {
            format!("rms_norm_eps is {}", self.norm_epsilon)
        })?;
        self.rope.validate()?;
        Ok(self)
    }

    /// Width of the queries.
    pub(crate) fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of the keys, and of the values.
    pub(crate) fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

impl Rope {
    fn validate(&self) -> Result<(), InferenceError> {
        require(self.theta.is_finite() && self.theta >= 1.0, || {
            format!("rope_theta is {}", self.theta)
        })?;
        if let RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_context_tokens,
        } = self.scaling
        {
            require(factor.is_finite() && factor >= 1.0, || {
                format!("rope factor is {factor}")
            })?;
            require(
                low_freq_factor.is_finite()
                    && high_freq_factor.is_finite()
                    && low_freq_factor > 0.0
                    && high_freq_factor > low_freq_factor,
                || format!("rope frequency factors are {low_freq_factor} and {high_freq_factor}"),
            )?;
            require(
                (1..=CONTEXT_TOKENS_MAX).contains(&original_context_tokens),
                || format!("original_max_position_embeddings is {original_context_tokens}"),
            )?;
        }
        Ok(())
    }

    /// Radians per position for each pair of a head, as transformers computes them (in f32).
    pub(crate) fn inverse_frequencies(&self, head_dim: usize) -> Vec<f32> {
        (0..head_dim / 2)
            .map(|pair| 1.0 / self.theta.powf((2 * pair) as f32 / head_dim as f32))
            .map(|frequency| self.scaling.apply(frequency))
            .collect()
    }
}

impl RopeScaling {
    fn apply(&self, frequency: f32) -> f32 {
        let Self::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_context_tokens,
        } = *self
        else {
            return frequency;
        };
        let context = original_context_tokens as f32;
        let wavelength = std::f32::consts::TAU / frequency;
        if wavelength < context / high_freq_factor {
            frequency
        } else if wavelength > context / low_freq_factor {
            frequency / factor
        } else {
            let smooth = (context / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
            (1.0 - smooth) * frequency / factor + smooth * frequency
        }
    }
}

fn require(holds: bool, reason: impl FnOnce() -> String) -> Result<(), InferenceError> {
    if holds {
        return Ok(());
    }
    Err(InferenceError::FileMalformed {
        file: "config.json".to_owned(),
        reason: reason(),
    })
}
