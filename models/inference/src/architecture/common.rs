//! What the families share: the dimensions, and the lists of layers.

use super::fields::{Fields, unsupported};
use super::rotary::RopeContext;
use crate::config::{Activation, DecoderConfig, LAYERS_MAX, LayerConfig, MlpConfig, Rope};
use crate::error::InferenceError;

/// The defaults of a family's configuration class in transformers, which a saved config leaves out.
pub(super) struct Defaults {
    pub(super) kv_heads: Option<usize>,
    pub(super) head_dim: Option<usize>,
    pub(super) context_tokens_max: usize,
    pub(super) epsilon: f32,
    pub(super) theta: f32,
    pub(super) tied_embeddings: bool,
}

impl Defaults {
    /// Those of Llama, which most families repeat.
    pub(super) const LLAMA: Self = Self {
        kv_heads: None,
        head_dim: None,
        context_tokens_max: 2048,
        epsilon: 1e-6,
        theta: 10_000.0,
        tied_embeddings: false,
    };
}

/// The dimensions in a config whose layers and ropes are still to come. The second value is the number of layers.
pub(super) fn dimensions(
    fields: &mut Fields,
    defaults: &Defaults,
) -> Result<(DecoderConfig, usize), InferenceError> {
    let heads: usize = fields.required("num_attention_heads")?;
    let hidden: usize = fields.required("hidden_size")?;
    let kv_heads = match (
        fields.is_present("num_key_value_heads"),
        fields.take("num_key_value_heads")?,
    ) {
        (false, _) => defaults.kv_heads.unwrap_or(heads),
        (true, kv_heads) => kv_heads.unwrap_or(heads),
    };
    let given = match (fields.is_present("head_dim"), fields.take("head_dim")?) {
        (false, _) => defaults.head_dim,
        (true, head_dim) => head_dim,
    };
    let head_dim = match given {
        Some(head_dim) => head_dim,
        None if heads > 0 && hidden.is_multiple_of(heads) => hidden / heads,
        None => return Err(fields.malformed("hidden_size does not divide among num_attention_heads")),
    };
    let layers: usize = fields.required("num_hidden_layers")?;
    if layers > LAYERS_MAX {
        return Err(fields.malformed(&format!("num_hidden_layers is {layers}")));
    }
    let config = DecoderConfig {
        vocabulary: fields.required("vocab_size")?,
        hidden,
        heads,
        kv_heads,
        head_dim,
        norm_epsilon: fields.or("rms_norm_eps", defaults.epsilon)?,
        norm_offset: 0.0,
        norms_after: false,
        context_tokens_max: fields.or("max_position_embeddings", defaults.context_tokens_max)?,
        tied_embeddings: fields.or("tie_word_embeddings", defaults.tied_embeddings)?,
        embedding_scale: 1.0,
        score_scale: (head_dim as f32).sqrt().recip(),
        score_softcap: None,
        logit_softcap: None,
        query_key_value_bias: false,
        output_bias: false,
        mlp_bias: false,
        query_key_norm: false,
        sinks: false,
        activation: Activation::Silu,
        fused_tensors: false,
        ropes: Vec::new(),
        layers: Vec::new(),
    };
    Ok((config, layers))
}

/// One rope for all layers.
pub(super) fn rope(
    fields: &mut Fields,
    config: &DecoderConfig,
    defaults: &Defaults,
) -> Result<Rope, InferenceError> {
    super::rotary::rope(fields, &rope_context(config, defaults))
}

pub(super) fn rope_context(config: &DecoderConfig, defaults: &Defaults) -> RopeContext {
    RopeContext {
        default_theta: defaults.theta,
        head_dim: config.head_dim,
        context_tokens_max: config.context_tokens_max,
        old_names_of_longrope: false,
        partial: false,
        query_growth: false,
    }
}

/// `hidden_act`, or another name for it.
pub(super) fn activation(
    fields: &mut Fields,
    name: &str,
    default: &str,
) -> Result<Activation, InferenceError> {
    match fields.or(name, default.to_owned())?.as_str() {
        "silu" | "swish" => Ok(Activation::Silu),
        "gelu_pytorch_tanh" | "gelu_new" => Ok(Activation::GeluTanh),
        "gelu" => Ok(Activation::Gelu),
        other => Err(unsupported("hidden_act", other, "silu, gelu_pytorch_tanh, gelu")),
    }
}

/// Layers that differ in nothing.
pub(super) fn equal_layers(count: usize, window: Option<usize>, intermediate: usize) -> Vec<LayerConfig> {
    vec![
        LayerConfig {
            window,
            rope: Some(0),
            mlp: MlpConfig::Dense { intermediate },
        };
        count
    ]
}

/// Which layers slide: `layer_types`, or else `by_default` of the layer's number.
pub(super) fn sliding_layers(
    fields: &mut Fields,
    layers: usize,
    by_default: impl Fn(usize) -> bool,
) -> Result<Vec<bool>, InferenceError> {
    let Some(types) = fields.take::<Vec<String>>("layer_types")? else {
        return Ok((0..layers).map(by_default).collect());
    };
    if types.len() != layers {
        return Err(fields.malformed(&format!(
            "layer_types has {} entries for {layers} layers",
            types.len()
        )));
    }
    types
        .iter()
        .map(|kind| match kind.as_str() {
            "full_attention" => Ok(false),
            "sliding_attention" => Ok(true),
            other => Err(unsupported(
                "layer_types",
                other,
                "full_attention, sliding_attention",
            )),
        })
        .collect()
}

/// Gives each sliding layer its window.
pub(super) fn slide(
    layers: &mut [LayerConfig],
    sliding: &[bool],
    window: Option<usize>,
    fields: &Fields,
) -> Result<(), InferenceError> {
    for (layer, sliding) in layers.iter_mut().zip(sliding) {
        if *sliding {
            let window =
                window.ok_or_else(|| fields.malformed("layers slide and sliding_window is missing"))?;
            layer.window = Some(window);
        }
    }
    Ok(())
}
