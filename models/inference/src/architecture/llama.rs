//! Llama 1 to 3.x in the Hugging Face form of `config.json`, of transformers 4 (`rope_theta`, `rope_scaling`)
//! and 5 (`rope_parameters`).

use serde::Deserialize;

use super::{Architecture, CONFIG_FILE, TokenIds, from_json};
use crate::config::{DecoderConfig, Rope, RopeScaling};
use crate::error::InferenceError;

/// The fields that decide the computation. Others (dropout, initialisation, dtype) do not change it.
#[derive(Deserialize)]
struct LlamaConfig {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    #[serde(default = "default_context")]
    max_position_embeddings: usize,
    #[serde(default = "default_epsilon")]
    rms_norm_eps: f32,
    #[serde(default = "default_activation")]
    hidden_act: String,
    rope_theta: Option<f32>,
    rope_scaling: Option<RopeParameters>,
    rope_parameters: Option<RopeParameters>,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    partial_rotary_factor: Option<f32>,
    #[serde(default)]
    eos_token_id: TokenIds,
}

#[derive(Deserialize, PartialEq)]
struct RopeParameters {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f32>,
    factor: Option<f32>,
    low_freq_factor: Option<f32>,
    high_freq_factor: Option<f32>,
    original_max_position_embeddings: Option<usize>,
    partial_rotary_factor: Option<f32>,
}

// The defaults of transformers' LlamaConfig.
fn default_context() -> usize {
    2048
}
fn default_epsilon() -> f32 {
    1e-6
}
fn default_activation() -> String {
    "silu".to_owned()
}
const DEFAULT_THETA: f32 = 10_000.0;

pub(super) fn parse(config_json: &[u8]) -> Result<Architecture, InferenceError> {
    let raw: LlamaConfig = from_json(CONFIG_FILE, config_json)?;
    if raw.hidden_act != "silu" {
        return Err(unsupported("hidden_act", raw.hidden_act, "silu"));
    }
    let rope = rope(&raw)?;
    let head_dim = match raw.head_dim {
        Some(head_dim) => head_dim,
        None if raw.num_attention_heads > 0 && raw.hidden_size.is_multiple_of(raw.num_attention_heads) => {
            raw.hidden_size / raw.num_attention_heads
        }
        None => return Err(malformed("hidden_size does not divide among num_attention_heads")),
    };
    let decoder = DecoderConfig {
        vocabulary: raw.vocab_size,
        hidden: raw.hidden_size,
        intermediate: raw.intermediate_size,
        layers: raw.num_hidden_layers,
        heads: raw.num_attention_heads,
        kv_heads: raw.num_key_value_heads.unwrap_or(raw.num_attention_heads),
        head_dim,
        norm_epsilon: raw.rms_norm_eps,
        rope,
        context_tokens_max: raw.max_position_embeddings,
        tied_embeddings: raw.tie_word_embeddings,
        attention_bias: raw.attention_bias,
        mlp_bias: raw.mlp_bias,
    }
    .validated()?;
    Ok(Architecture {
        decoder,
        end_tokens: raw.eos_token_id.into_vec(),
    })
}

fn rope(raw: &LlamaConfig) -> Result<Rope, InferenceError> {
    let parameters = match (&raw.rope_parameters, &raw.rope_scaling) {
        (Some(new), Some(old)) if new != old => {
            return Err(malformed("rope_parameters and rope_scaling differ"));
        }
        (new, old) => new.as_ref().or(old.as_ref()),
    };
    let inner_theta = parameters.and_then(|parameters| parameters.rope_theta);
    let theta = match (inner_theta, raw.rope_theta) {
        (Some(inner), Some(outer)) if inner != outer => return Err(malformed("rope_theta is given twice")),
        (inner, outer) => inner.or(outer).unwrap_or(DEFAULT_THETA),
    };
    let rotary_factors = [
        raw.partial_rotary_factor,
        parameters.and_then(|p| p.partial_rotary_factor),
    ];
    if let Some(factor) = rotary_factors.into_iter().flatten().find(|factor| *factor != 1.0) {
        return Err(unsupported("partial_rotary_factor", factor.to_string(), "1"));
    }
    let scaling = match parameters {
        None => RopeScaling::None,
        Some(parameters) => scaling(parameters)?,
    };
    Ok(Rope { theta, scaling })
}

fn scaling(parameters: &RopeParameters) -> Result<RopeScaling, InferenceError> {
    match parameters.rope_type.as_deref() {
        Some("default") => Ok(RopeScaling::None),
        Some("llama3") => {
            let missing = || malformed("llama3 rope scaling lacks a field");
            Ok(RopeScaling::Llama3 {
                factor: parameters.factor.ok_or_else(missing)?,
                low_freq_factor: parameters.low_freq_factor.ok_or_else(missing)?,
                high_freq_factor: parameters.high_freq_factor.ok_or_else(missing)?,
                original_context_tokens: parameters.original_max_position_embeddings.ok_or_else(missing)?,
            })
        }
        Some(other) => Err(unsupported(
            "rope_type",
            other.chars().take(64).collect(),
            "default, llama3",
        )),
        None => Err(malformed("rope scaling names no type")),
    }
}

