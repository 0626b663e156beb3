//! The metadata of a GGUF as a decoder. A key of the architecture that nobody takes is refused by its name, as the
//! fields of a `config.json` are.

use super::keys::{Keys, malformed};
use super::reader::Gguf;
use super::values::Value;
use crate::architecture::fields::unsupported;
use crate::config::rope::Yarn;
use crate::config::{
    Activation, CONTEXT_TOKENS_MAX, DecoderConfig, EXPERTS_MAX, ExpertsConfig, ExpertsLayout, LAYERS_MAX,
    LayerConfig, MlpConfig, Rope, RopeScaling, Shares,
};
use crate::error::InferenceError;

/// `general.architecture`, where the names and the layout of tensors depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    Llama,
    Qwen2,
    Qwen3,
    Qwen3Moe,
    Gemma3,
    Phi3,
    GptOss,
    SmolLm3,
}

const SUPPORTED: &str = "llama, qwen2, qwen3, qwen3moe, gemma3, phi3, gpt-oss, smollm3 in GGUF";
/// SmolLM 3 has a layer without positions after every three with them. No key says so: llama.cpp knows it by the name.
const SMOLLM_3_INTERVAL: usize = 4;
/// Gemma 3 27B scales its scores by the width of a hidden head; only its depth tells it apart.
const GEMMA_27B_LAYERS: usize = 62;

pub(super) fn parse(gguf: &Gguf<'_>) -> Result<(DecoderConfig, Family), InferenceError> {
    let name = match gguf.value("general.architecture") {
        Some(Value::Text(name)) => *name,
        _ => return Err(malformed("general.architecture is missing")),
    };
    let family = match name {
        "llama" => Family::Llama,
        "qwen2" => Family::Qwen2,
        "qwen3" => Family::Qwen3,
        "qwen3moe" => Family::Qwen3Moe,
        "gemma3" => Family::Gemma3,
        "phi3" => Family::Phi3,
        "gpt-oss" => Family::GptOss,
        "smollm3" => Family::SmolLm3,
        other => return Err(unsupported("architecture", other, SUPPORTED)),
    };
    let keys = Keys::new(gguf, name);
    let config = decoder(&keys, family)?;
    keys.finish()?;
    Ok((config, family))
}

fn decoder(keys: &Keys<'_, '_>, family: Family) -> Result<DecoderConfig, InferenceError> {
    let (hidden, heads) = (
        keys.required("embedding_length")?,
        keys.required("attention.head_count")?,
    );
    let kv_heads = keys.whole("attention.head_count_kv")?.unwrap_or(heads);
    let head_dim = match keys.whole("attention.key_length")? {
        Some(head_dim) => head_dim,
        None if heads > 0 && hidden.is_multiple_of(heads) => hidden / heads,
        None => return Err(malformed("embedding_length does not divide among the heads")),
    };
    if keys
        .whole("attention.value_length")?
        .is_some_and(|width| width != head_dim)
    {
        return Err(unsupported(
            "attention.value_length",
            "another width",
            "that of the keys",
        ));
    }
    let vocabulary = match keys.whole("vocab_size")? {
        Some(vocabulary) => vocabulary,
        None => embedding_rows(keys.gguf)?,
    };
    let layers = keys.required("block_count")?;
    if layers > LAYERS_MAX {
        return Err(malformed(&format!("block_count is {layers}")));
    }
    let context = keys.required("context_length")?;
    let has = |name: &str| keys.gguf.tensor(name).is_some();
    let mut config = DecoderConfig {
        vocabulary,
        hidden,
        heads,
        kv_heads,
        head_dim,
        norm_epsilon: keys
            .float("attention.layer_norm_rms_epsilon")?
            .ok_or_else(|| malformed("attention.layer_norm_rms_epsilon is missing"))?,
        // Gemma's norms are stored as they are used.
        norm_offset: 0.0,
        norms_after: family == Family::Gemma3,
        context_tokens_max: context,
        tied_embeddings: !has("output.weight"),
        embedding_scale: 1.0,
        score_scale: (head_dim as f32).sqrt().recip(),
        score_softcap: None,
        logit_softcap: keys.float("final_logit_softcapping")?,
        query_key_value_bias: has("blk.0.attn_q.bias") || has("blk.0.attn_qkv.bias"),
        output_bias: has("blk.0.attn_output.bias"),
        mlp_bias: has("blk.0.ffn_down.bias"),
        query_key_norm: matches!(family, Family::Qwen3 | Family::Qwen3Moe | Family::Gemma3),
        sinks: family == Family::GptOss,
        activation: match family {
            Family::Gemma3 => Activation::GeluTanh,
            Family::GptOss => Activation::ClampedSwiglu {
                alpha: 1.702,
                limit: 7.0,
            },
            _ => Activation::Silu,
        },
        fused_tensors: family == Family::Phi3,
        ropes: Vec::new(),
        layers: Vec::new(),
    };
    if family == Family::Gemma3 {
        config.embedding_scale = (hidden as f32).sqrt();
        if layers == GEMMA_27B_LAYERS && heads > 0 {
            config.score_scale = ((hidden / heads) as f32).sqrt().recip();
        }
    }
    if let Some(scale) = keys.float("attention.scale")? {
        config.score_scale = scale;
    }
    config.ropes = ropes(keys, family, &config)?;
    config.layers = layer_configs(keys, family, layers)?;
    Ok(config)
}

