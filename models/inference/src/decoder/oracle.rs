//! The checkpoints that `scripts/oracle` made, and what transformers computed on them.

use serde::Deserialize;

use super::batch::{Part, Wanted};
use super::kv_cache::KvCache;
use super::{Decoder, Interrupt};
use crate::checkpoint::Checkpoint;
use crate::model::{Model, ModelFiles};
use crate::place::Place;

pub(super) const FIXTURES: [&str; 21] = [
    "gqa-untied-f32",
    "tied-llama3-f32",
    "bias-f32",
    "sharded-llama3-bf16",
    "tied-f16",
    "yarn-linear",
    "mistral-window",
    "ministral-mixed",
    "ministral3",
    "qwen2",
    "qwen2-full",
    "qwen3",
    "qwen3-moe",
    "qwen3-moe-all",
    "gemma3",
    "phi3",
    "phi3-plain",
    "smollm3",
    "smollm3-full",
    "gpt-oss",
    "gpt-oss-mxfp4",
];

/// The logits kept are those of the last tokens of the prompt.
const LOGIT_ROWS: usize = 8;
/// Largest difference of a logit in f32; the logits have a standard deviation of about 1.5 (Gemma: 10).
pub(super) const LOGIT_TOLERANCE: f32 = 4e-5;
/// Against transformers computing in f32.
pub(super) const COSINE_MIN: f64 = 0.999_999_9;
/// Against transformers computing in bf16 or f16, whose own rounding dominates.
const NATIVE_COSINE_MIN: f64 = 0.998;
/// The same two where the CPU multiplies bf16 itself and activations are rounded to it.
pub(super) const BF16_TOLERANCE: f32 = 0.25;
pub(super) const BF16_COSINE_MIN: f64 = 0.999_5;

pub(super) struct Never;

impl Interrupt for Never {
    fn is_interrupted(&self) -> bool {
        false
    }
}

#[derive(Deserialize)]
pub(super) struct Expected {
    pub(super) prompt: Vec<u32>,
    pub(super) greedy: Vec<u32>,
    pub(super) messages: Vec<Message>,
    pub(super) chat_text: String,
    pub(super) chat_tokens: Vec<u32>,
    pub(super) text_tokens: Vec<u32>,
}

#[derive(Deserialize)]
pub(super) struct Message {
    pub(super) role: String,
    pub(super) content: String,
}

pub(super) struct Fixture {
    pub(super) model: Model,
    pub(super) expected: Expected,
    pub(super) logits: Vec<Vec<f32>>,
    pub(super) logits_native: Option<Vec<Vec<f32>>>,
}

impl Fixture {
    pub(super) fn load(name: &str, place: &Place) -> Self {
        Self::load_from(&folder(name), false, place)
    }

    /// The checkpoint; `widened`, its weights in 16 bits are f32, which nothing rounds activations for.
    pub(super) fn load_from(folder: &str, widened: bool, place: &Place) -> Self {
        let contents: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
            .expect("the fixture is committed")
            .map(|entry| entry.expect("a directory entry"))
            .map(|entry| {
                let name = entry.file_name().into_string().expect("fixture names are ASCII");
                let bytes = std::fs::read(entry.path()).expect("the fixture is readable");
                match widened && name.ends_with(".safetensors") {
                    true => (name, widen(&bytes)),
                    false => (name, bytes),
                }
            })
            .collect();
        let files: ModelFiles<'_> = contents
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
            .collect();
        let expected: Expected =
            serde_json::from_slice(files.required("expected.json").expect("it is there"))
                .expect("it is JSON");
        let numbers = files.required("expected.safetensors").expect("it is there");
        let numbers: ModelFiles<'_> = [("model.safetensors", numbers)].into_iter().collect();
        let mut numbers = Checkpoint::open(&numbers).expect("the numbers are safetensors");
        let has_native = numbers.has("logits_native");
        let model = Model::load_at(&files, place).unwrap_or_else(|error| panic!("{folder}: {error}"));
        let vocabulary = model.decoder().config().vocabulary;
        let mut rows = |tensor: &str| -> Vec<Vec<f32>> {
            let values = numbers.floats(tensor, &[LOGIT_ROWS, vocabulary]);
            let values = values.expect("a row for each of the last tokens");
            values.chunks_exact(vocabulary).map(<[f32]>::to_vec).collect()
        };
        let logits = rows("logits");
        let logits_native = has_native.then(|| rows("logits_native"));
        Self {
            model,
            expected,
            logits,
            logits_native,
        }
    }

