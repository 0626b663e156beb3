//! Gemma 3, text: local and global attention in turn with a rope each, norms before and after, their weights
//! stored less one, embeddings scaled by the root of their width.

use super::common::{Defaults, activation, dimensions, equal_layers, rope_context, slide, sliding_layers};
use super::fields::Fields;
use super::rotary::rope_of_each_attention;
use crate::config::DecoderConfig;
use crate::error::InferenceError;

const GEMMA_3: Defaults = Defaults {
    kv_heads: Some(4),
    head_dim: Some(256),
    context_tokens_max: 131_072,
    theta: 1_000_000.0,
    tied_embeddings: true,
    ..Defaults::LLAMA
};
const DEFAULT_LOCAL_THETA: f32 = 10_000.0;
const DEFAULT_WINDOW: usize = 4096;
const DEFAULT_PATTERN: usize = 6;
/// Indices into the ropes of the config.
const GLOBAL: usize = 0;
const LOCAL: usize = 1;

pub(super) fn parse(fields: &mut Fields) -> Result<DecoderConfig, InferenceError> {
    let (mut config, layers) = dimensions(fields, &GEMMA_3)?;
    config.activation = activation(fields, "hidden_activation", "gelu_pytorch_tanh")?;
    // A second name that older configs carry and transformers does not read.
    fields.take::<String>("hidden_act")?;
    config.norm_offset = 1.0;
    config.norms_after = true;
    config.query_key_norm = true;
    config.query_key_value_bias = fields.or("attention_bias", false)?;
    config.output_bias = config.query_key_value_bias;
    config.embedding_scale = (config.hidden as f32).sqrt();
    config.score_scale = fields.or("query_pre_attn_scalar", 256.0_f32)?.sqrt().recip();
    // transformers reads this field and applies it nowhere in Gemma 3; a value is a claim nobody keeps.
    fields.only("attn_logit_softcapping", f32::INFINITY, "null")?;
    config.logit_softcap = fields.take("final_logit_softcapping")?;
    fields.only("use_bidirectional_attention", false, "false")?;

    let [of_config, private] = [
        fields.take("sliding_window_pattern")?,
        fields.take("_sliding_window_pattern")?,
    ];
    let pattern: usize = of_config.or(private).unwrap_or(DEFAULT_PATTERN);
    if pattern == 0 {
        return Err(fields.malformed("sliding_window_pattern is 0"));
    }
    let window = if fields.is_present("sliding_window") {
        fields.take("sliding_window")?
    } else {
        Some(DEFAULT_WINDOW)
    };
    config.layers = equal_layers(layers, None, fields.required("intermediate_size")?);
    let sliding = sliding_layers(fields, layers, |layer| !(layer + 1).is_multiple_of(pattern))?;
    slide(&mut config.layers, &sliding, window, fields)?;
    for (layer, sliding) in config.layers.iter_mut().zip(&sliding) {
        layer.rope = Some(if *sliding { LOCAL } else { GLOBAL });
    }
    let ropes = rope_of_each_attention(fields, &rope_context(&config, &GEMMA_3), DEFAULT_LOCAL_THETA)?;
    config.ropes = ropes.to_vec();
    Ok(config)
}
