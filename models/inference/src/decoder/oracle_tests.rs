//! The decoder against transformers, on the CPU.

use super::Interrupt;
use super::batch::{Part, Wanted};
use super::oracle::{
    BF16_COSINE_MIN, BF16_TOLERANCE, COSINE_MIN, FIXTURES, Fixture, LOGIT_TOLERANCE, Never, compare_within,
    folder, largest_difference, logits,
};
use crate::model::{Model, ModelFiles};
use crate::place::Place;
use crate::request::{ChatMessage, Role};
use crate::text::Conversation;

fn rounds_to_bf16() -> bool {
    kernels::Isa::best().rounds_to_bf16()
}

/// As the checkpoint is, and, where this CPU rounds for bf16, also in f32.
fn compare_both(name: &str, folder: &str) {
    compare(name, &Fixture::load_from(folder, false, &Place::cpu()));
    if rounds_to_bf16() {
        let fixture = Fixture::load_from(folder, true, &Place::cpu());
        compare_within(name, &fixture, LOGIT_TOLERANCE, COSINE_MIN);
    }
}

fn compare(name: &str, fixture: &Fixture) {
    match rounds_to_bf16() {
        true => compare_within(name, fixture, BF16_TOLERANCE, BF16_COSINE_MIN),
        false => compare_within(name, fixture, LOGIT_TOLERANCE, COSINE_MIN),
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
        let fixture = Fixture::load_from(&folder(name), rounds_to_bf16(), &Place::cpu());
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
        let fixture = Fixture::load_from(path, rounds_to_bf16(), &Place::cpu());
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
        let fixture = Fixture::load(name, &Place::cpu());
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
    let fixture = Fixture::load("gqa-untied-f32", &Place::cpu());
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
    let fixture = Fixture::load("bias-f32", &Place::cpu());
    let decoder = fixture.decoder();
    let mut cache = decoder.cache(4).expect("a small cache");
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
        let fixture = Fixture::load(name, &Place::cpu());
        let (decoder, prompt) = (fixture.decoder(), &fixture.expected.prompt);
        // Three sequences: a long part, one that continues, and a single token.
        let starts: [(usize, usize); 3] = [(0, 17), (9, 14), (20, 21)];
        let prepared = |start: usize| {
            let mut cache = decoder.cache(prompt.len()).expect("a small cache");
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
    let fixture = Fixture::load("gpt-oss", &Place::cpu());
    let decoder = fixture.decoder();
    let mut cache = decoder.cache(200).expect("a small cache");
    for token in 0..200 {
        logits(decoder, &[token % 256], &mut cache);
    }
    // 200 tokens are seven blocks; the sliding layer needs the last of them only.
    assert_eq!(cache.blocks_held(), 7 + 1);
}
