//! Encoders: every token sees every other, norms come after the sums (BERT, Devlin et al., 2018). Nomic's differs
//! in rotary positions, a gated MLP and the lack of biases.

use candle_core::{Result, Tensor, bail};
use zeroize::Zeroizing;

use super::encoder_config::{EncoderConfig, Form};
use crate::checkpoint::Checkpoint;
use crate::config::Activation;
use crate::decoder::Interrupt;
use crate::decoder::linear::Linear;
use crate::decoder::ops::Weights;
use crate::decoder::ops::cpu::{
    LayerNorm, RotaryTable, Rotation, activated, attend_both_ways, gated, values_of,
};
use crate::error::InferenceError;

/// Weights and shape; nothing in it changes.
pub(super) struct Encoder {
    config: EncoderConfig,
    words: Weights,
    /// Learnt positions; rotary ones come with the layers.
    positions: Option<Weights>,
    /// The row of segment 0 in each of its elements: texts here have one segment.
    segment: Vec<f32>,
    norm: LayerNorm,
    table: Option<RotaryTable>,
    layers: Vec<Layer>,
}

struct Layer {
    query_key_value: Linear,
    output: Linear,
    attention_norm: LayerNorm,
    first: Linear,
    second: Linear,
    mlp_norm: LayerNorm,
}

impl Encoder {
    pub(super) fn load(
        config_json: &[u8],
        mut checkpoint: Checkpoint<'_>,
    ) -> std::result::Result<Self, InferenceError> {
        let config = EncoderConfig::parse(config_json)?;
        checkpoint.rename(newer_name);
        let hidden = config.hidden;
        let words = checkpoint.weights(
            &[("embeddings.word_embeddings.weight", config.vocabulary)],
            hidden,
        )?;
        let (positions, table) = match &config.form {
            Form::Bert { .. } => {
                let name = "embeddings.position_embeddings.weight";
                (
                    Some(checkpoint.weights(&[(name, config.tokens_max)], hidden)?),
                    None,
                )
            }
            Form::Nomic { rope } => (None, Some(RotaryTable::new(rope))),
        };
        let mut segment = vec![0.0; hidden];
        if config.segments > 0 {
            let name = "embeddings.token_type_embeddings.weight";
            let rows = checkpoint.floats(name, &[config.segments, hidden])?;
            segment.copy_from_slice(&rows[..hidden]);
        }
        let norm = config.norm(&mut checkpoint, "embeddings.LayerNorm")?;
        let layers = (0..config.layers)
            .map(|layer| Layer::load(&config, &mut checkpoint, &format!("encoder.layer.{layer}")))
            .collect::<std::result::Result<_, _>>()?;
        // Positions of the library's own buffers, and the pooler that sentence vectors do not use.
        for name in [
            "embeddings.position_ids",
            "embeddings.token_type_ids",
            "pooler.dense.weight",
            "pooler.dense.bias",
        ] {
            checkpoint.ignore(name);
        }
        // The head of masked language modelling, where a checkpoint still has it.
        checkpoint.ignore_prefix("cls.");
        checkpoint.finish()?;
        Ok(Self {
            config,
            words,
            positions,
            segment,
            norm,
            table,
            layers,
        })
    }

    pub(super) fn vocabulary(&self) -> usize {
        self.config.vocabulary
    }

    pub(super) fn hidden(&self) -> usize {
        self.config.hidden
    }

    pub(super) fn tokens_max(&self) -> usize {
        self.config.tokens_max
    }

    /// A row per token, or `None` when interrupted.
    pub(super) fn states(
        &self,
        tokens: &[u32],
        interrupt: &dyn Interrupt,
    ) -> Result<Option<Zeroizing<Vec<f32>>>> {
        let config = &self.config;
        if tokens.is_empty() || tokens.len() > config.tokens_max {
            bail!("{} tokens for an encoder of {}", tokens.len(), config.tokens_max);
        }
        if tokens.iter().any(|token| *token as usize >= config.vocabulary) {
            bail!("a token is beyond the vocabulary");
        }
        let mut hidden = self.words.rows(tokens)?;
        if let Some(positions) = &self.positions {
            let numbers: Vec<u32> = (0..tokens.len() as u32).collect();
            hidden = (hidden + positions.rows(&numbers)?)?;
        }
        let segment = Tensor::from_slice(&self.segment, self.segment.len(), hidden.device())?;
        hidden = self.norm.forward(&hidden.broadcast_add(&segment)?)?;
        let rotation = self.table.as_ref().map(|table| {
            let all = (0, tokens.len(), tokens.len());
            Rotation::new(table, std::iter::once(all))
        });
        for layer in &self.layers {
            if interrupt.is_interrupted() {
                return Ok(None);
            }
            hidden = layer.forward(&hidden, config, rotation.as_ref())?;
        }
        values_of(&hidden).map(|states| Some(Zeroizing::new(states)))
    }
}

