//! The decoder against transformers, on the checkpoints that `scripts/oracle-llama` made.

use candle_core::Tensor;
use serde::Deserialize;

use super::kv_cache::KvCache;
use super::{Decoder, Interrupt};
use crate::checkpoint::Checkpoint;
use crate::model::{Model, ModelFiles};
use crate::request::{ChatMessage, Role};
use crate::text::Conversation;

const FIXTURES: [&str; 5] = [
    "gqa-untied-f32",
    "tied-llama3-f32",
    "bias-f32",
    "sharded-llama3-bf16",
    "tied-f16",
];

/// Largest difference of a logit in f32; the logits have a standard deviation of 1.5.
const LOGIT_TOLERANCE: f32 = 2e-5;
/// Against transformers computing in bf16 or f16, whose own rounding dominates.
const NATIVE_COSINE_MIN: f64 = 0.999;

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
    logits_native: Vec<Vec<f32>>,
}

impl Fixture {
    fn load(name: &str) -> Self {
        let folder = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
        let contents: Vec<(String, Vec<u8>)> = std::fs::read_dir(&folder)
            .expect("the fixture is committed")
            .map(|entry| entry.expect("a directory entry"))
            .map(|entry| {
                let name = entry.file_name().into_string().expect("fixture names are ASCII");
                (
                    name,
                    std::fs::read(entry.path()).expect("the fixture is readable"),
                )
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
        let model = Model::load(&files).unwrap_or_else(|error| panic!("{name}: {error}"));
        let vocabulary = model.decoder().config().vocabulary;
        let mut rows = |tensor: &str| {
            let tensor = numbers.matrices(&[(tensor, expected.prompt.len())], vocabulary);
            tensor.expect("one row per token").to_vec2().expect("rows")
        };
        let (logits, logits_native) = (rows("logits"), rows("logits_native"));
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
            let hidden = decoder
                .advance(part, &mut cache, &Never)
                .expect("a step")
                .expect("not interrupted");
            let logits = decoder
                .norm
                .forward(&hidden)
                .and_then(|hidden| decoder.head.forward(&hidden));
            rows.extend(logits.and_then(|logits| logits.to_vec2::<f32>()).expect("logits"));
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
            let logits = decoder
                .logits(&next, &mut cache, &Never)
                .expect("a step")
                .expect("not interrupted");
            let token = logits
                .argmax(0)
                .and_then(|token| token.to_scalar::<u32>())
                .expect("a token");
            tokens.push(token);
            next = vec![token];
        }
        tokens
    }
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

#[test]
fn logits_agree_with_transformers() {
    for name in FIXTURES {
        let fixture = Fixture::load(name);
        let found = fixture.logits_in_parts(usize::MAX);
        let difference = largest_difference(&found, &fixture.logits);
        assert!(difference < LOGIT_TOLERANCE, "{name}: {difference}");
        let cosine = cosine(&found, &fixture.logits_native);
        assert!(cosine > NATIVE_COSINE_MIN, "{name}: {cosine}");
    }
}

#[test]
fn sixty_four_greedy_tokens_agree_with_transformers() {
    for name in FIXTURES {
        let fixture = Fixture::load(name);
        assert_eq!(fixture.expected.greedy.len(), 64);
        assert_eq!(fixture.greedy(64), fixture.expected.greedy, "{name}");
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
    assert!(
        decoder
            .logits(&[1], &mut cache, &Always)
            .expect("a step")
            .is_none()
    );
    assert!(decoder.logits(&[u32::MAX], &mut cache, &Never).is_err());
    assert!(
        decoder.logits(&[1; 5], &mut cache, &Never).is_err(),
        "more than the cache holds"
    );
}

#[test]
fn the_products_of_one_row_and_of_many_use_the_same_weights() {
    let fixture = Fixture::load("gqa-untied-f32");
    let x = Tensor::new(&[[0.5_f32; 32], [0.25; 32]], &candle_core::Device::Cpu).expect("two rows");
    let both = fixture
        .decoder()
        .head
        .forward(&x)
        .and_then(|y| y.to_vec2::<f32>())
        .expect("two rows");
    let one = x.narrow(0, 1, 1).and_then(|x| fixture.decoder().head.forward(&x));
    let one = one.and_then(|y| y.to_vec2::<f32>()).expect("one row");
    assert!(largest_difference(&both[1..], &one) < 1e-5);
}
