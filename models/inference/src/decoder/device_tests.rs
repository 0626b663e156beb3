//! What `oracle_tests` asks of the CPU, asked of the operations for devices: on the tensor library's own CPU always, and
//! with the feature `cuda` on a GPU where there is one.
//!
//! A batch need not equal its sequences bit for bit here, so equal means within the tolerance of f32; weights in 16 bits
//! are compared in f32 for it, since rounding activations to 16 bits makes large differences of small ones.

use super::batch::{Part, Wanted};
use super::kv_cache::{BLOCK_TOKENS, Column, KvCache};
use super::oracle::{
    BF16_COSINE_MIN, BF16_TOLERANCE, COSINE_MIN, FIXTURES, Fixture, LOGIT_TOLERANCE, Never, compare_within,
    folder, largest_difference, logits,
};
use crate::embedding::Embedder;
use crate::engine::{Engine, EngineConfig};
use crate::error::InferenceError;
use crate::model::ModelFiles;
use crate::place::{Place, test_places};
use crate::request::{GenerateRequest, PromptInput, Sampling};

/// Blocks stay blocks where others are widened, and meet activations in bf16.
const NEVER_F32: &str = "gpt-oss-mxfp4";

fn in_f32() -> impl Iterator<Item = &'static str> {
    FIXTURES.into_iter().filter(|name| *name != NEVER_F32)
}

fn widened(name: &str, place: &Place) -> Fixture {
    Fixture::load_from(&folder(name), true, place)
}

#[test]
fn logits_agree_with_transformers() {
    for place in test_places() {
        for name in FIXTURES {
            let fixture = Fixture::load(name, &place);
            compare_within(name, &fixture, BF16_TOLERANCE, BF16_COSINE_MIN);
        }
        for name in in_f32() {
            compare_within(name, &widened(name, &place), LOGIT_TOLERANCE, COSINE_MIN);
        }
    }
}

#[test]
fn sixty_four_greedy_tokens_agree_with_transformers() {
    for place in test_places() {
        for name in in_f32() {
            let fixture = widened(name, &place);
            assert_eq!(fixture.expected.greedy.len(), 64);
            assert_eq!(fixture.greedy(64), fixture.expected.greedy, "{name}");
        }
    }
}

