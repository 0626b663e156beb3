//! Mistral (one sliding window for all layers), Ministral (`layer_types`), Ministral 3 (queries that grow with
//! the position).

use super::common::{Defaults, activation, dimensions, equal_layers, rope_context, slide, sliding_layers};
use super::fields::Fields;
use super::rotary;
use crate::config::DecoderConfig;
use crate::error::InferenceError;

const MISTRAL: Defaults = Defaults {
    kv_heads: Some(8),
    context_tokens_max: 4096 * 32,
    ..Defaults::LLAMA
};
const MINISTRAL_3: Defaults = Defaults {
    head_dim: Some(128),
    context_tokens_max: 262_144,
    epsilon: 1e-5,
    ..MISTRAL
};
const DEFAULT_WINDOW: usize = 4096;

pub(super) fn parse(fields: &mut Fields) -> Result<DecoderConfig, InferenceError> {
    let (mut config, layers) = shared(fields, &MISTRAL, false)?;
    let window = window(fields, Some(DEFAULT_WINDOW))?;
    // Mistral itself reads no `layer_types`; where they are given they must say what it does.
    let sliding = sliding_layers(fields, layers, |_| window.is_some())?;
    if sliding.iter().any(|sliding| *sliding != window.is_some()) {
        return Err(super::fields::unsupported(
            "layer_types",
            "mixed",
            "Ministral for mixed layers",
        ));
    }
    slide(&mut config.layers, &sliding, window, fields)?;
    Ok(config)
}

pub(super) fn parse_ministral(fields: &mut Fields) -> Result<DecoderConfig, InferenceError> {
    let (mut config, layers) = shared(fields, &MISTRAL, false)?;
    let window = window(fields, Some(DEFAULT_WINDOW))?;
    let sliding = sliding_layers(fields, layers, |_| window.is_some())?;
    slide(&mut config.layers, &sliding, window, fields)?;
    Ok(config)
}

pub(super) fn parse_ministral_3(fields: &mut Fields) -> Result<DecoderConfig, InferenceError> {
    let (mut config, layers) = shared(fields, &MINISTRAL_3, true)?;
    let window = window(fields, None)?;
    slide(
        &mut config.layers,
        &vec![window.is_some(); layers],
        window,
        fields,
    )?;
    Ok(config)
}

fn shared(
    fields: &mut Fields,
    defaults: &Defaults,
    query_growth: bool,
) -> Result<(DecoderConfig, usize), InferenceError> {
    let (mut config, layers) = dimensions(fields, defaults)?;
    config.activation = activation(fields, "hidden_act", "silu")?;
    let context = rotary::RopeContext {
        query_growth,
        ..rope_context(&config, defaults)
    };
    config.ropes = vec![rotary::rope(fields, &context)?];
    config.layers = equal_layers(layers, None, fields.required("intermediate_size")?);
    Ok((config, layers))
}

/// Absent is the family's default; `null` is no window.
fn window(fields: &mut Fields, default: Option<usize>) -> Result<Option<usize>, InferenceError> {
    if fields.is_present("sliding_window") {
        fields.take("sliding_window")
    } else {
        Ok(default)
    }
}
