//! Which architectures there are. One file per family turns its `config.json` into a [`DecoderConfig`].

mod common;
pub(crate) mod fields;
mod gemma;
mod gpt_oss;
mod llama;
mod mistral;
mod phi;
mod qwen;
pub(crate) mod rotary;
mod smollm;
#[cfg(test)]
mod tests;

use serde::Deserialize;

use self::fields::{Fields, unsupported};
use crate::config::DecoderConfig;
use crate::error::InferenceError;

pub(crate) const CONFIG_FILE: &str = "config.json";
const SUPPORTED: &str = "LlamaForCausalLM, MistralForCausalLM, MinistralForCausalLM, Ministral3ForCausalLM, \
    Qwen2ForCausalLM, Qwen3ForCausalLM, Qwen3MoeForCausalLM, Gemma3ForCausalLM, Phi3ForCausalLM, \
    GptOssForCausalLM, SmolLM3ForCausalLM";

/// What reads the config of a family.
type Parse = fn(&mut Fields) -> Result<DecoderConfig, InferenceError>;

/// Class and `model_type` of every family, as configs name them.
const FAMILIES: [(&str, &str, Parse); 11] = [
    ("LlamaForCausalLM", "llama", llama::parse),
    ("MistralForCausalLM", "mistral", mistral::parse),
    ("MinistralForCausalLM", "ministral", mistral::parse_ministral),
    ("Ministral3ForCausalLM", "ministral3", mistral::parse_ministral_3),
    ("Qwen2ForCausalLM", "qwen2", qwen::parse_2),
    ("Qwen3ForCausalLM", "qwen3", qwen::parse_3),
    ("Qwen3MoeForCausalLM", "qwen3_moe", qwen::parse_3_experts),
    ("Gemma3ForCausalLM", "gemma3_text", gemma::parse),
    ("Phi3ForCausalLM", "phi3", phi::parse),
    ("GptOssForCausalLM", "gpt_oss", gpt_oss::parse),
    ("SmolLM3ForCausalLM", "smollm3", smollm::parse),
];

/// A config that was understood in full.
#[derive(Debug)]
pub(crate) struct Architecture {
    pub(crate) decoder: DecoderConfig,
    /// End-of-text tokens named by `config.json`.
    pub(crate) end_tokens: Vec<u32>,
}

impl Architecture {
    /// Reads `config.json`. An architecture that is not known is refused by its name, and so is a field that
    /// the family does not honour.
    pub(crate) fn parse(config_json: &[u8]) -> Result<Self, InferenceError> {
        let mut fields = Fields::parse(config_json)?;
        let architectures: Vec<String> = fields.or("architectures", Vec::new())?;
        let model_type: Option<String> = fields.take("model_type")?;
        let parse = family(&architectures, model_type.as_deref())?;
        let decoder = parse(&mut fields)?.validated()?;
        if let Some(method) = fields.take::<serde_json::Value>("quantization_config")? {
            let found = method["quant_method"].as_str().unwrap_or("set").to_owned();
            return Err(unsupported(
                "quantization_config",
                &found,
                "unquantised f32, f16, bf16",
            ));
        }
        let end_tokens: TokenIds = fields.or("eos_token_id", TokenIds::None)?;
        fields.finish()?;
        Ok(Self {
            decoder,
            end_tokens: end_tokens.into_vec(),
        })
    }
}

fn family(architectures: &[String], model_type: Option<&str>) -> Result<Parse, InferenceError> {
    // A model without its head (an embedding model) is saved under the name of the class without it.
    let known = FAMILIES.iter().find(|(class, name, _)| {
        let base = class.trim_end_matches("ForCausalLM");
        match architectures {
            [] => model_type == Some(*name),
            [found] => {
                let is_base = found
                    .strip_suffix("Model")
                    .is_some_and(|found| found == base || found.strip_suffix("Text") == Some(base));
                (found == class || is_base) && model_type.is_none_or(|found| found == *name)
            }
            _ => false,
        }
    });
    if let Some((_, _, parse)) = known {
        return Ok(*parse);
    }
    let names = architectures.join(", ");
    let found = match (names.as_str(), model_type) {
        ("", Some(model_type)) => model_type.to_owned(),
        ("", None) => "not named".to_owned(),
        (names, Some(model_type)) => format!("{names} ({model_type})"),
        (names, None) => names.to_owned(),
    };
    Err(unsupported("architecture", &found, SUPPORTED))
}

/// One token or several, as `eos_token_id` is written.
#[derive(Deserialize, Default)]
#[serde(untagged)]
pub(crate) enum TokenIds {
    #[default]
    None,
    One(u32),
    Many(Vec<u32>),
}

impl TokenIds {
    pub(crate) fn into_vec(self) -> Vec<u32> {
        match self {
            Self::None => Vec::new(),
            Self::One(id) => vec![id],
            Self::Many(ids) => ids,
        }
    }
}

/// Parses a JSON file of the checkpoint; the error names file and place, never content.
pub(crate) fn from_json<'de, T: Deserialize<'de>>(file: &str, bytes: &'de [u8]) -> Result<T, InferenceError> {
    serde_json::from_slice(bytes).map_err(|error| InferenceError::FileMalformed {
        file: file.to_owned(),
        reason: format!("line {}, column {}", error.line(), error.column()),
    })
}
