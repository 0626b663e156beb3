//! Thousands of damaged checkpoints: each is an error or still a model, never a panic.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};

use common::Files;
use inference::{EngineConfig, GenerateRequest, InferenceError, PromptInput, Sampling};

/// A xorshift generator: the mutants are the same on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// Loads, and where that works decodes a little. Both may fail; neither may panic.
fn load_and_decode(files: &Files) -> Result<(), InferenceError> {
    let engine = files.load()?.engine(EngineConfig::default())?;
    let request = GenerateRequest {
        sampling: Sampling::greedy(),
        completion_tokens_max: Some(3),
        ..GenerateRequest::new(PromptInput::Text("the line"))
    };
    engine.generate(request)?.try_for_each(|piece| piece.map(drop))
}

/// Counts how many of the mutants were refused.
fn refused(count: usize, mut mutant: impl FnMut(&mut Random) -> Files) -> usize {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut refused = 0;
    for index in 0..count {
        let files = mutant(&mut random);
        let outcome = catch_unwind(AssertUnwindSafe(|| load_and_decode(&files)));
        refused += usize::from(
            outcome
                .unwrap_or_else(|_| panic!("mutant {index} panics"))
                .is_err(),
        );
    }
    refused
}

/// Changes, cuts, doubles or inserts a few bytes within the first `within`.
fn damage(bytes: &mut Vec<u8>, within: usize, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let within = within.min(bytes.len());
        if within == 0 {
            return;
        }
        let at = random.below(within);
        match random.below(5) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = b"0123456789{}[]\",:-eE\0\xff"[random.below(22)],
            2 => bytes.truncate(at),
            3 => bytes.insert(at, b"0123456789"[random.below(10)]),
            _ => drop(bytes.drain(at..(at + random.below(40)).min(bytes.len()))),
        }
    }
}

fn mutants_of(fixture: &str, file: &str, within: usize, count: usize) -> usize {
    let original = Files::fixture(fixture);
    refused(count, |random| {
        let mut files = original.clone();
        damage(files.0.get_mut(file).expect("the fixture has it"), within, random);
        files
    })
}

#[test]
fn damaged_safetensors_headers() {
    let header_bytes = 1500;
    assert!(mutants_of("bias-f32", "model.safetensors", header_bytes, 1500) > 1400);
    assert!(mutants_of("sharded-llama3-bf16", "model-00002-of-00002.safetensors", 8, 200) > 190);
}

#[test]
fn damaged_weights_still_decode_or_fail() {
    mutants_of("tied-f16", "model.safetensors", usize::MAX, 200);
}

#[test]
fn damaged_json_files() {
    for (file, count) in [
        ("config.json", 1000),
        ("generation_config.json", 200),
        ("tokenizer_config.json", 200),
        ("model.safetensors.index.json", 400),
        ("chat_template.jinja", 200),
    ] {
        assert!(
            mutants_of("sharded-llama3-bf16", file, usize::MAX, count) > 0,
            "{file}"
        );
    }
}

#[test]
fn damaged_tokenizers() {
    assert!(mutants_of("bias-f32", "tokenizer.json", usize::MAX, 500) > 250);
}

#[test]
fn numbers_of_the_config_at_their_extremes() {
    let original = Files::fixture("bias-f32");
    let config: serde_json::Value = serde_json::from_slice(&original.0["config.json"]).expect("it is JSON");
    let keys: Vec<String> = config.as_object().expect("an object").keys().cloned().collect();
    let values = [
        "0",
        "1",
        "2",
        "3",
        "-1",
        "7.5",
        "1e308",
        "-1e-308",
        "4294967295",
        "4294967296",
        "9223372036854775807",
        "18446744073709551615",
        "18446744073709551616",
        "null",
        "true",
        "\"x\"",
        "[]",
        "[1]",
        "{}",
        "[4294967295]",
        "1048577",
        "16777216",
        "16777217",
    ];
    let values = values.map(|value| serde_json::from_str::<serde_json::Value>(value).expect("it is JSON"));
    let mut cases = keys
        .iter()
        .flat_map(|key| values.iter().map(move |value| (key.clone(), value.clone())));
    let count = keys.len() * values.len();
    let refused = refused(count, |_| {
        let (key, value) = cases.next().expect("one case for each");
        let mut files = original.clone();
        files.edit("config.json", |config| drop(config.insert(key, value)));
        files
    });
    assert!(refused > count / 3, "{refused} of {count}");
}

