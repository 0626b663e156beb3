//! The fields of a config, each taken by whoever honours it. What is left at the end and says something would
//! silently change the result: it is refused by name.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{CONFIG_FILE, from_json};
use crate::error::InferenceError;

/// Fields that do not change what a forward pass computes: training, defaults of generation, bookkeeping.
const IRRELEVANT: [&str; 97] = [
    "add_cross_attention",
    "architectures",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "attn_implementation",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "cache_implementation",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "cls_token_id",
    "cross_attention_hidden_size",
    "custom_pipelines",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dtype",
    "early_stopping",
    "embd_pdrop",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "head_dropout",
    "hidden_dropout",
    "hidden_dropout_prob",
    "id2label",
    "initial_context_length",
    "initializer_factor",
    "initializer_range",
    "is_decoder",
    "is_encoder_decoder",
    "is_llama_config",
    "keys_to_ignore_at_inference",
    "label2id",
    "length_penalty",
    "mask_token_id",
    "max_length",
    "min_length",
    "mlm_mask_rate",
    "model_type",
    "name_or_path",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_labels",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "output_scores",
    "pad_token_id",
    "pad_vocab_size_multiple",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "pruned_heads",
    "remove_invalid_values",
    "repetition_penalty",
    "resid_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "sep_token_id",
    "sequence_classification",
    "suppress_tokens",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers_version",
    "transformers.js_config",
    "typical_p",
    "use_bfloat16",
    "use_cache",
    "use_flash_attn",
    "use_fused_rms_norm",
    "use_xformers",
    "fused_bias_fc",
    "fused_dropout_add_ln",
    "dense_seq_output",
    "last_layer_subset",
];

/// The fields that nobody has taken yet.
pub(crate) struct Fields {
    map: Map<String, Value>,
    file: &'static str,
}

impl Fields {
    /// Of `config.json`.
    pub(crate) fn parse(config_json: &[u8]) -> Result<Self, InferenceError> {
        Ok(Self {
            map: from_json(CONFIG_FILE, config_json)?,
            file: CONFIG_FILE,
        })
    }

    /// Of an object inside it.
    pub(crate) fn of(map: Map<String, Value>) -> Self {
        Self {
            map,
            file: CONFIG_FILE,
        }
    }

    pub(crate) fn is_present(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    /// Takes a field; absent and `null` are `None`.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, InferenceError> {
        match self.map.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value)
                .map(Some)
                .map_err(|_| self.malformed(&format!("{name} has another type"))),
        }
    }

    /// Takes a field that transformers writes for every model of the family.
    pub(crate) fn required<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, InferenceError> {
        self.take(name)?
            .ok_or_else(|| self.malformed(&format!("{name} is missing")))
    }

    pub(crate) fn or<T: DeserializeOwned>(&mut self, name: &str, default: T) -> Result<T, InferenceError> {
        Ok(self.take(name)?.unwrap_or(default))
    }

    /// Takes an object.
    pub(crate) fn nested(&mut self, name: &str) -> Result<Option<Self>, InferenceError> {
        let map = self.take::<Map<String, Value>>(name)?;
        Ok(map.map(Self::of))
    }

    /// Takes a field of which only one value is supported; absent and `null` stand for it.
    pub(crate) fn only<T: DeserializeOwned + PartialEq + ToString>(
        &mut self,
        name: &'static str,
        supported: T,
        words: &'static str,
    ) -> Result<(), InferenceError> {
        match self.take::<T>(name)? {
            Some(value) if value != supported => Err(unsupported(name, &value.to_string(), words)),
            _ => Ok(()),
        }
    }

    pub(crate) fn malformed(&self, reason: &str) -> InferenceError {
        InferenceError::FileMalformed {
            file: self.file.to_owned(),
            reason: reason.chars().take(200).collect(),
        }
    }

    /// Refuses what nobody took, unless it says nothing (`null`, `false`) or does not change the result.
    pub(crate) fn finish(self) -> Result<(), InferenceError> {
        let says_nothing = |value: &Value| matches!(value, Value::Null | Value::Bool(false));
        let irrelevant =
            |name: &str| IRRELEVANT.contains(&name) || name.starts_with('_') || name.starts_with("unsloth");
        let left = self
            .map
            .iter()
            .find(|(name, value)| !says_nothing(value) && !irrelevant(name));
        match left {
            None => Ok(()),
            Some((name, _)) => Err(unsupported("a field of the config", name, "fields of the family")),
        }
    }
}

pub(crate) fn unsupported(what: &'static str, found: &str, supported: &'static str) -> InferenceError {
    InferenceError::Unsupported {
        what,
        found: found.chars().take(200).collect(),
        supported,
    }
}