impl Layer {
    fn load(
        config: &EncoderConfig,
        checkpoint: &mut Checkpoint<'_>,
        prefix: &str,
    ) -> std::result::Result<Self, InferenceError> {
        let (hidden, width) = (config.hidden, config.heads * config.head_dim);
        let bias = matches!(config.form, Form::Bert { .. });
        let name = |name: &str| format!("{prefix}.{name}");
        let names = ["query", "key", "value", "fused"].map(|part| name(&format!("attention.self.{part}")));
        let [query, key, value, fused] = names.each_ref().map(|name| (name.as_str(), width));
        let query_key_value = if checkpoint.has(&format!("{}.weight", fused.0)) {
            Linear::load(checkpoint, &[(fused.0, 3 * width)], hidden, bias)?
        } else {
            Linear::load(checkpoint, &[query, key, value], hidden, bias)?
        };
        let output = name("attention.output.dense");
        let output = Linear::load(checkpoint, &[(&output, hidden)], width, bias)?;
        let attention_norm = config.norm(checkpoint, &name("attention.output.LayerNorm"))?;
        let (first, gate) = (name("intermediate.dense"), name("intermediate.gate"));
        let first: &[(&str, usize)] = match config.form {
            Form::Bert { .. } => &[(&first, config.intermediate)],
            Form::Nomic { .. } => &[(&gate, config.intermediate), (&first, config.intermediate)],
        };
        let first = Linear::load(checkpoint, first, hidden, bias)?;
        let second = name("output.dense");
        let second = Linear::load(checkpoint, &[(&second, hidden)], config.intermediate, bias)?;
        let mlp_norm = config.norm(checkpoint, &name("output.LayerNorm"))?;
        Ok(Self {
            query_key_value,
            output,
            attention_norm,
            first,
            second,
            mlp_norm,
        })
    }

    fn forward(
        &self,
        hidden: &Tensor,
        config: &EncoderConfig,
        rotation: Option<&Rotation>,
    ) -> Result<Tensor> {
        let (rows, width) = (hidden.dim(0)?, config.heads * config.head_dim);
        let mut fused = values_of(&self.query_key_value.forward(hidden)?)?;
        if let Some(rotation) = rotation {
            for (row, fused) in fused.chunks_exact_mut(3 * width).enumerate() {
                rotation.turn(row, &mut fused[..2 * width], config.head_dim);
            }
        }
        let mixed = attend_both_ways(&fused, config.heads, config.head_dim);
        let mixed = Tensor::from_vec(mixed, (rows, width), hidden.device())?;
        let hidden = self
            .attention_norm
            .forward(&(hidden + self.output.forward(&mixed)?)?)?;
        let first = self.first.forward(&hidden)?;
        let inner = match config.form {
            Form::Bert { activation } => activated(&first, activation)?,
            Form::Nomic { .. } => gated(&first, Activation::Silu)?,
        };
        self.mlp_norm.forward(&(&hidden + self.second.forward(&inner)?)?)
    }
}

impl EncoderConfig {
    fn norm(
        &self,
        checkpoint: &mut Checkpoint<'_>,
        name: &str,
    ) -> std::result::Result<LayerNorm, InferenceError> {
        // The first checkpoints of BERT have the names of the code it was ported from.
        let older = checkpoint.has(&format!("{name}.gamma"));
        let (weight, bias) = if older {
            ("gamma", "beta")
        } else {
            ("weight", "bias")
        };
        let weight = checkpoint.floats(&format!("{name}.{weight}"), &[self.hidden])?;
        let bias = checkpoint.floats(&format!("{name}.{bias}"), &[self.hidden])?;
        Ok(LayerNorm::new(weight, bias, self.epsilon))
    }
}

/// Names of other forms as those of BERT, which the loader uses.
fn newer_name(name: &str) -> Option<String> {
    let name = name
        .strip_prefix("bert.")
        .or(name.strip_prefix("model."))
        .unwrap_or(name);
    if let Some(rest) = name.strip_prefix("emb_ln.") {
        return Some(format!("embeddings.LayerNorm.{rest}"));
    }
    let layer = name
        .strip_prefix("encoder.layers.")
        .or(name.strip_prefix("layers."));
    let Some((number, part)) = layer.and_then(|layer| layer.split_once('.')) else {
        return Some(name.to_owned());
    };
    let (part, suffix) = part.rsplit_once('.')?;
    let part = match part {
        "attn.Wqkv" => "attention.self.fused",
        "self_attn.q_proj" => "attention.self.query",
        "self_attn.k_proj" => "attention.self.key",
        "self_attn.v_proj" => "attention.self.value",
        "attn.out_proj" | "self_attn.o_proj" => "attention.output.dense",
        "norm1" | "post_attention_layernorm" => "attention.output.LayerNorm",
        "mlp.fc11" | "mlp.up_proj" => "intermediate.dense",
        "mlp.fc12" | "mlp.gate_proj" => "intermediate.gate",
        "mlp.fc2" | "mlp.down_proj" => "output.dense",
        "norm2" | "post_mlp_layernorm" => "output.LayerNorm",
        other => other,
    };
    Some(format!("encoder.layer.{number}.{part}.{suffix}"))
}
