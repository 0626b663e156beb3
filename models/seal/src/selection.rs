//! Which files of a repository make the model.

use sealed_model::ArrivingFile;

use crate::error::{Result, SealError};

/// The files to pull: those named, or else what an engine reads.
///
/// Configuration, tokenizer, templates, licence, and the safetensors weights of the folder itself. A repository of GGUF
/// files has several of one model, so that one must be named unless it is alone; one in several files is pulled whole,
/// whichever of them is named. Pickles (`.bin`, `.pt`) run code when
/// they are read and are never taken.
pub(crate) fn select(files: Vec<ArrivingFile>, named: &[String]) -> Result<Vec<ArrivingFile>> {
    for name in named {
        if !files.iter().any(|file| file.name == *name) {
            return Err(SealError::NotInRepository(name.clone()));
        }
    }
    let named: Vec<String> = files
        .iter()
        .map(|file| &file.name)
        .filter(|name| {
            let of_a_named_one =
                |named: &String| split_stem(named).is_some_and(|stem| split_stem(name) == Some(stem));
            named.contains(name) || named.iter().any(of_a_named_one)
        })
        .cloned()
        .collect();
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
        _ if has_safetensors || named_weights => Vec::new(),
        [] => return Err(SealError::NoWeights),
        [only] => vec![only.to_owned()],
        [first, ..]
            if split_stem(first).is_some()
                && gguf.iter().all(|name| split_stem(name) == split_stem(first)) =>
        {
            gguf.iter().map(|name| (*name).to_owned()).collect()
        }
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
                || only_gguf.contains(name)
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

/// What the names of a GGUF in several files begin with: `STEM-00001-of-00003.gguf`.
fn split_stem(name: &str) -> Option<&str> {
    let is_number = |digits: &str| digits.len() == 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    (is_number(number) && is_number(count)).then_some(stem)
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
    fn a_gguf_in_several_files_is_pulled_whole() {
        let small = ["m-Q4-00001-of-00002.gguf", "m-Q4-00002-of-00002.gguf"];
        assert_eq!(selected(&small, &[]).unwrap(), small);
        let both = [
            &small[..],
            &[
                "m-Q8-00001-of-00003.gguf",
                "m-Q8-00002-of-00003.gguf",
                "m-Q8-00003-of-00003.gguf",
            ],
        ]
        .concat();
        assert_eq!(selected(&both, &[]).unwrap_err(), "several-weights");
        assert_eq!(selected(&both, &["m-Q8-00001-of-00003.gguf"]).unwrap(), both[2..]);
        assert_eq!(
            selected(&["a.gguf", small[0]], &[]).unwrap_err(),
            "several-weights"
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