fn embedding_rows(gguf: &Gguf<'_>) -> Result<usize, InferenceError> {
    let shape = gguf
        .tensor("token_embd.weight")
        .map(|(entry, _)| entry.shape.as_slice());
    match shape {
        Some([rows, _]) => Ok(*rows),
        _ => Err(malformed("token_embd.weight is missing")),
    }
}

fn layer_configs(
    keys: &Keys<'_, '_>,
    family: Family,
    layers: usize,
) -> Result<Vec<LayerConfig>, InferenceError> {
    // Writers put 0 where there is none.
    let window = keys
        .whole("attention.sliding_window")?
        .filter(|window| *window > 0);
    if window.is_some() && !matches!(family, Family::Gemma3 | Family::Phi3 | Family::GptOss) {
        return Err(unsupported(
            "attention.sliding_window",
            "set",
            "gemma3, phi3, gpt-oss",
        ));
    }
    let sliding = sliding_layers(keys, family, layers)?;
    let intermediate = keys.whole("feed_forward_length")?;
    let experts = keys.whole("expert_count")?.unwrap_or(0);
    let mlp = if experts > 0 {
        let (shares, layout) = match family {
            Family::Qwen3Moe => match keys.flag("expert_weights_norm")? {
                Some(false) => (Shares::Kept, ExpertsLayout::PerExpert),
                _ => (Shares::Normalised, ExpertsLayout::PerExpert),
            },
            Family::GptOss => (Shares::Chosen, ExpertsLayout::Transposed),
            _ => {
                return Err(unsupported(
                    "expert_count",
                    &experts.to_string(),
                    "qwen3moe, gpt-oss",
                ));
            }
        };
        // 1 is a softmax over all experts, 4 one over the chosen.
        let gating = if family == Family::GptOss { 4 } else { 1 };
        if keys
            .whole("expert_gating_func")?
            .is_some_and(|found| found != gating)
        {
            return Err(unsupported("expert_gating_func", "another", "softmax"));
        }
        if experts > EXPERTS_MAX {
            return Err(malformed(&format!("expert_count is {experts}")));
        }
        MlpConfig::Experts(ExpertsConfig {
            count: experts,
            per_token: keys.required("expert_used_count")?,
            intermediate: keys
                .whole("expert_feed_forward_length")?
                .or(intermediate)
                .ok_or_else(|| malformed("expert_feed_forward_length is missing"))?,
            shares,
            layout,
        })
    } else {
        MlpConfig::Dense {
            intermediate: intermediate.ok_or_else(|| malformed("feed_forward_length is missing"))?,
        }
    };
    let layer = |(index, slides): (usize, &bool)| LayerConfig {
        window: window.filter(|_| *slides),
        rope: match family {
            Family::SmolLm3 if (index + 1).is_multiple_of(SMOLLM_3_INTERVAL) => None,
            _ => Some(usize::from(family == Family::Gemma3 && *slides)),
        },
        mlp: mlp.clone(),
    };
    Ok(sliding.iter().enumerate().map(layer).collect())
}

