//! Which files of a repository make the model.

use sealed_model::ArrivingFile;

use crate::error::{Result, SealError};

/// The files to pull: those named, or else what an engine reads.
///
/// Configuration, tokenizer, templates, licence, and the safetensors weights of the folder itself. A repository of GGUF
/// files has several of one model, so that one must be named unless it is alone. Pickles (`.bin`, `.pt`) run code when
/// they are read and are never taken.
pub(crate) fn select(files: Vec<ArrivingFile>, named: &[String]) -> Result<Vec<ArrivingFile>> {
    for name in named {
        if !files.iter().any(|file| file.name == *name) {
            return Err(SealError::NotInRepository(name.clone()));
        }
    }
    let has_safetensors = files.iter().any(|file| is_safetensors(&file.name));
    let gguf: Vec<&str> = files
        .iter()
        .map(|file| file.name.as_str())
        .filter(|name| name.ends_with(".gguf"))
        .collect();
    let named_weights = named
        .iter()
        .any(|name| is_safetensors(name) || name.ends_with(".gguf"));
    let only_gguf = match gguf[..] {
        _ if has_safetensors || named_weights => None,
        [] => return Err(SealError::NoWeights),
        [only] => Some(only.to_owned()),
        _ => {
            return Err(SealError::SeveralWeights(
                gguf.iter().take(12).map(|name| (*name).to_owned()).collect(),
            ));
        }
    };
    let mut selected: Vec<ArrivingFile> = files
        .into_iter()
        .filter(|file| {
            let name = &file.name;
            named.contains(name)
                || Some(name) == only_gguf.as_ref()
                || (!named_weights && is_safetensors(name))
                || is_small_part(name)
        })
        .collect();
    selected.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(selected)
}

fn is_safetensors(name: &str) -> bool {
    name.ends_with(".safetensors") && !name.contains('/')
}

/// What stands beside the weights; modules of sentence embeddings lie in folders of their own.
fn is_small_part(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let is_hidden = name.split('/').any(|part| part.starts_with('.'));
    !is_hidden
        && (file.ends_with(".json")
            || file.ends_with(".jinja")
            || matches!(file, "vocab.txt" | "merges.txt" | "tokenizer.model")
            || file.to_ascii_uppercase().starts_with("LICENSE")
            || file.to_ascii_uppercase().starts_with("NOTICE"))
        && !name.starts_with("onnx/")
        && !name.starts_with("openvino/")
}

#[cfg(test)]
mod tests {
    use sealed_model::ContentDigest;

    use super::*;

    fn selected(names: &[&str], named: &[&str]) -> core::result::Result<Vec<String>, String> {
        let files = names
            .iter()
            .map(|name| ArrivingFile {
                name: (*name).to_owned(),
                bytes: 1,
                digest: ContentDigest::Sha256([0; 32]),
            })
            .collect();
        let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
        select(files, &named)
            .map(|files| files.into_iter().map(|file| file.name).collect())
            .map_err(|error| error.code().to_owned())
    }

    #[test]
    fn safetensors_come_with_what_an_engine_reads_and_pickles_do_not() {
        let names = [
            ".gitattributes",
            "README.md",
            "LICENSE",
            "config.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "pytorch_model.bin",
            "tokenizer.json",
            "onnx/config.json",
            "original/consolidated.safetensors",
            "1_Pooling/config.json",
            "chat_template.jinja",
        ];
        let expected = [
            "1_Pooling/config.json",
            "LICENSE",
            "chat_template.jinja",
            "config.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "tokenizer.json",
        ];
        assert_eq!(selected(&names, &[]).unwrap(), expected);
    }

    #[test]
    fn one_gguf_file_is_taken_and_of_several_one_must_be_named() {
        assert_eq!(
            selected(&["m.gguf", "config.json"], &[]).unwrap(),
            ["config.json", "m.gguf"]
        );
        let several = ["m.Q4_K_M.gguf", "m.Q8_0.gguf"];
        assert_eq!(selected(&several, &[]).unwrap_err(), "several-weights");
        assert_eq!(selected(&several, &["m.Q8_0.gguf"]).unwrap(), ["m.Q8_0.gguf"]);
        assert_eq!(
            selected(&several, &["m.Q2_K.gguf"]).unwrap_err(),
            "not-in-repository"
        );
    }

    #[test]
    fn a_repository_of_pickles_has_no_weights() {
        assert_eq!(
            selected(&["config.json", "pytorch_model.bin"], &[]).unwrap_err(),
            "no-weights"
        );
    }
}