fn unsupported(what: &'static str, found: String, supported: &'static str) -> InferenceError {
    InferenceError::Unsupported {
        what,
        found,
        supported,
    }
}

fn malformed(reason: &str) -> InferenceError {
    InferenceError::FileMalformed {
        file: CONFIG_FILE.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LLAMA_3_2: &str = r#"{"architectures":["LlamaForCausalLM"],"model_type":"llama","vocab_size":128256,
        "hidden_size":2048,"intermediate_size":8192,"num_hidden_layers":16,"num_attention_heads":32,
        "num_key_value_heads":8,"head_dim":64,"max_position_embeddings":131072,"rms_norm_eps":1e-05,
        "hidden_act":"silu","rope_theta":500000.0,"tie_word_embeddings":true,"eos_token_id":[128001,128008,128009],
        "rope_scaling":{"factor":32.0,"high_freq_factor":4.0,"low_freq_factor":1.0,
        "original_max_position_embeddings":8192,"rope_type":"llama3"},"torch_dtype":"bfloat16"}"#;

    fn with(
        change: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>),
    ) -> Result<Architecture, InferenceError> {
        let mut value: serde_json::Value = serde_json::from_str(LLAMA_3_2).expect("the constant is JSON");
        change(value.as_object_mut().expect("the constant is an object"));
        Architecture::parse(value.to_string().as_bytes())
    }

    #[test]
    fn a_published_config_is_understood() {
        let architecture = with(|_| ()).expect("Llama 3.2 1B");
        assert_eq!(architecture.end_tokens, [128001, 128008, 128009]);
        assert_eq!(architecture.decoder.kv_heads, 8);
        assert_eq!(architecture.decoder.rope.theta, 500_000.0);
        assert!(matches!(
            architecture.decoder.rope.scaling,
            RopeScaling::Llama3 { factor: 32.0, .. }
        ));
    }

    #[test]
    fn the_older_and_the_newer_form_of_rope_agree() {
        let old = with(|_| ()).expect("the older form").decoder;
        let new = with(|config| {
            let mut rope = config.remove("rope_scaling").expect("it is there");
            rope["rope_theta"] = config.remove("rope_theta").expect("it is there");
            config.insert("rope_parameters".into(), rope);
        });
        assert_eq!(new.expect("the newer form").decoder, old);
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        let cases: [(&str, serde_json::Value, &str); 6] = [
            (
                "architectures",
                serde_json::json!(["Gemma3ForCausalLM"]),
                "Gemma3ForCausalLM",
            ),
            ("model_type", serde_json::json!("mistral"), "mistral"),
            ("hidden_act", serde_json::json!("gelu"), "gelu"),
            (
                "rope_scaling",
                serde_json::json!({"rope_type": "yarn", "factor": 4.0}),
                "yarn",
            ),
            ("partial_rotary_factor", serde_json::json!(0.5), "0.5"),
            (
                "quantization_config",
                serde_json::json!({"quant_method": "gptq"}),
                "quantization_config",
            ),
        ];
        for (key, value, name) in cases {
            let error = with(|config| drop(config.insert(key.into(), value))).expect_err(key);
            assert_eq!(error.code(), "model-unsupported", "{key}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn impossible_numbers_are_malformed() {
        let huge = u64::MAX;
        let cases: [(&str, serde_json::Value); 16] = [
            ("vocab_size", serde_json::json!(0)),
            ("vocab_size", serde_json::json!(huge)),
            ("hidden_size", serde_json::json!(-1)),
            ("hidden_size", serde_json::json!(1_u64 << 40)),
            ("intermediate_size", serde_json::json!(0)),
            ("num_hidden_layers", serde_json::json!(0)),
            ("num_hidden_layers", serde_json::json!(100_000)),
            ("num_attention_heads", serde_json::json!(0)),
            ("num_key_value_heads", serde_json::json!(0)),
            ("num_key_value_heads", serde_json::json!(5)),
            ("head_dim", serde_json::json!(63)),
            ("head_dim", serde_json::json!(1 << 23)),
            ("rms_norm_eps", serde_json::json!(0.0)),
            ("rope_theta", serde_json::json!(-3.0)),
            ("max_position_embeddings", serde_json::json!(0)),
            ("max_position_embeddings", serde_json::json!(huge)),
        ];
        for (key, value) in cases {
            let text = value.to_string();
            let error = with(|config| drop(config.insert(key.into(), value))).expect_err(key);
            assert_eq!(error.code(), "model-file-malformed", "{key} = {text}");
        }
    }

    #[test]
    fn llama3_scaling_keeps_high_and_divides_low_frequencies() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_context_tokens: 8192,
        };
        let plain = Rope {
            theta: 500_000.0,
            scaling: RopeScaling::None,
        }
        .inverse_frequencies(128);
        let scaled = Rope {
            theta: 500_000.0,
            scaling,
        }
        .inverse_frequencies(128);
        assert_eq!(scaled[0], plain[0]);
        assert_eq!(scaled[63], plain[63] / 8.0);
        assert!(
            scaled[33] < plain[33] && scaled[33] > plain[33] / 8.0,
            "the ramp is between"
        );
    }
}