/// The last layer of each group sees everything; a list of the file goes first. Without groups all layers slide, if
/// there is a window.
fn sliding_layers(keys: &Keys<'_, '_>, family: Family, layers: usize) -> Result<Vec<bool>, InferenceError> {
    const KEY: &str = "attention.sliding_window_pattern";
    let default = match family {
        Family::Gemma3 => 6,
        Family::GptOss => 2,
        _ => return Ok(vec![true; layers]),
    };
    let pattern = match keys.take(KEY) {
        Some(Value::Numbers(numbers)) => {
            let listed: Option<Vec<bool>> = numbers
                .iter()
                .map(|value| match value {
                    Value::Bool(slides) => Some(slides),
                    number => number.whole().map(|number| number != 0),
                })
                .collect();
            let listed = listed.filter(|listed| listed.len() == layers);
            return listed.ok_or_else(|| malformed(&format!("{KEY} does not list the layers")));
        }
        Some(value) => value.whole().and_then(|pattern| usize::try_from(pattern).ok()),
        None => Some(default),
    };
    let pattern = pattern.filter(|pattern| *pattern > 0);
    let pattern = pattern.ok_or_else(|| malformed(&format!("{KEY} is no number of layers")))?;
    Ok((1..=layers)
        .map(|number| !number.is_multiple_of(pattern))
        .collect())
}

/// One rope; for Gemma 3 that of the global layers and that of the local ones.
fn ropes(keys: &Keys<'_, '_>, family: Family, config: &DecoderConfig) -> Result<Vec<Rope>, InferenceError> {
    let rotary_dim = keys.whole("rope.dimension_count")?.unwrap_or(config.head_dim);
    let default_theta = match family {
        Family::Gemma3 => 1_000_000.0,
        _ => 10_000.0,
    };
    let theta = keys.float("rope.freq_base")?.unwrap_or(default_theta);
    let local_theta = keys.float("rope.freq_base_swa")?;
    let original = keys.whole("rope.scaling.original_context_length")?;
    let factor = keys.float("rope.scaling.factor")?;
    let attention = keys.float("rope.scaling.attn_factor")?;
    let betas = [
        keys.float("rope.scaling.yarn_beta_fast")?,
        keys.float("rope.scaling.yarn_beta_slow")?,
    ];
    let mut rope = Rope::plain(theta, rotary_dim);
    rope.scaling = match keys.text("rope.scaling.type")? {
        None | Some("none" | "longrope") => RopeScaling::None,
        Some("linear") => RopeScaling::Linear {
            factor: factor.unwrap_or(1.0),
        },
        Some("yarn") => {
            let factor = factor.ok_or_else(|| malformed("rope.scaling.factor is missing"))?;
            let default = Yarn::default_attention_factor(f64::from(factor), None, None) as f32;
            RopeScaling::Yarn(Yarn {
                factor,
                beta_fast: betas[0].unwrap_or(32.0),
                beta_slow: betas[1].unwrap_or(1.0),
                original_context_tokens: original.unwrap_or(config.context_tokens_max),
                truncate: family != Family::GptOss,
                attention_factor: default * attention.unwrap_or(1.0),
            })
        }
        Some(other) => {
            return Err(unsupported(
                "rope.scaling.type",
                other,
                "none, linear, yarn, longrope",
            ));
        }
    };
    // A divisor for each pair: Llama 3.1 has one list, long rope two.
    let lists = [
        "rope_freqs.weight",
        "rope_factors_short.weight",
        "rope_factors_long.weight",
    ]
    .map(|name| factors(keys.gguf, name));
    let [frequencies, short, long] = lists;
    let divisors = match (frequencies?, short?, long?) {
        (None, None, None) => None,
        (Some(all), None, None) => Some((all.clone(), all, CONTEXT_TOKENS_MAX)),
        (None, Some(short), Some(long)) => Some((short, long, original.unwrap_or(config.context_tokens_max))),
        _ => return Err(malformed("the lists of rope factors do not belong together")),
    };
    if let Some((short, long, original_context_tokens)) = divisors {
        if rope.scaling != RopeScaling::None {
            return Err(malformed("rope is scaled in two ways"));
        }
        rope.scaling = RopeScaling::LongRope {
            short,
            long,
            original_context_tokens,
            attention_factor: attention.unwrap_or(1.0),
        };
    }
    if family == Family::Gemma3 {
        let local = Rope::plain(local_theta.unwrap_or(10_000.0), rotary_dim);
        return Ok(vec![rope, local]);
    }
    Ok(vec![rope])
}

fn factors(gguf: &Gguf<'_>, name: &str) -> Result<Option<Vec<f32>>, InferenceError> {
    let Some((entry, bytes)) = gguf.tensor(name) else {
        return Ok(None);
    };
    if entry.format != kernels::Format::F32 {
        return Err(malformed(&format!("{name} is not of F32")));
    }
    let (numbers, _) = bytes.as_chunks::<4>();
    Ok(Some(
        numbers.iter().map(|number| f32::from_le_bytes(*number)).collect(),
    ))
}
