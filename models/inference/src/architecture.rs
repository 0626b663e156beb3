//! Which architectures there are. One file per family turns its `config.json` into a [`DecoderConfig`].

mod llama;

use serde::Deserialize;

use crate::config::DecoderConfig;
use crate::error::InferenceError;

pub(crate) const CONFIG_FILE: &str = "config.json";
const SUPPORTED: &str = "LlamaForCausalLM";

/// The fields that name the architecture and the ones that every family has.
#[derive(Deserialize)]
struct Preamble {
    architectures: Option<Vec<String>>,
    model_type: Option<String>,
    quantization_config: Option<serde_json::Value>,
}

/// A config that was understood in full.
#[derive(Debug)]
pub(crate) struct Architecture {
    pub(crate) decoder: DecoderConfig,
    /// End-of-text tokens named by `config.json`.
    pub(crate) end_tokens: Vec<u32>,
}

impl Architecture {
    /// Reads `config.json`. An architecture that is not known is refused by its name.
    pub(crate) fn parse(config_json: &[u8]) -> Result<Self, InferenceError> {
        let preamble: Preamble = from_json(CONFIG_FILE, config_json)?;
        if preamble.quantization_config.is_some() {
            return Err(InferenceError::Unsupported {
                what: "quantization_config",
                found: "set".to_owned(),
                supported: "unquantised f32, f16, bf16",
            });
        }
        match (preamble.architectures.as_deref(), preamble.model_type.as_deref()) {
            (Some([name]), Some("llama") | None) if name == "LlamaForCausalLM" => llama::parse(config_json),
            (None, Some("llama")) => llama::parse(config_json),
            (Some(names), model_type) if !names.is_empty() => {
                let names = names.join(", ");
                Err(unsupported(match model_type {
                    Some(model_type) => format!("{names} ({model_type})"),
                    None => names,
                }))
            }
            (_, Some(model_type)) => Err(unsupported(model_type.to_owned())),
            (_, None) => Err(unsupported("not named".to_owned())),
        }
    }
}

fn unsupported(found: String) -> InferenceError {
    let found: String = found.chars().take(200).collect();
    InferenceError::Unsupported {
        what: "architecture",
        found,
        supported: SUPPORTED,
    }
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
