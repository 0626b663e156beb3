//! Fixtures for the tests of the public API.

use std::collections::BTreeMap;

use inference::{Generation, InferenceError, Model, ModelFiles};

/// The files of a fixture, owned, so that a test can change them.
#[derive(Clone)]
pub(crate) struct Files(pub(crate) BTreeMap<String, Vec<u8>>);

impl Files {
    /// With the files of its folders, which embedding models have.
    pub(crate) fn fixture(name: &str) -> Self {
        let folder = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
        let mut files = BTreeMap::new();
        let mut folders = vec![(folder, String::new())];
        while let Some((folder, prefix)) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("the fixture is committed") {
                let entry = entry.expect("a directory entry");
                let name = entry.file_name().into_string().expect("fixture names are ASCII");
                let path = entry.path();
                if path.is_dir() {
                    let folder = path.to_str().expect("fixture names are ASCII").to_owned();
                    folders.push((folder, format!("{prefix}{name}/")));
                } else {
                    let bytes = std::fs::read(path).expect("the fixture is readable");
                    files.insert(format!("{prefix}{name}"), bytes);
                }
            }
        }
        Self(files)
    }

    /// A fixture in GGUF form.
    #[allow(dead_code, reason = "not every test binary needs it")]
    pub(crate) fn gguf(name: &str) -> Self {
        let path = format!("{}/tests/fixtures/gguf/{name}.gguf", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(path).expect("the fixture is committed");
        Self([("model.gguf".to_owned(), bytes)].into_iter().collect())
    }

    #[allow(dead_code, reason = "not every test binary needs it")]
    pub(crate) fn load(&self) -> Result<Model, InferenceError> {
        let files: ModelFiles<'_> = self
            .0
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
            .collect();
        Model::load(&files)
    }

    /// Changes a JSON file.
    pub(crate) fn edit(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>),
    ) {
        let bytes = self.0.get_mut(name).expect("the fixture has the file");
        let mut value: serde_json::Value = serde_json::from_slice(bytes).expect("the fixture is JSON");
        change(value.as_object_mut().expect("the file is an object"));
        *bytes = value.to_string().into_bytes();
    }

    /// A model that never ends by itself, with room for a million tokens.
    #[allow(dead_code, reason = "not every test binary needs it")]
    pub(crate) fn endless() -> Self {
        let mut files = Self::fixture("bias-f32");
        files.edit("config.json", |config| {
            config.insert("max_position_embeddings".into(), 1_000_000.into());
            config.remove("eos_token_id");
        });
        files.edit("generation_config.json", |config| {
            drop(config.remove("eos_token_id"))
        });
        files.edit("tokenizer_config.json", |config| drop(config.remove("eos_token")));
        files
    }
}

/// The text of a whole completion.
#[allow(dead_code, reason = "not every test binary needs it")]
pub(crate) fn text(generation: &mut Generation) -> Result<String, InferenceError> {
    generation
        .map(|piece| piece.map(|piece| piece.text.expose_text().to_owned()))
        .collect()
}
