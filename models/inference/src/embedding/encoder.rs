//! Encoders: every token sees every other, norms come after the sums (BERT, Devlin et al., 2018). Nomic's differs
//! in rotary positions, a gated MLP and the lack of biases.

use candle_core::{Result, Tensor, bail};
use zeroize::Zeroizing;

use crate::architecture::CONFIG_FILE;
use crate::architecture::fields::{Fields, unsupported};
use crate::architecture::rotary::{self, RopeContext};
use crate::checkpoint::Checkpoint;
use crate::config::{Activation, CONTEXT_TOKENS_MAX, DIMENSION_MAX, LAYERS_MAX, Rope};
use crate::decoder::Interrupt;
use crate::decoder::linear::Linear;
use crate::decoder::ops::{
    LayerNorm, RotaryTable, Rotation, Weights, activated, attend_both_ways, gated, gelu, gelu_tanh, values_of,
};
use crate::error::InferenceError;

/// What `config.json` calls those that are known.
pub(super) const MODEL_TYPES: [&str; 2] = ["bert", "nomic_bert"];

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

#[derive(Debug)]
struct EncoderConfig {
    vocabulary: usize,
    hidden: usize,
    heads: usize,
    head_dim: usize,
    intermediate: usize,
    layers: usize,
    tokens_max: usize,
    segments: usize,
    epsilon: f32,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// Learnt positions, biases, one activation.
    Bert { activation: fn(f32) -> f32 },
    /// Rotary positions, no biases, a gate.
    Nomic { rope: Rope },
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
    fn parse(config_json: &[u8]) -> std::result::Result<Self, InferenceError> {
        let mut fields = Fields::parse(config_json)?;
        let model_type: String = fields.required("model_type")?;
        let config = match model_type.as_str() {
            "bert" => Self::bert(&mut fields)?,
            _ if fields.is_present("n_embd") => Self::nomic_as_published(&mut fields)?,
            _ => Self::nomic(&mut fields)?,
        };
        // Of the tokenizer and of generation; an encoder has no use for it.
        fields.take::<serde_json::Value>("eos_token_id")?;
        fields.take::<bool>("tie_word_embeddings")?;
        fields.finish()?;
        config.validated()
    }

    fn bert(fields: &mut Fields) -> std::result::Result<Self, InferenceError> {
        fields.only("position_embedding_type", "absolute".to_owned(), "absolute")?;
        fields.only("is_decoder", false, "false")?;
        let activation: fn(f32) -> f32 = match fields.or("hidden_act", "gelu".to_owned())?.as_str() {
            "gelu" => gelu,
            "gelu_new" | "gelu_pytorch_tanh" => gelu_tanh,
            other => return Err(unsupported("hidden_act", other, "gelu, gelu_new")),
        };
        Self::shared(fields, 512, Form::Bert { activation })
    }

    fn nomic(fields: &mut Fields) -> std::result::Result<Self, InferenceError> {
        fields.only("hidden_act", "silu".to_owned(), "silu")?;
        let placeholder = Form::Nomic {
            rope: Rope::plain(1000.0, 2),
        };
        let mut config = Self::shared(fields, 2048, placeholder)?;
        let context = RopeContext {
            default_theta: 1000.0,
            head_dim: config.head_dim,
            context_tokens_max: config.tokens_max,
            old_names_of_longrope: false,
            partial: false,
            query_growth: false,
        };
        config.form = Form::Nomic {
            rope: rotary::rope(fields, &context)?,
        };
        Ok(config)
    }

    fn shared(
        fields: &mut Fields,
        tokens_max: usize,
        form: Form,
    ) -> std::result::Result<Self, InferenceError> {
        let (hidden, heads): (usize, usize) = (
            fields.required("hidden_size")?,
            fields.required("num_attention_heads")?,
        );
        let head_dim = match fields.take("head_dim")? {
            Some(head_dim) => head_dim,
            None if heads > 0 && hidden.is_multiple_of(heads) => hidden / heads,
            None => return Err(fields.malformed("hidden_size does not divide among num_attention_heads")),
        };
        Ok(Self {
            vocabulary: fields.required("vocab_size")?,
            hidden,
            heads,
            head_dim,
            intermediate: fields.required("intermediate_size")?,
            layers: fields.required("num_hidden_layers")?,
            tokens_max: fields.or("max_position_embeddings", tokens_max)?,
            segments: fields.or("type_vocab_size", 2)?,
            epsilon: fields.or("layer_norm_eps", 1e-12)?,
            form,
        })
    }

    /// The names of the code that nomic publishes with its models.
    fn nomic_as_published(fields: &mut Fields) -> std::result::Result<Self, InferenceError> {
        fields.only("activation_function", "swiglu".to_owned(), "swiglu")?;
        fields.only("rotary_emb_fraction", 1.0_f64, "1")?;
        fields.only("scale_attn_weights", true, "true")?;
        // Bookkeeping of its training code.
        for name in ["max_trained_positions", "use_xentropy", "attn_pdrop"] {
            fields.take::<serde_json::Value>(name)?;
        }
        let (hidden, heads): (usize, usize) = (fields.required("n_embd")?, fields.required("n_head")?);
        if heads == 0 || !hidden.is_multiple_of(heads) {
            return Err(fields.malformed("n_embd does not divide among n_head"));
        }
        let theta = fields.or("rotary_emb_base", 1000.0)?;
        Ok(Self {
            vocabulary: fields.required("vocab_size")?,
            hidden,
            heads,
            head_dim: hidden / heads,
            intermediate: fields.required("n_inner")?,
            layers: fields.required("n_layer")?,
            tokens_max: fields.or("n_positions", 2048)?,
            segments: fields.or("type_vocab_size", 2)?,
            epsilon: fields.or("layer_norm_epsilon", 1e-12)?,
            form: Form::Nomic {
                rope: Rope::plain(theta, hidden / heads),
            },
        })
    }

    fn validated(self) -> std::result::Result<Self, InferenceError> {
        let bounds = [
            ("vocab_size", self.vocabulary, 1, DIMENSION_MAX),
            ("hidden_size", self.hidden, 1, DIMENSION_MAX),
            ("num_attention_heads", self.heads, 1, DIMENSION_MAX),
            ("head_dim", self.head_dim, 2, DIMENSION_MAX),
            ("intermediate_size", self.intermediate, 1, DIMENSION_MAX / 2),
            ("num_hidden_layers", self.layers, 1, LAYERS_MAX),
            ("max_position_embeddings", self.tokens_max, 1, CONTEXT_TOKENS_MAX),
            ("type_vocab_size", self.segments, 0, DIMENSION_MAX),
        ];
        let malformed = |name: &str, value: String| InferenceError::FileMalformed {
            file: CONFIG_FILE.to_owned(),
            reason: format!("{name} is {value}"),
        };
        for (name, value, min, max) in bounds {
            if !(min..=max).contains(&value) {
                return Err(malformed(name, value.to_string()));
            }
        }
        if self.heads * self.head_dim > DIMENSION_MAX / 4 {
            return Err(malformed("the width of attention", self.heads.to_string()));
        }
        if !(self.epsilon.is_finite() && self.epsilon > 0.0) {
            return Err(malformed("layer_norm_eps", self.epsilon.to_string()));
        }
        if let Form::Nomic { rope } = &self.form {
            rope.validate(self.head_dim)?;
        }
        Ok(self)
    }

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
