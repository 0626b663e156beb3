//! SmolLM 3: Llama, with layers that have no positions.

use super::common::{Defaults, activation, dimensions, equal_layers, rope, slide, sliding_layers};
use super::fields::Fields;
use crate::config::DecoderConfig;
use crate::error::InferenceError;

const SMOLLM_3: Defaults = Defaults {
    kv_heads: Some(4),
    context_tokens_max: 32_768,
    theta: 2_000_000.0,
    tied_embeddings: true,
    ..Defaults::LLAMA
};
const DEFAULT_INTERVAL: usize = 4;

pub(super) fn parse(fields: &mut Fields) -> Result<DecoderConfig, InferenceError> {
    let (mut config, layers) = dimensions(fields, &SMOLLM_3)?;
    config.activation = activation(fields, "hidden_act", "silu")?;
    config.query_key_value_bias = fields.or("attention_bias", false)?;
    config.output_bias = config.query_key_value_bias;
    config.mlp_bias = fields.or("mlp_bias", false)?;
    config.ropes = vec![rope(fields, &config, &SMOLLM_3)?];
    config.layers = equal_layers(layers, None, fields.required("intermediate_size")?);

    let interval: usize = fields.or("no_rope_layer_interval", DEFAULT_INTERVAL)?;
    let turned: Vec<usize> = match fields.take("no_rope_layers")? {
        Some(turned) => turned,
        None if interval == 0 => return Err(fields.malformed("no_rope_layer_interval is 0")),
        None => (0..layers)
            .map(|layer| usize::from(!(layer + 1).is_multiple_of(interval)))
            .collect(),
    };
    if turned.len() < layers {
        return Err(fields.malformed("no_rope_layers is shorter than the layers"));
    }
    // 1 is a layer with positions, whatever the name says.
    for (layer, turned) in config.layers.iter_mut().zip(&turned) {
        layer.rope = (*turned != 0).then_some(0);
    }
    let window = fields.take::<usize>("sliding_window")?;
    let window = window.filter({
        let used = fields.or("use_sliding_window", false)?;
        move |_| used
    });
    fields.take::<usize>("max_window_layers")?;
    let sliding = sliding_layers(fields, layers, |layer| window.is_some() && turned[layer] == 0)?;
    slide(&mut config.layers, &sliding, window, fields)?;
    Ok(config)
}