#[test]
fn missing_files_are_named() {
    for (fixture, file) in [
        ("bias-f32", "config.json"),
        ("bias-f32", "tokenizer.json"),
        ("bias-f32", "model.safetensors"),
        ("sharded-llama3-bf16", "model-00001-of-00002.safetensors"),
    ] {
        let mut files = Files::fixture(fixture);
        files.0.remove(file);
        let error = files.load().err().expect(file);
        assert_eq!(error.code(), "model-file-missing");
        assert!(error.to_string().ends_with(file), "{error}");
    }
}

#[test]
fn tensors_that_do_not_fit_the_config_are_named() {
    let edits: [(&str, serde_json::Value, &str); 6] = [
        ("hidden_size", 34.into(), "model.embed_tokens.weight"),
        ("intermediate_size", 47.into(), "mlp.gate_proj.weight"),
        (
            "num_hidden_layers",
            2.into(),
            "model.layers.1.input_layernorm.weight",
        ),
        ("attention_bias", false.into(), "bias"),
        ("mlp_bias", false.into(), "bias"),
        ("tie_word_embeddings", false.into(), "lm_head.weight"),
    ];
    for (key, value, tensor) in edits {
        let mut files = Files::fixture("bias-f32");
        files.edit("config.json", |config| drop(config.insert(key.into(), value)));
        let error = files.load().err().expect(key);
        assert_eq!(error.code(), "model-tensor-mismatch", "{key}: {error}");
        assert!(error.to_string().contains(tensor), "{key}: {error}");
    }
}

#[test]
fn an_index_that_lies_is_refused() {
    let mut files = Files::fixture("sharded-llama3-bf16");
    files.edit("model.safetensors.index.json", |index| {
        let map = index["weight_map"].as_object_mut().expect("a map");
        map.insert(
            "model.norm.weight".into(),
            "model-00001-of-00002.safetensors".into(),
        );
        map.insert("lm_head.weight".into(), "model-00002-of-00002.safetensors".into());
        let swapped = map.get("model.embed_tokens.weight").expect("it is there").clone();
        map.insert(
            "model.embed_tokens.weight".into(),
            if swapped == "model-00001-of-00002.safetensors" {
                "model-00002-of-00002.safetensors".into()
            } else {
                "model-00001-of-00002.safetensors".into()
            },
        );
    });
    assert_eq!(
        files.load().err().expect("it lies").code(),
        "model-tensor-mismatch"
    );
    let mut files = Files::fixture("sharded-llama3-bf16");
    files.edit("model.safetensors.index.json", |index| {
        let map = index["weight_map"].as_object_mut().expect("a map");
        map.insert("model.extra".into(), "model-00001-of-00002.safetensors".into());
    });
    assert_eq!(
        files.load().err().expect("it lies").code(),
        "model-tensor-mismatch"
    );
}

#[test]
fn prompts_made_to_hurt_the_tokenizer_end_soon() {
    let engine = Files::endless()
        .load()
        .and_then(|model| {
            model.engine(EngineConfig {
                context_tokens_max: Some(64),
                ..EngineConfig::default()
            })
        })
        .expect("it loads");
    let units = [
        "a",
        " ",
        "\n",
        "^",
        "\0",
        "e\u{301}",
        "\u{200d}",
        "👩‍👩‍👧",
        "'s",
        "١",
        "\u{202e}",
        "<s>",
        "𝕏9",
    ];
    for unit in units {
        let prompt = unit.repeat((1 << 20) / unit.len());
        let start = std::time::Instant::now();
        let error = engine
            .generate(GenerateRequest::new(PromptInput::Text(&prompt)))
            .err()
            .expect("too long");
        assert_eq!(error.code(), "context-exceeded");
        // Not a benchmark: a bound that only a blow-up reaches.
        assert!(start.elapsed().as_secs() < 30, "{unit:?}");
    }
}
