//! What a decoder is made of, validated. The rest of the crate computes with these numbers unchecked.

pub(crate) mod rope;

pub(crate) use rope::{Rope, RopeScaling};

use crate::error::InferenceError;

/// Largest value of any single dimension (hidden, intermediate, vocabulary, heads times head width).
/// Products of two of them stay far below `usize::MAX`.
pub(crate) const DIMENSION_MAX: usize = 1 << 24;
/// Most layers.
pub(crate) const LAYERS_MAX: usize = 1024;
/// Most experts of a layer.
pub(crate) const EXPERTS_MAX: usize = 4096;
/// Longest context any checkpoint may claim.
pub(crate) const CONTEXT_TOKENS_MAX: usize = 1 << 24;

/// A decoder with grouped-query attention, rotary positions and gated MLPs. Families differ in these values.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DecoderConfig {
    pub(crate) vocabulary: usize,
    pub(crate) hidden: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) norm_epsilon: f32,
    /// Added to the weights of every norm as they are stored: 1 in Gemma's checkpoints, else 0.
    pub(crate) norm_offset: f32,
    /// Norms after attention and after the MLP as well as before (Gemma).
    pub(crate) norms_after: bool,
    pub(crate) context_tokens_max: usize,
    pub(crate) tied_embeddings: bool,
    /// Embedding rows are multiplied by this.
    pub(crate) embedding_scale: f32,
    /// Scores of attention are multiplied by this.
    pub(crate) score_scale: f32,
    /// `c * tanh(scores / c)`.
    pub(crate) score_softcap: Option<f32>,
    /// `c * tanh(logits / c)`.
    pub(crate) logit_softcap: Option<f32>,
    pub(crate) query_key_value_bias: bool,
    pub(crate) output_bias: bool,
    pub(crate) mlp_bias: bool,
    /// A norm per head on queries and keys (Qwen3, Gemma 3).
    pub(crate) query_key_norm: bool,
    /// A learnt score per head that takes a share of the softmax and gives nothing (gpt-oss).
    pub(crate) sinks: bool,
    pub(crate) activation: Activation,
    /// Tensors come fused: `qkv_proj`, `gate_up_proj` (Phi-3).
    pub(crate) fused_tensors: bool,
    /// The rotary tables that layers choose from.
    pub(crate) ropes: Vec<Rope>,
    pub(crate) layers: Vec<LayerConfig>,
}

/// What differs from layer to layer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LayerConfig {
    /// A token sees itself and this many less one before it; `None`: all.
    pub(crate) window: Option<usize>,
    /// Index into [`DecoderConfig::ropes`]; `None`: no positions.
    pub(crate) rope: Option<usize>,
    pub(crate) mlp: MlpConfig,
}

/// The second half of a layer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum MlpConfig {
    /// One gated MLP.
    Dense { intermediate: usize },
    /// Several, of which a router chooses for each token.
    Experts(ExpertsConfig),
}

/// A mixture of experts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ExpertsConfig {
    pub(crate) count: usize,
    pub(crate) per_token: usize,
    pub(crate) intermediate: usize,
    pub(crate) shares: Shares,
    pub(crate) layout: ExpertsLayout,
}

/// How the router's logits become the shares of the chosen experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shares {
    /// Softmax over all experts; the chosen ones keep their probability.
    Kept,
    /// Softmax over all experts, then scaled so that the chosen ones sum to 1.
    Normalised,
    /// Softmax over the logits of the chosen ones (gpt-oss).
    Chosen,
}

/// How experts lie in a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExpertsLayout {
    /// `mlp.gate` and `mlp.experts.N.{gate,up,down}_proj`, or the same fused over the experts (Qwen3).
    PerExpert,
    /// `mlp.router` and `mlp.experts.{gate_up_proj,down_proj}` transposed, with biases (gpt-oss).
    Transposed,
}

/// Between gate and up projection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Activation {
    /// `silu(gate) * up`.
    Silu,
    /// `gelu(gate) * up` with the tanh approximation.
    GeluTanh,
    /// `gelu(gate) * up` with the error function.
    Gelu,
    /// gpt-oss: `gate * sigmoid(alpha * gate) * (up + 1)`, both clamped at `limit`.
    ClampedSwiglu { alpha: f32, limit: f32 },
}