    pub(super) fn decoder(&self) -> &Decoder {
        self.model.decoder()
    }

    /// The logits after every token of the prompt, given in parts of `size`.
    pub(super) fn logits_in_parts(&self, size: usize) -> Vec<Vec<f32>> {
        let decoder = self.decoder();
        let mut cache = decoder.cache(self.expected.prompt.len()).expect("a small cache");
        let mut rows = Vec::new();
        for part in self.expected.prompt.chunks(size) {
            rows.extend(logits(decoder, part, &mut cache));
        }
        rows
    }

    pub(super) fn greedy(&self, steps: usize) -> Vec<u32> {
        let decoder = self.decoder();
        let capacity = self.expected.prompt.len() + steps;
        let mut cache = decoder.cache(capacity).expect("a small cache");
        let mut next = self.expected.prompt.clone();
        let mut tokens = Vec::new();
        for _ in 0..steps {
            let token = most_probable(logits(decoder, &next, &mut cache).last().expect("a row"));
            tokens.push(token);
            next = vec![token];
        }
        tokens
    }
}

/// The logits after each of `tokens`.
pub(super) fn logits(decoder: &Decoder, tokens: &[u32], cache: &mut KvCache) -> Vec<Vec<f32>> {
    let part = Part {
        tokens,
        cache,
        logits: Wanted::All,
    };
    let logits = decoder
        .forward(&mut [part], &Never)
        .expect("a step")
        .expect("not interrupted")
        .pop()
        .flatten();
    logits.expect("they are wanted").to_vec2().expect("rows")
}

pub(super) fn most_probable(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = token;
        }
    }
    best as u32
}

pub(super) fn largest_difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    assert_eq!(a.len(), b.len());
    let differences = a
        .iter()
        .flatten()
        .zip(b.iter().flatten())
        .map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max)
}

pub(super) fn cosine(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    let dot = |a: &[Vec<f32>], b: &[Vec<f32>]| -> f64 {
        a.iter()
            .flatten()
            .zip(b.iter().flatten())
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Safetensors with f32 in place of f16 and bf16: the same numbers.
fn widen(bytes: &[u8]) -> Vec<u8> {
    let tensors = safetensors::SafeTensors::deserialize(bytes).expect("safetensors");
    let widened = tensors.iter().map(|(name, tensor)| {
        let (dtype, bytes) = match tensor.dtype() {
            safetensors::Dtype::F16 => {
                let halves = tensor.data().as_chunks().0.iter();
                let wide = halves.flat_map(|half| half::f16::from_le_bytes(*half).to_f32().to_le_bytes());
                (safetensors::Dtype::F32, wide.collect())
            }
            safetensors::Dtype::BF16 => {
                let wide = tensor
                    .data()
                    .as_chunks()
                    .0
                    .iter()
                    .flat_map(|[low, high]| [0, 0, *low, *high]);
                (safetensors::Dtype::F32, wide.collect())
            }
            other => (other, tensor.data().to_vec()),
        };
        (name.to_owned(), dtype, tensor.shape().to_vec(), bytes)
    });
    let widened: Vec<(String, safetensors::Dtype, Vec<usize>, Vec<u8>)> = widened.collect();
    let views = widened.iter().map(|(name, dtype, shape, bytes)| {
        let view = safetensors::tensor::TensorView::new(*dtype, shape.clone(), bytes);
        (name.as_str(), view.expect("as many bytes as numbers"))
    });
    safetensors::serialize(views, None).expect("it is written")
}

pub(super) fn folder(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

pub(super) fn compare_within(name: &str, fixture: &Fixture, tolerance: f32, cosine_min: f64) {
    let mut found = fixture.logits_in_parts(usize::MAX);
    found.drain(..found.len() - LOGIT_ROWS);
    let difference = largest_difference(&found, &fixture.logits);
    let similar = cosine(&found, &fixture.logits);
    assert!(
        difference < tolerance && similar > cosine_min,
        "{name}: {difference}, {similar}"
    );
    if let Some(native) = &fixture.logits_native {
        let similar = cosine(&found, native);
        assert!(similar > NATIVE_COSINE_MIN, "{name}: {similar}");
    }
}