#[test]
fn incremental_decoding_equals_full_recomputation() {
    for place in test_places() {
        for name in in_f32() {
            let fixture = widened(name, &place);
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
}

#[test]
fn a_batch_equals_its_sequences_one_by_one() {
    for place in test_places() {
        for name in in_f32() {
            let fixture = widened(name, &place);
            let (decoder, prompt) = (fixture.decoder(), &fixture.expected.prompt);
            // Three sequences: a long part, one that continues, and a single token.
            let ranges = [0..17, 9..14, 20..21];
            let prepared = |start: usize| {
                let mut cache = decoder.cache(prompt.len()).expect("a small cache");
                if start > 0 {
                    logits(decoder, &prompt[..start], &mut cache);
                }
                cache
            };
            let mut caches: Vec<KvCache> = ranges.iter().map(|range| prepared(range.start)).collect();
            let mut parts: Vec<Part<'_>> = caches
                .iter_mut()
                .zip(&ranges)
                .map(|(cache, range)| Part {
                    tokens: &prompt[range.clone()],
                    cache,
                    logits: Wanted::All,
                })
                .collect();
            let batch = decoder
                .forward(&mut parts, &Never)
                .expect("a step")
                .expect("not interrupted");
            for (batch, range) in batch.into_iter().zip(&ranges) {
                let batch: Vec<Vec<f32>> = batch.expect("wanted").to_vec2().expect("rows");
                let single = logits(decoder, &prompt[range.clone()], &mut prepared(range.start));
                let difference = largest_difference(&batch, &single);
                assert!(difference < LOGIT_TOLERANCE, "{name} {range:?}: {difference}");
            }
        }
    }
}

#[test]
fn sliding_layers_give_blocks_back_while_they_decode() {
    for place in test_places() {
        let fixture = Fixture::load("gpt-oss", &place);
        let decoder = fixture.decoder();
        let mut cache = decoder.cache(200).expect("a small cache");
        for token in 0..200 {
            logits(decoder, &[token], &mut cache);
        }
        // 200 tokens are seven blocks; the sliding layer needs the last of them only.
        assert_eq!(cache.blocks_held(), 7 + 1);
    }
}

#[test]
fn sequences_share_columns_and_keep_what_they_write_to_themselves() {
    for place in test_places() {
        let fixture = widened("gqa-untied-f32", &place);
        let decoder = fixture.decoder();
        let pool = decoder.pool(100).expect("a small pool");
        let cache = || KvCache::with_pool(decoder.config(), 3 * BLOCK_TOKENS, &pool);
        let tokens: Vec<u32> = (0..3 * BLOCK_TOKENS as u32)
            .map(|index| index * 37 % 256)
            .collect();
        let (shared, rest) = tokens.split_at(2 * BLOCK_TOKENS);
        let mut first = cache();
        logits(decoder, shared, &mut first);
        let columns: Vec<Column> = (0..2).map_while(|number| first.column(number)).collect();
        let layers = decoder.config().layers.len();
        assert_eq!((columns.len(), pool.taken()), (2, 2 * layers));
        let mut second = cache();
        second.begin_with(&columns).expect("it is empty");
        // One goes on with the rest, the other with something else, and neither disturbs the other.
        let other: Vec<u32> = rest.iter().rev().copied().collect();
        let found = logits(decoder, rest, &mut first);
        let found_other = logits(decoder, &other, &mut second);
        let alone = |rest: &[u32]| {
            let mut cache = cache();
            logits(decoder, shared, &mut cache);
            logits(decoder, rest, &mut cache)
        };
        assert!(largest_difference(&found, &alone(rest)) < LOGIT_TOLERANCE);
        assert!(largest_difference(&found_other, &alone(&other)) < LOGIT_TOLERANCE);
        assert!(largest_difference(&found, &found_other) > 0.1, "they differ");
        let row = candle_core::Tensor::ones(
            (1, 2 * decoder.config().kv_width()),
            candle_core::DType::F32,
            place.device().expect("it is one").device(),
        )
        .expect("a row");
        assert!(second.write_rows(0, 3, &row).is_err(), "others read it");
        drop((first, second));
        assert_eq!(pool.taken(), 2 * layers);
        drop(columns);
        assert_eq!(pool.taken(), 0);
    }
}

#[test]
fn an_engine_says_what_one_on_the_cpu_says() {
    let config = || EngineConfig {
        cache_bytes_max: 8 << 20,
        prefill_tokens_per_turn: 13,
        ..EngineConfig::default()
    };
    let prompt: Vec<u32> = (0..80).map(|index| index * 29 % 250 + 2).collect();
    let completion = |engine: &Engine| -> (String, usize) {
        let mut generation = engine
            .generate(GenerateRequest {
                tenant: Some("tenant"),
                prompt_cache_key: Some("key"),
                sampling: Sampling::greedy(),
                completion_tokens_max: Some(24),
                ..GenerateRequest::new(PromptInput::Tokens(&prompt))
            })
            .expect("it is admitted");
        let pieces = generation.by_ref();
        let text = pieces
            .map(|piece| piece.expect("a piece").text.expose_text().to_owned())
            .collect();
        (text, generation.usage().cached_tokens)
    };
    let on = |place: &Place| {
        let model = widened("gqa-untied-f32", place).model;
        let engine = model.engine(config()).expect("it starts");
        let (text, cached) = completion(&engine);
        assert!(!text.is_empty() && cached == 0);
        assert_eq!(completion(&engine), (text.clone(), 2 * BLOCK_TOKENS));
        text
    };
    let expected = on(&Place::cpu());
    for place in test_places() {
        assert_eq!(on(&place), expected);
    }
}

#[test]
fn a_budget_that_the_device_has_not_is_an_error() {
    for place in test_places() {
        let model = Fixture::load("gqa-untied-f32", &place).model;
        for cache_bytes_max in [usize::MAX, 1 << 60, 1 << 50] {
            let config = EngineConfig {
                cache_bytes_max,
                ..EngineConfig::default()
            };
            let error = model.engine(config).err().expect("nobody has as much");
            assert!(
                matches!(error, InferenceError::DeviceRefused { .. }),
                "{cache_bytes_max}: {error}"
            );
            assert_eq!(error.to_string().lines().count(), 1, "no backtrace: {error}");
        }
    }
}

#[test]
fn a_decoder_embeds_on_a_device_and_an_encoder_does_not() {
    let read = |name: &str| {
        let files = [
            "config.json",
            "tokenizer.json",
            "modules.json",
            "1_Pooling/config.json",
            "model.safetensors",
        ];
        files.map(|file| {
            let path = format!("{}/{file}", folder(name));
            (file, std::fs::read(path).expect("it is committed"))
        })
    };
    let (decoder, encoder) = (read("qwen3-embedding"), read("bert-mean"));
    for place in test_places() {
        let load = |files: &[(&'static str, Vec<u8>)], place: &Place| {
            let files: ModelFiles<'_> = files
                .iter()
                .map(|(name, bytes)| (*name, bytes.as_slice()))
                .collect();
            Embedder::load_at(&files, place)
        };
        let text = "What does remote attestation prove?";
        let vector = |place: &Place| -> Vec<f32> {
            let vector = load(&decoder, place).and_then(|embedder| embedder.embed(text));
            vector.expect("it embeds").expose_vector().to_vec()
        };
        let difference = largest_difference(&[vector(&place)], &[vector(&Place::cpu())]);
        // The model is in bf16.
        assert!(difference < 1e-2, "{difference}");
        let error = load(&encoder, &place).err().expect("it is refused");
        assert!(matches!(error, InferenceError::Unsupported { .. }), "{error}");
    }
}
