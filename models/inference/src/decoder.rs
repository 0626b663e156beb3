//! The decoder: token identifiers and a cache in, logits of the next token out.
//!
//! Activations are f32 throughout. One call advances one sequence by any number of tokens (prefill) or by
//! one (decode); attention sees what the cache holds and what is given, so that a prompt may come in parts.
//!
//! 1. embedding row of each token
//! 2. per layer: norm, fused query-key-value product, rotary positions, cache, attention, output product, sum;
//!    norm, fused gate-up product, gated activation, down product, sum
//! 3. norm and head of the last token only

mod attention;
mod linear;
mod ops;

pub(crate) mod kv_cache;

#[cfg(test)]
mod oracle_tests;

use candle_core::{DType, Device, Result, Tensor, bail};

use self::attention::Attention;
use self::kv_cache::KvCache;
use self::linear::Linear;
use self::ops::{RmsNorm, Rotation, gated_silu};
use crate::checkpoint::Checkpoint;
use crate::config::DecoderConfig;
use crate::error::InferenceError;

/// Weights and shape of a model; nothing in it changes.
pub(crate) struct Decoder {
    config: DecoderConfig,
    inverse_frequencies: Vec<f32>,
    embedding: Tensor,
    layers: Vec<Layer>,
    norm: RmsNorm,
    head: Linear,
}

struct Layer {
    attention_norm: RmsNorm,
    attention: Attention,
    mlp_norm: RmsNorm,
    gate_up: Linear,
    down: Linear,
}

/// Asked between layers; a forward pass that is no longer wanted ends early.
pub(crate) trait Interrupt {
    fn is_interrupted(&self) -> bool;
}

impl Decoder {
    /// Takes every tensor that the config implies, and refuses a checkpoint that holds others.
    pub(crate) fn load(
        config: DecoderConfig,
        mut checkpoint: Checkpoint<'_>,
    ) -> std::result::Result<Self, InferenceError> {
        let hidden = config.hidden;
        let embedding = checkpoint.matrices(&[("model.embed_tokens.weight", config.vocabulary)], hidden)?;
        let layers = (0..config.layers)
            .map(|layer| Layer::load(&config, &mut checkpoint, &format!("model.layers.{layer}")))
            .collect::<std::result::Result<_, _>>()?;
        let norm = RmsNorm::new(
            checkpoint.vector("model.norm.weight", hidden)?,
            config.norm_epsilon,
        );
        let head = if config.tied_embeddings {
            checkpoint.ignore("lm_head.weight");
            embedding.clone()
        } else {
            checkpoint.matrices(&[("lm_head.weight", config.vocabulary)], hidden)?
        };
        checkpoint.finish()?;
        let inverse_frequencies = config.rope.inverse_frequencies(config.head_dim);
        Ok(Self {
            config,
            inverse_frequencies,
            embedding,
            layers,
            norm,
            head: Linear::new(head, None),
        })
    }

    /// The numbers it was built from.
    pub(crate) fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Advances the sequence of `cache` by `tokens` and returns the logits after the last of them, or `None`
    /// when interrupted. The cache then holds an unfinished step and must be dropped.
    pub(crate) fn logits(
        &self,
        tokens: &[u32],
        cache: &mut KvCache,
        interrupt: &dyn Interrupt,
    ) -> Result<Option<Tensor>> {
        let Some(hidden) = self.advance(tokens, cache, interrupt)? else {
            return Ok(None);
        };
        let last = hidden.narrow(0, tokens.len() - 1, 1)?;
        self.head
            .forward(&self.norm.forward(&last)?)?
            .squeeze(0)
            .map(Some)
    }

    /// As [`Self::logits`], for a part of the prompt that is not the last: no logits are computed.
    pub(crate) fn advance(
        &self,
        tokens: &[u32],
        cache: &mut KvCache,
        interrupt: &dyn Interrupt,
    ) -> Result<Option<Tensor>> {
        cache.check_room(tokens.len())?;
        // The lookup of the tensor library takes `u32::MAX` for a row of zeros.
        if tokens
            .iter()
            .any(|token| *token as usize >= self.config.vocabulary)
        {
            bail!("a token is beyond the vocabulary");
        }
        let rotation = Rotation::new(&self.inverse_frequencies, cache.len(), tokens.len())?;
        let rows = self
            .embedding
            .index_select(&Tensor::new(tokens, &Device::Cpu)?, 0)?;
        let mut hidden = rows.to_dtype(DType::F32)?;
        for (index, layer) in self.layers.iter().enumerate() {
            if interrupt.is_interrupted() {
                return Ok(None);
            }
            hidden = layer.forward(&hidden, &rotation, cache, index)?;
        }
        cache.advance(tokens.len());
        Ok(Some(hidden))
    }
}

impl Layer {
    fn load(
        config: &DecoderConfig,
        checkpoint: &mut Checkpoint<'_>,
        prefix: &str,
    ) -> std::result::Result<Self, InferenceError> {
        let hidden = config.hidden;
        let norm = |checkpoint: &mut Checkpoint<'_>, name: &str| {
            let weight = checkpoint.vector(&format!("{prefix}.{name}.weight"), hidden)?;
            Ok(RmsNorm::new(weight, config.norm_epsilon))
        };
        let attention_norm = norm(checkpoint, "input_layernorm")?;
        let mlp_norm = norm(checkpoint, "post_attention_layernorm")?;
        let attention = Attention::load(config, checkpoint, &format!("{prefix}.self_attn"))?;
        // Checkpoints of the first Llama carry the frequencies that the config implies.
        checkpoint.ignore(&format!("{prefix}.self_attn.rotary_emb.inv_freq"));
        let (gate, up) = (format!("{prefix}.mlp.gate_proj"), format!("{prefix}.mlp.up_proj"));
        let gate_up = [
            (gate.as_str(), config.intermediate),
            (up.as_str(), config.intermediate),
        ];
        let gate_up = Linear::load(checkpoint, &gate_up, hidden, config.mlp_bias)?;
        let down = format!("{prefix}.mlp.down_proj");
        let down = Linear::load(
            checkpoint,
            &[(&down, hidden)],
            config.intermediate,
            config.mlp_bias,
        )?;
        Ok(Self {
            attention_norm,
            attention,
            mlp_norm,
            gate_up,
            down,
        })
    }

    fn forward(
        &self,
        hidden: &Tensor,
        rotation: &Rotation,
        cache: &mut KvCache,
        index: usize,
    ) -> Result<Tensor> {
        let normed = self.attention_norm.forward(hidden)?;
        let hidden = (hidden + self.attention.forward(&normed, rotation, cache, index)?)?;
        let gate_up = self.gate_up.forward(&self.mlp_norm.forward(&hidden)?)?;
        &hidden + self.down.forward(&gated_silu(&gate_up)?)?
    }
}
