//! Llama 1 to 3.x, SmolLM 1 and 2.

use super::common::{Defaults, activation, dimensions, equal_layers, rope};
use super::fields::Fields;
use crate::config::DecoderConfig;
use crate::error::InferenceError;

pub(super) fn parse(fields: &mut Fields) -> Result<DecoderConfig, InferenceError> {
    let defaults = Defaults::LLAMA;
    let (mut config, layers) = dimensions(fields, &defaults)?;
    config.activation = activation(fields, "hidden_act", "silu")?;
    config.query_key_value_bias = fields.or("attention_bias", false)?;
    config.output_bias = config.query_key_value_bias;
    config.mlp_bias = fields.or("mlp_bias", false)?;
    config.ropes = vec![rope(fields, &config, &defaults)?];
    config.layers = equal_layers(layers, None, fields.required("intermediate_size")?);
    Ok(config)
}
