//! The configs of encoders, in the forms in which they are published.

use crate::architecture::CONFIG_FILE;
use crate::architecture::fields::{Fields, unsupported};
use crate::architecture::rotary::{self, RopeContext};
use crate::config::{CONTEXT_TOKENS_MAX, DIMENSION_MAX, LAYERS_MAX, Rope};
use crate::decoder::ops::cpu::{gelu, gelu_tanh};
use crate::error::InferenceError;

/// What `config.json` calls those that are known.
pub(super) const MODEL_TYPES: [&str; 2] = ["bert", "nomic_bert"];

/// Shape of an encoder, validated.
#[derive(Debug)]
pub(super) struct EncoderConfig {
    pub(super) vocabulary: usize,
    pub(super) hidden: usize,
    pub(super) heads: usize,
    pub(super) head_dim: usize,
    pub(super) intermediate: usize,
    pub(super) layers: usize,
    pub(super) tokens_max: usize,
    pub(super) segments: usize,
    pub(super) epsilon: f32,
    pub(super) form: Form,
}

/// What differs between the kinds.
#[derive(Debug)]
pub(super) enum Form {
    /// Learnt positions, biases, one activation.
    Bert { activation: fn(f32) -> f32 },
    /// Rotary positions, no biases, a gate.
    Nomic { rope: Rope },
}

impl EncoderConfig {
    /// Reads `config.json`; a field that is not honoured is refused by its name.
    pub(super) fn parse(config_json: &[u8]) -> std::result::Result<Self, InferenceError> {
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
}
