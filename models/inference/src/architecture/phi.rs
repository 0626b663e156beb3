//! Phi-3 and Phi-4: fused tensors, long rope, and heads that are turned in part.

use super::common::{Defaults, activation, dimensions, equal_layers, rope_context};
use super::fields::Fields;
use super::rotary;
use crate::config::DecoderConfig;
use crate::error::InferenceError;

const PHI_3: Defaults = Defaults {
    context_tokens_max: 4096,
    epsilon: 1e-5,
    ..Defaults::LLAMA
};

pub(super) fn parse(fields: &mut Fields) -> Result<DecoderConfig, InferenceError> {
    let (mut config, layers) = dimensions(fields, &PHI_3)?;
    config.activation = activation(fields, "hidden_act", "silu")?;
    config.fused_tensors = true;
    // Phi-4 mini writes what its code no longer reads.
    fields.only("full_attn_mod", 1_u64, "1")?;
    fields.only("interpolate_factor", 1.0_f64, "1")?;
    let window = fields.take("sliding_window")?;
    config.layers = equal_layers(layers, window, fields.required("intermediate_size")?);
    let context = rotary::RopeContext {
        old_names_of_longrope: true,
        partial: true,
        ..rope_context(&config, &PHI_3)
    };
    config.ropes = vec![rotary::rope(fields, &context)?];
    Ok(config)
}