impl DecoderConfig {
    /// Checks every bound and relation between the fields.
    pub(crate) fn validated(self) -> Result<Self, InferenceError> {
        let dimensions = [
            ("vocab_size", self.vocabulary),
            ("hidden_size", self.hidden),
            ("num_attention_heads", self.heads),
            ("num_key_value_heads", self.kv_heads),
            ("head_dim", self.head_dim),
        ];
        for (name, value) in dimensions {
            dimension(name, value)?;
        }
        require((1..=LAYERS_MAX).contains(&self.layers.len()), || {
            format!("num_hidden_layers is {}", self.layers.len())
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
        for scale in [self.embedding_scale, self.score_scale] {
            require(scale.is_finite() && scale > 0.0, || format!("a scale is {scale}"))?;
        }
        for cap in [self.score_softcap, self.logit_softcap].into_iter().flatten() {
            require(cap.is_finite() && cap > 0.0, || format!("a softcap is {cap}"))?;
        }
        if let Activation::ClampedSwiglu { alpha, limit } = self.activation {
            require(alpha.is_finite() && limit.is_finite() && limit > 0.0, || {
                format!("swiglu_alpha is {alpha}, swiglu_limit is {limit}")
            })?;
        }
        self.ropes
            .iter()
            .try_for_each(|rope| rope.validate(self.head_dim))?;
        self.layers
            .iter()
            .try_for_each(|layer| layer.validate(self.ropes.len()))?;
        Ok(self)
    }

    /// Whether a sequence that grows long must be computed again from its first token.
    pub(crate) fn computes_again(&self) -> bool {
        let changes = |rope: &Rope| matches!(rope.scaling, RopeScaling::LongRope { .. });
        self.ropes.iter().any(changes)
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

impl LayerConfig {
    fn validate(&self, ropes: usize) -> Result<(), InferenceError> {
        require(self.window != Some(0), || "sliding_window is 0".to_owned())?;
        require(self.rope.is_none_or(|rope| rope < ropes), || {
            "a layer names a rope that is not there".to_owned()
        })?;
        match &self.mlp {
            MlpConfig::Dense { intermediate } => dimension("intermediate_size", *intermediate),
            MlpConfig::Experts(experts) => {
                dimension("intermediate size of experts", experts.intermediate)?;
                require((1..=EXPERTS_MAX).contains(&experts.count), || {
                    format!("num_experts is {}", experts.count)
                })?;
                require((1..=experts.count).contains(&experts.per_token), || {
                    format!("num_experts_per_tok is {}", experts.per_token)
                })
            }
        }
    }
}

fn dimension(name: &str, value: usize) -> Result<(), InferenceError> {
    require((1..=DIMENSION_MAX).contains(&value), || {
        format!("{name} is {value}")
    })
}

pub(crate) fn require(holds: bool, reason: impl FnOnce() -> String) -> Result<(), InferenceError> {
    if holds {
        return Ok(());
    }
    Err(InferenceError::FileMalformed {
        file: "config.json".to_owned(),
        reason: reason(),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Two layers, for tests of other modules.
    pub(crate) fn tiny() -> DecoderConfig {
        let layer = LayerConfig {
            window: None,
            rope: Some(0),
            mlp: MlpConfig::Dense { intermediate: 8 },
        };
        DecoderConfig {
            vocabulary: 8,
            hidden: 8,
            heads: 2,
            kv_heads: 2,
            head_dim: 4,
            norm_epsilon: 1e-6,
            norm_offset: 0.0,
            norms_after: false,
            context_tokens_max: 16,
            tied_embeddings: true,
            embedding_scale: 1.0,
            score_scale: 0.5,
            score_softcap: None,
            logit_softcap: None,
            query_key_value_bias: false,
            output_bias: false,
            mlp_bias: false,
            query_key_norm: false,
            sinks: false,
            activation: Activation::Silu,
            fused_tensors: false,
            ropes: vec![Rope::plain(1e4, 4)],
            layers: vec![layer.clone(), layer],
        }
    }

    #[test]
    fn a_layer_cannot_name_what_is_not_there() {
        assert!(tiny().validated().is_ok());
        let mut config = tiny();
        config.layers[1].rope = Some(1);
        assert!(config.validated().is_err());
        let mut config = tiny();
        config.layers[1].window = Some(0);
        assert!(config.validated().is_err());
    }
}
