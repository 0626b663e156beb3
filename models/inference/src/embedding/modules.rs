//! What sentence-transformers writes beside a model: which modules there are, how states are pooled.

use serde::Deserialize;
use std::collections::BTreeMap;

use crate::architecture::fields::{Fields, unsupported};
use crate::architecture::from_json;
use crate::error::InferenceError;
use crate::model::ModelFiles;

pub(super) const MODULES_FILE: &str = "modules.json";
const TRANSFORMER_FILE: &str = "sentence_bert_config.json";
const PROMPTS_FILE: &str = "config_sentence_transformers.json";
const SUPPORTED_POOLING: &str = "one of cls, mean, lasttoken";

/// How a row per token becomes one vector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pooling {
    /// The state of the first token.
    First,
    /// The mean of all.
    Mean,
    /// The state of the last token.
    Last,
}

/// All of it, validated.
#[derive(Debug)]
pub(super) struct Modules {
    pooling: Pooling,
    normalises: bool,
    dimensions: Option<usize>,
    tokens_max: Option<usize>,
    default_prompt: String,
}

#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize, Default)]
struct Prompts {
    #[serde(default)]
    prompts: BTreeMap<String, String>,
    default_prompt_name: Option<String>,
}

impl Modules {
    /// Without `modules.json` the mean is taken and nothing normalised, as sentence-transformers does then.
    pub(super) fn read(files: &ModelFiles<'_>) -> Result<Self, InferenceError> {
        let mut modules = Self {
            pooling: Pooling::Mean,
            normalises: false,
            dimensions: None,
            tokens_max: None,
            default_prompt: String::new(),
        };
        if let Some(json) = files.optional(MODULES_FILE) {
            let listed: Vec<Module> = from_json(MODULES_FILE, json)?;
            for (index, module) in listed.iter().enumerate() {
                // The class moved between versions; its own name stayed.
                let class = module.kind.rsplit('.').next().unwrap_or_default();
                match (index, class) {
                    (0, "Transformer") => {}
                    (1, "Pooling") => modules.read_pooling(files, &module.path)?,
                    (2, "Normalize") => modules.normalises = true,
                    _ => {
                        return Err(unsupported(
                            "a module",
                            class,
                            "Transformer, Pooling, Normalize, in this order",
                        ));
                    }
                }
            }
        }
        if let Some(json) = files.optional(TRANSFORMER_FILE) {
            let mut fields = Fields::of(from_json(TRANSFORMER_FILE, json)?);
            modules.tokens_max = fields.take("max_seq_length")?;
            fields.only("do_lower_case", false, "false")?;
        }
        if let Some(json) = files.optional(PROMPTS_FILE) {
            let mut prompts: Prompts = from_json(PROMPTS_FILE, json)?;
            if let Some(name) = prompts.default_prompt_name {
                let prompt = prompts.prompts.remove(&name);
                modules.default_prompt =
                    prompt.ok_or_else(|| unsupported("default_prompt_name", &name, "one of the prompts"))?;
            }
        }
        if modules.tokens_max == Some(0) {
            return Err(unsupported("max_seq_length", "0", "at least 1"));
        }
        Ok(modules)
    }

    fn read_pooling(&mut self, files: &ModelFiles<'_>, path: &str) -> Result<(), InferenceError> {
        let name = format!("{path}/config.json");
        let mut fields = Fields::of(from_json(&name, files.required(&name)?)?);
        let [word, embedding] = [
            fields.take("word_embedding_dimension")?,
            fields.take("embedding_dimension")?,
        ];
        self.dimensions = word.or(embedding);
        // Prompts are part of the text here, so they are always pooled.
        fields.only("include_prompt", true, "true")?;
        let mut modes = Vec::new();
        if let Some(mode) = fields.take::<String>("pooling_mode")? {
            modes.push(mode);
        }
        for (field, mode) in [
            ("pooling_mode_cls_token", "cls"),
            ("pooling_mode_mean_tokens", "mean"),
            ("pooling_mode_max_tokens", "max"),
            ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"),
            ("pooling_mode_weightedmean_tokens", "weightedmean"),
            ("pooling_mode_lasttoken", "lasttoken"),
        ] {
            if fields.or(field, false)? {
                modes.push(mode.to_owned());
            }
        }
        fields.finish()?;
        modes.dedup();
        self.pooling = match modes.as_slice() {
            [one] if one == "cls" => Pooling::First,
            [one] if one == "mean" => Pooling::Mean,
            [one] if one == "lasttoken" => Pooling::Last,
            [] => return Err(unsupported("pooling", "none", SUPPORTED_POOLING)),
            others => return Err(unsupported("pooling", &others.join(", "), SUPPORTED_POOLING)),
        };
        Ok(())
    }

