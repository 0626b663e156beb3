//! gpt-oss: a mixture of experts with biases, attention with sinks, a sliding window in every other layer.

use super::common::{Defaults, dimensions, equal_layers, rope, slide, sliding_layers};
use super::fields::{Fields, unsupported};
use crate::config::rope::Yarn;
use crate::config::{
    Activation, DecoderConfig, ExpertsConfig, ExpertsLayout, MlpConfig, Rope, RopeScaling, Shares,
};
use crate::error::InferenceError;

const GPT_OSS: Defaults = Defaults {
    kv_heads: Some(8),
    head_dim: Some(64),
    context_tokens_max: 131_072,
    epsilon: 1e-5,
    theta: 150_000.0,
    tied_embeddings: false,
};
const DEFAULT_WINDOW: usize = 128;

pub(super) fn parse(fields: &mut Fields) -> Result<DecoderConfig, InferenceError> {
    let (mut config, layers) = dimensions(fields, &GPT_OSS)?;
    fields.only("hidden_act", "silu".to_owned(), "silu")?;
    config.query_key_value_bias = fields.or("attention_bias", true)?;
    config.output_bias = config.query_key_value_bias;
    config.sinks = true;
    config.activation = Activation::ClampedSwiglu {
        alpha: fields.or("swiglu_alpha", 1.702)?,
        limit: fields.or("swiglu_limit", 7.0)?,
    };
    let names = ["num_experts_per_tok", "experts_per_token"];
    let per_token = match names.map(|name| fields.take::<usize>(name)) {
        [Ok(Some(one)), Ok(Some(other))] if one != other => {
            return Err(fields.malformed("num_experts_per_tok and experts_per_token differ"));
        }
        [one, other] => one?.or(other?).unwrap_or(4),
    };
    let counts = [fields.take("num_local_experts")?, fields.take("num_experts")?];
    let experts = ExpertsConfig {
        count: counts[0].or(counts[1]).unwrap_or(128),
        per_token,
        intermediate: fields.required("intermediate_size")?,
        shares: Shares::Chosen,
        layout: ExpertsLayout::Transposed,
    };
    config.layers = equal_layers(layers, None, experts.intermediate);
    config
        .layers
        .iter_mut()
        .for_each(|layer| layer.mlp = MlpConfig::Experts(experts.clone()));
    let window = if fields.is_present("sliding_window") {
        fields.take("sliding_window")?
    } else {
        Some(DEFAULT_WINDOW)
    };
    let sliding = sliding_layers(fields, layers, |layer| layer.is_multiple_of(2))?;
    slide(&mut config.layers, &sliding, window, fields)?;
    config.ropes = vec![
        if fields.is_present("rope_parameters") || fields.is_present("rope_scaling") {
            rope(fields, &config, &GPT_OSS)?
        } else {
            default_rope(fields.or("rope_theta", GPT_OSS.theta)?, config.head_dim)
        },
    ];
    mxfp4(fields)?;
    Ok(config)
}

/// What the configuration class takes where nothing is given.
fn default_rope(theta: f32, head_dim: usize) -> Rope {
    let yarn = Yarn {
        factor: 32.0,
        beta_fast: 32.0,
        beta_slow: 1.0,
        original_context_tokens: 4096,
        truncate: false,
        attention_factor: Yarn::default_attention_factor(32.0, None, None) as f32,
    };
    Rope {
        scaling: RopeScaling::Yarn(yarn),
        ..Rope::plain(theta, head_dim)
    }
}

/// The published checkpoints hold their experts in MXFP4; the tensors themselves say which are.
fn mxfp4(fields: &mut Fields) -> Result<(), InferenceError> {
    let Some(mut quantization) = fields.nested("quantization_config")? else {
        return Ok(());
    };
    match quantization.required::<String>("quant_method")?.as_str() {
        "mxfp4" => Ok(()),
        other => Err(unsupported("quantization_config", other, "mxfp4 for gpt-oss")),
    }
}
