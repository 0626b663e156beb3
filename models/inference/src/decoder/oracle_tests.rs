//! The decoder against transformers, on the checkpoints that `scripts/oracle` made.

use serde::Deserialize;

use super::batch::{Part, Wanted};
use super::kv_cache::KvCache;
use super::{Decoder, Interrupt};
use crate::checkpoint::Checkpoint;
use crate::model::{Model, ModelFiles};
use crate::request::{ChatMessage, Role};
use crate::text::Conversation;

const FIXTURES: [&str; 21] = [
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
const LOGIT_TOLERANCE: f32 = 4e-5;
/// Against transformers computing in f32.
const COSINE_MIN: f64 = 0.999_999_9;
/// Against transformers computing in bf16 or f16, whose own rounding dominates.
const NATIVE_COSINE_MIN: f64 = 0.998;
/// The same two where the CPU multiplies bf16 itself and activations are rounded to it.
const BF16_TOLERANCE: f32 = 0.25;
const BF16_COSINE_MIN: f64 = 0.999_5;

struct Never;

impl Interrupt for Never {
    fn is_interrupted(&self) -> bool {
        false
    }
}

#[derive(Deserialize)]
struct Expected {
    prompt: Vec<u32>,
    greedy: Vec<u32>,
    messages: Vec<Message>,
    chat_text: String,
    chat_tokens: Vec<u32>,
    text_tokens: Vec<u32>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: String,
}

struct Fixture {
    model: Model,
    expected: Expected,
    logits: Vec<Vec<f32>>,
    logits_native: Option<Vec<Vec<f32>>>,
}

impl Fixture {
    fn load(name: &str) -> Self {
        Self::load_from(&folder(name), false)
    }

    /// The checkpoint; `widened`, its weights in bf16 are f32, which no CPU rounds activations for.
    fn load_from(folder: &str, widened: bool) -> Self {
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
        let model = Model::load(&files).unwrap_or_else(|error| panic!("{folder}: {error}"));
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

    fn decoder(&self) -> &Decoder {
        self.model.decoder()
    }

    /// The logits after every token of the prompt, given in parts of `size`.
    fn logits_in_parts(&self, size: usize) -> Vec<Vec<f32>> {
        let decoder = self.decoder();
        let mut cache = KvCache::new(decoder.config(), self.expected.prompt.len()).expect("a small cache");
        let mut rows = Vec::new();
        for part in self.expected.prompt.chunks(size) {
            rows.extend(logits(decoder, part, &mut cache));
        }
        rows
    }

    fn greedy(&self, steps: usize) -> Vec<u32> {
        let decoder = self.decoder();
        let capacity = self.expected.prompt.len() + steps;
        let mut cache = KvCache::new(decoder.config(), capacity).expect("a small cache");
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
fn logits(decoder: &Decoder, tokens: &[u32], cache: &mut KvCache) -> Vec<Vec<f32>> {
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

fn most_probable(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = token;
        }
    }
    best as u32
}

fn largest_difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    assert_eq!(a.len(), b.len());
    let differences = a
        .iter()
        .flatten()
        .zip(b.iter().flatten())
        .map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max)
}

fn cosine(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    let dot = |a: &[Vec<f32>], b: &[Vec<f32>]| -> f64 {
        a.iter()
            .flatten()
            .zip(b.iter().flatten())
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Safetensors with f32 in place of bf16: the same numbers.
fn widen(bytes: &[u8]) -> Vec<u8> {
    let tensors = safetensors::SafeTensors::deserialize(bytes).expect("safetensors");
    let widened = tensors.iter().map(|(name, tensor)| {
        let (dtype, bytes) = match tensor.dtype() {
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

fn folder(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn rounds_to_bf16() -> bool {
    kernels::Isa::best().rounds_to_bf16()
}

/// As the checkpoint is, and, where this CPU rounds for bf16, also in f32.
fn compare_both(name: &str, folder: &str) {
    compare(name, &Fixture::load_from(folder, false));
    if rounds_to_bf16() {
        let fixture = Fixture::load_from(folder, true);
        compare_within(name, &fixture, LOGIT_TOLERANCE, COSINE_MIN);
    }
}

fn compare(name: &str, fixture: &Fixture) {
    match rounds_to_bf16() {
        true => compare_within(name, fixture, BF16_TOLERANCE, BF16_COSINE_MIN),
        false => compare_within(name, fixture, LOGIT_TOLERANCE, COSINE_MIN),
    }
}

fn compare_within(name: &str, fixture: &Fixture, tolerance: f32, cosine_min: f64) {
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

#[test]
fn logits_agree_with_transformers() {
    for name in FIXTURES {
        compare_both(name, &folder(name));
    }
}

#[test]
fn sixty_four_greedy_tokens_agree_with_transformers() {
    for name in FIXTURES {
        let fixture = Fixture::load_from(&folder(name), rounds_to_bf16());
        assert_eq!(fixture.expected.greedy.len(), 64);
        assert_eq!(fixture.greedy(64), fixture.expected.greedy, "{name}");
    }
}

/// Other checkpoints of `scripts/oracle`, in the folder that `ADYTON_ORACLE` names.
#[test]
#[allow(clippy::print_stdout, reason = "it says what it did not run")]
fn further_checkpoints_agree_with_transformers() {
    let Some(folder) = std::env::var_os("ADYTON_ORACLE") else {
        println!("NOT RUN: ADYTON_ORACLE names no folder of further checkpoints");
        return;
    };
    for entry in std::fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("a directory entry").path();
        let path = path.to_str().expect("UTF-8");
        if !std::path::Path::new(&format!("{path}/expected.safetensors")).exists() {
            continue;
        }
        println!("{path}");
        compare_both(path, path);
        let fixture = Fixture::load_from(path, rounds_to_bf16());
        assert_eq!(fixture.greedy(64), fixture.expected.greedy, "{path}");
        // The same weights in the other form, where they are.
        let (parent, name) = path.rsplit_once('/').expect("an entry of a folder");
        let gguf = format!("{parent}/gguf/{name}.gguf");
        if let Ok(bytes) = std::fs::read(&gguf) {
            println!("{gguf}");
            let files: ModelFiles<'_> = [("model.gguf", bytes.as_slice())].into_iter().collect();
            let model = Model::load(&files).unwrap_or_else(|error| panic!("{gguf}: {error}"));
            let fixture = Fixture { model, ..fixture };
            compare(&gguf, &fixture);
            if !rounds_to_bf16() {
                assert_eq!(fixture.greedy(64), fixture.expected.greedy, "{gguf}");
            }
        }
    }
}

#[test]
fn incremental_decoding_equals_full_recomputation() {
    for name in FIXTURES {
        let fixture = Fixture::load(name);
        let whole = fixture.logits_in_parts(usize::MAX);
        for size in [1, 5, 23] {
            let difference = largest_difference(&fixture.logits_in_parts(size), &whole);
            assert!(
                difference < LOGIT_TOLERANCE,
                "{name} in parts of {size}: {difference}"
            );
        }
    }
}

#[test]
fn template_and_tokens_agree_with_transformers() {
    let fixture = Fixture::load("gqa-untied-f32");
    let expected = &fixture.expected;
    let messages: Vec<_> = expected
        .messages
        .iter()
        .map(|message| {
            ChatMessage::text(
                Role::parse(&message.role).expect("a known role"),
                &message.content,
            )
        })
        .collect();
    let template = fixture.model.chat_template().expect("the fixture has one");
    let conversation = Conversation {
        messages: &messages,
        functions: None,
        time: None,
        reasoning_effort: None,
    };
    let text = template.render(&conversation, 4096).expect("it renders");
    assert_eq!(text.expose_text(), expected.chat_text);
    let tokenizer = fixture.model.tokenizer();
    let tokens = tokenizer
        .encode(text.expose_text(), false, 4096)
        .expect("it encodes");
    assert_eq!(tokens.expose_tokens(), expected.chat_tokens);
    let tokens = tokenizer
        .encode(&expected.messages[1].content, true, 4096)
        .expect("it encodes");
    assert_eq!(tokens.expose_tokens(), expected.text_tokens);
}

#[test]
fn an_interrupted_step_gives_nothing_and_a_foreign_token_is_an_error() {
    struct Always;
    impl Interrupt for Always {
        fn is_interrupted(&self) -> bool {
            true
        }
    }
    let fixture = Fixture::load("bias-f32");
    let decoder = fixture.decoder();
    let mut cache = KvCache::new(decoder.config(), 4).expect("a small cache");
    let mut forward = |tokens: &[u32], interrupt: &dyn Interrupt| {
        let part = Part {
            tokens,
            cache: &mut cache,
            logits: Wanted::Last,
        };
        decoder
            .forward(&mut [part], interrupt)
            .map(|logits| logits.is_some())
    };
    assert!(!forward(&[1], &Always).expect("a step"));
    assert!(forward(&[u32::MAX], &Never).is_err());
    assert!(forward(&[1; 5], &Never).is_err(), "more than the cache holds");
    assert!(forward(&[], &Never).is_err());
    assert!(forward(&[1; 4], &Never).expect("it fits"));
}

#[test]
fn a_batch_equals_its_sequences_one_by_one() {
    for name in FIXTURES {
        let fixture = Fixture::load(name);
        let (decoder, prompt) = (fixture.decoder(), &fixture.expected.prompt);
        // Three sequences: a long part, one that continues, and a single token.
        let starts: [(usize, usize); 3] = [(0, 17), (9, 14), (20, 21)];
        let prepared = |start: usize| {
            let mut cache = KvCache::new(decoder.config(), prompt.len()).expect("a small cache");
            if start > 0 {
                logits(decoder, &prompt[..start], &mut cache);
            }
            cache
        };
        let single: Vec<_> = starts
            .iter()
            .map(|(start, end)| logits(decoder, &prompt[*start..*end], &mut prepared(*start)))
            .collect();
        let mut caches = starts.map(|(start, _)| prepared(start));
        let mut parts: Vec<Part<'_>> = caches
            .iter_mut()
            .zip(&starts)
            .map(|(cache, (start, end))| Part {
                tokens: &prompt[*start..*end],
                cache,
                logits: Wanted::All,
            })
            .collect();
        let batch = decoder
            .forward(&mut parts, &Never)
            .expect("a step")
            .expect("not interrupted");
        for (batch, single) in batch.into_iter().zip(&single) {
            let batch: Vec<Vec<f32>> = batch.expect("wanted").to_vec2().expect("rows");
            assert_eq!(&batch, single, "{name}");
        }
    }
}

#[test]
fn sliding_layers_give_blocks_back_while_they_decode() {
    let fixture = Fixture::load("gpt-oss");
    let decoder = fixture.decoder();
    let mut cache = KvCache::new(decoder.config(), 200).expect("a small cache");
    for token in 0..200 {
        logits(decoder, &[token % 256], &mut cache);
    }
    // 200 tokens are seven blocks; the sliding layer needs the last of them only.
    assert_eq!(cache.blocks_held(), 7 + 1);
}