    /// Fails when the pooling was made for vectors of another width.
    pub(super) fn check_dimensions(&self, hidden: usize) -> Result<(), InferenceError> {
        match self.dimensions {
            Some(found) if found != hidden => Err(InferenceError::FileMalformed {
                file: MODULES_FILE.to_owned(),
                reason: format!("pooling of {found} dimensions for a model of {hidden}"),
            }),
            _ => Ok(()),
        }
    }

    pub(super) fn pooling(&self) -> Pooling {
        self.pooling
    }

    pub(super) fn normalises(&self) -> bool {
        self.normalises
    }

    pub(super) fn tokens_max(&self) -> Option<usize> {
        self.tokens_max
    }

    pub(super) fn default_prompt(&self) -> &str {
        &self.default_prompt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULES: &str = r#"[{"idx":0,"name":"0","path":"","type":"sentence_transformers.models.Transformer"},
        {"idx":1,"name":"1","path":"1_Pooling","type":"sentence_transformers.models.Pooling"},
        {"idx":2,"name":"2","path":"2_Normalize","type":"sentence_transformers.models.Normalize"}]"#;

    fn read(modules: &str, pooling: &str, other: (&str, &str)) -> Result<Modules, InferenceError> {
        let files: ModelFiles<'_> = [
            (MODULES_FILE, modules.as_bytes()),
            ("1_Pooling/config.json", pooling.as_bytes()),
            (other.0, other.1.as_bytes()),
        ]
        .into_iter()
        .collect();
        Modules::read(&files)
    }

    const MEAN: &str = r#"{"word_embedding_dimension":384,"pooling_mode_cls_token":false,
        "pooling_mode_mean_tokens":true,"pooling_mode_max_tokens":false,"pooling_mode_mean_sqrt_len_tokens":false}"#;

    #[test]
    fn the_files_of_minilm_are_understood() {
        let limits = r#"{"max_seq_length":256,"do_lower_case":false}"#;
        let modules = read(MODULES, MEAN, (TRANSFORMER_FILE, limits)).expect("as published");
        assert_eq!((modules.pooling, modules.normalises), (Pooling::Mean, true));
        assert_eq!(modules.tokens_max, Some(256));
        assert!(modules.check_dimensions(384).is_ok() && modules.check_dimensions(385).is_err());
    }

    #[test]
    fn what_would_change_the_vector_is_refused_by_name() {
        let two = MEAN.replace(
            "\"pooling_mode_cls_token\":false",
            "\"pooling_mode_cls_token\":true",
        );
        let error = read(MODULES, &two, ("x", "")).expect_err("two modes");
        assert!(error.to_string().contains("cls, mean"), "{error}");
        let dense = MODULES.replace("Normalize\"", "Dense\"");
        let error = read(&dense, MEAN, ("x", "")).expect_err("a layer more");
        assert!(error.to_string().contains("Dense"), "{error}");
        let lower = r#"{"max_seq_length":256,"do_lower_case":true}"#;
        assert!(read(MODULES, MEAN, (TRANSFORMER_FILE, lower)).is_err());
    }

    #[test]
    fn a_default_prompt_goes_before_every_text() {
        let prompts = r#"{"prompts":{"query":"search: "},"default_prompt_name":"query"}"#;
        let modules = read(MODULES, MEAN, (PROMPTS_FILE, prompts)).expect("as published");
        assert_eq!(modules.default_prompt(), "search: ");
        let unknown = prompts.replace("\"query\"}", "\"other\"}");
        assert!(read(MODULES, MEAN, (PROMPTS_FILE, &unknown)).is_err());
    }
}
