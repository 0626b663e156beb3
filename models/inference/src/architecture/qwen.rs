//! Qwen2 and 2.5 (biases of queries, keys, values), Qwen3 (norms of queries and keys), Qwen3 mixtures of experts.

use super::common::{Defaults, activation, dimensions, equal_layers, rope, slide, sliding_layers};
use super::fields::Fields;
use crate::config::{DecoderConfig, ExpertsConfig, ExpertsLayout, MlpConfig, Shares};
use crate::error::InferenceError;

const QWEN2: Defaults = Defaults {
    kv_heads: Some(32),
    context_tokens_max: 32_768,
    ..Defaults::LLAMA
};
const QWEN3: Defaults = Defaults {
    head_dim: Some(128),
    ..QWEN2
};
const QWEN3_MOE: Defaults = Defaults {
    kv_heads: Some(4),
    ..QWEN2
};
const DEFAULT_WINDOW: usize = 4096;
const DEFAULT_FIRST_SLIDING_LAYER: usize = 28;

pub(super) fn parse_2(fields: &mut Fields) -> Result<DecoderConfig, InferenceError> {
    let (mut config, layers) = shared(fields, &QWEN2)?;
    config.query_key_value_bias = true;
    config.layers = equal_layers(layers, None, fields.required("intermediate_size")?);
    slide_from_a_layer(fields, &mut config)?;
    Ok(config)
}

pub(super) fn parse_3(fields: &mut Fields) -> Result<DecoderConfig, InferenceError> {
    let (mut config, layers) = shared(fields, &QWEN3)?;
    qwen_3_attention(fields, &mut config)?;
    config.layers = equal_layers(layers, None, fields.required("intermediate_size")?);
    slide_from_a_layer(fields, &mut config)?;
    Ok(config)
}

pub(super) fn parse_3_experts(fields: &mut Fields) -> Result<DecoderConfig, InferenceError> {
    let (mut config, layers) = shared(fields, &QWEN3_MOE)?;
    qwen_3_attention(fields, &mut config)?;
    config.layers = equal_layers(layers, window(fields)?, fields.or("intermediate_size", 6144)?);
    // Written by older versions and read by none.
    fields.take::<usize>("max_window_layers")?;
    let shares = if fields.or("norm_topk_prob", false)? {
        Shares::Normalised
    } else {
        Shares::Kept
    };
    // transformers 5 has a second name for it.
    let counts = [fields.take("num_experts")?, fields.take("num_local_experts")?];
    let count = match counts {
        [Some(one), Some(other)] if one != other => {
            return Err(fields.malformed("num_experts and num_local_experts differ"));
        }
        [one, other] => one.or(other).unwrap_or(128),
    };
    let experts = ExpertsConfig {
        count,
        per_token: fields.or("num_experts_per_tok", 8)?,
        intermediate: fields.or("moe_intermediate_size", 768)?,
        shares,
        layout: ExpertsLayout::PerExpert,
    };
    let step: usize = fields.or("decoder_sparse_step", 1)?;
    if step == 0 {
        return Err(fields.malformed("decoder_sparse_step is 0"));
    }
    let dense: Vec<usize> = fields.or("mlp_only_layers", Vec::new())?;
    for (index, layer) in config.layers.iter_mut().enumerate() {
        if experts.count > 0 && (index + 1).is_multiple_of(step) && !dense.contains(&index) {
            layer.mlp = MlpConfig::Experts(experts.clone());
        }
    }
    Ok(config)
}

fn shared(fields: &mut Fields, defaults: &Defaults) -> Result<(DecoderConfig, usize), InferenceError> {
    let (mut config, layers) = dimensions(fields, defaults)?;
    config.activation = activation(fields, "hidden_act", "silu")?;
    config.ropes = vec![rope(fields, &config, defaults)?];
    Ok((config, layers))
}

fn qwen_3_attention(fields: &mut Fields, config: &mut DecoderConfig) -> Result<(), InferenceError> {
    config.query_key_norm = true;
    config.query_key_value_bias = fields.or("attention_bias", false)?;
    config.output_bias = config.query_key_value_bias;
    Ok(())
}

/// `sliding_window` counts only where `use_sliding_window` says so.
fn window(fields: &mut Fields) -> Result<Option<usize>, InferenceError> {
    let window = if fields.is_present("sliding_window") {
        fields.take("sliding_window")?
    } else {
        Some(DEFAULT_WINDOW)
    };
    let used = fields.or("use_sliding_window", false)?;
    Ok(window.filter(|_| used))
}

fn slide_from_a_layer(fields: &mut Fields, config: &mut DecoderConfig) -> Result<(), InferenceError> {
    let window = window(fields)?;
    let first: usize = fields.or("max_window_layers", DEFAULT_FIRST_SLIDING_LAYER)?;
    let by_default = |layer| window.is_some() && layer >= first;
    let sliding = sliding_layers(fields, config.layers.len(), by_default)?;
    slide(&mut config.layers, &sliding, window, fields)
}
