//! The engine through its public API, on a tiny random model.

mod common;

use std::time::{Duration, Instant};

use common::{Files, text};
use inference::{
    ChatMessage, Engine, EngineConfig, EngineLoad, FinishReason, GenerateRequest, InferenceError, Model,
    Piece, PromptInput, Role, Sampling, SecretText, SecretTokens, Usage,
};

const PROMPT: &str = "the end of the line";

fn model() -> Model {
    Files::endless().load().expect("the fixture loads")
}

fn engine() -> Engine {
    model()
        .engine(EngineConfig::default())
        .expect("the defaults are valid")
}

fn greedy(prompt: &str, completion_tokens: usize) -> GenerateRequest<'_> {
    GenerateRequest {
        sampling: Sampling::greedy(),
        completion_tokens_max: Some(completion_tokens),
        ..GenerateRequest::new(PromptInput::Text(prompt))
    }
}

fn run(engine: &Engine, request: GenerateRequest<'_>) -> String {
    text(&mut engine.generate(request).expect("it is admitted")).expect("it ends well")
}

fn error(engine: &Engine, request: GenerateRequest<'_>) -> InferenceError {
    engine.generate(request).err().expect("it is refused")
}

fn wait_until_idle(engine: &Engine) {
    let start = Instant::now();
    while engine.load()
        != (EngineLoad {
            active: 0,
            waiting: 0,
        })
    {
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", engine.load());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn secrets_cannot_be_printed_or_copied() {
    use static_assertions::assert_not_impl_any;
    assert_not_impl_any!(SecretText: std::fmt::Debug, std::fmt::Display, Clone, serde::Serialize);
    assert_not_impl_any!(SecretTokens: std::fmt::Debug, std::fmt::Display, Clone, serde::Serialize);
    assert_not_impl_any!(Piece: std::fmt::Debug, Clone, serde::Serialize);
    assert_not_impl_any!(GenerateRequest<'static>: std::fmt::Debug, Clone, serde::Serialize);
    assert_not_impl_any!(PromptInput<'static>: std::fmt::Debug, Clone, serde::Serialize);
    assert_not_impl_any!(ChatMessage<'static>: std::fmt::Debug, Clone, serde::Serialize);
    assert_not_impl_any!(inference::MessageToolCall<'static>: std::fmt::Debug, Clone, serde::Serialize);
    assert_not_impl_any!(inference::Constraint<'static>: std::fmt::Debug, Clone, serde::Serialize);
    assert_not_impl_any!(inference::Tools<'static>: std::fmt::Debug, Clone, serde::Serialize);
    assert_not_impl_any!(inference::ToolCall: std::fmt::Debug, Clone, serde::Serialize);
    assert_not_impl_any!(inference::Said: std::fmt::Debug, Clone, serde::Serialize);
    assert_not_impl_any!(inference::TokenProbability: std::fmt::Debug, Clone, serde::Serialize);
    assert_not_impl_any!(inference::TokenLogProbability: std::fmt::Debug, Clone, serde::Serialize);
    assert_not_impl_any!(inference::Generation: std::fmt::Debug, Clone);
    static_assertions::assert_impl_all!(Engine: Send, Sync);
    static_assertions::assert_impl_all!(inference::Generation: Send);
}

#[test]
fn a_completion_counts_its_tokens_and_says_why_it_ended() {
    let engine = engine();
    let mut generation = engine.generate(greedy(PROMPT, 20)).expect("it is admitted");
    text(&mut generation).expect("it ends well");
    let prompt_tokens = engine.model().count_tokens(PROMPT, 100).expect("short") + 1;
    assert_eq!(
        generation.usage(),
        Usage {
            prompt_tokens,
            cached_tokens: 0,
            completion_tokens: 20
        }
    );
    assert_eq!(generation.finish_reason(), Some(FinishReason::Length));
    assert!(generation.next().is_none());
}

#[test]
fn an_end_token_ends_the_completion() {
    // Whatever token comes first in this fixture becomes the end token of the next model.
    let mut files = Files::endless();
    let ends_early = (0..266_u32).find(|token| {
        files.edit("config.json", |config| {
            drop(config.insert("eos_token_id".into(), (*token).into()))
        });
        let engine = files
            .load()
            .and_then(|model| model.engine(EngineConfig::default()))
            .expect("it loads");
        let mut generation = engine.generate(greedy(PROMPT, 8)).expect("it is admitted");
        text(&mut generation).expect("it ends well");
        generation.finish_reason() == Some(FinishReason::Stop) && generation.usage().completion_tokens == 1
    });
    assert!(ends_early.is_some());
}

#[test]
fn interleaved_requests_equal_single_runs() {
    let engine = engine();
    let prompts = [
        PROMPT,
        "a",
        "in the beginning, naïve 🙂",
        "\0 and a very long one: ".repeat(20).leak(),
    ];
    let seeded = |prompt, seed| GenerateRequest {
        sampling: Sampling {
            seed: Some(seed),
            top_p: 0.9,
            top_k: Some(50),
            ..Sampling::default()
        },
        ..greedy(prompt, 60)
    };
    let single: Vec<String> = prompts
        .iter()
        .zip(0..)
        .flat_map(|(prompt, seed)| {
            [
                run(&engine, greedy(prompt, 60)),
                run(&engine, seeded(prompt, seed)),
            ]
        })
        .collect();
    let mut interleaved: Vec<_> = prompts
        .iter()
        .zip(0..)
        .flat_map(|(prompt, seed)| {
            [
                engine.generate(greedy(prompt, 60)),
                engine.generate(seeded(prompt, seed)),
            ]
        })
        .map(|generation| generation.expect("there are slots and waiting places"))
        .collect();
    let interleaved: Vec<String> = interleaved
        .iter_mut()
        .map(|generation| text(generation).expect("it ends well"))
        .collect();
    assert_eq!(interleaved, single);
    assert_ne!(single[0], single[1], "sampling does something");
}

#[test]
fn several_completions_are_counted_together_and_the_first_is_that_of_one() {
    let engine = engine();
    let seeded = |choices| GenerateRequest {
        choices,
        sampling: Sampling {
            seed: Some(5),
            ..Sampling::default()
        },
        ..greedy(PROMPT, 20)
    };
    let mut generation = engine.generate(seeded(3)).expect("there are places");
    let mut texts = vec![String::new(); 3];
    let mut finishes = 0;
    for piece in generation.by_ref() {
        let piece = piece.expect("it ends well");
        texts[piece.choice].push_str(piece.text.expose_text());
        finishes += usize::from(piece.finish.is_some());
    }
    assert_eq!(finishes, 3);
    assert_eq!(generation.usage().completion_tokens, 60);
    assert_eq!(texts[0], run(&engine, seeded(1)));
    assert!(texts[0] != texts[1] && texts[1] != texts[2]);
    wait_until_idle(&engine);
    for choices in [0, 17, usize::MAX] {
        let error = error(&engine, seeded(choices));
        assert!(error.to_string().starts_with("n must be"), "{error}");
    }
    let few = EngineConfig {
        max_concurrent: 1,
        max_waiting: 1,
        ..EngineConfig::default()
    };
    let few = model().engine(few).expect("valid");
    assert_eq!(
        error(&few, seeded(3)).code(),
        "request-invalid",
        "it would never fit"
    );
    assert!(few.generate(seeded(2)).is_ok());
}

#[test]
fn log_probabilities_come_with_their_text() {
    let engine = engine();
    let request = || GenerateRequest {
        log_probabilities: Some(3),
        ..greedy(PROMPT, 40)
    };
    let whole = run(&engine, request());
    assert_eq!(whole, run(&engine, greedy(PROMPT, 40)), "asking changes nothing");
    let (mut bytes, mut count) = (Vec::new(), 0);
    for piece in engine.generate(request()).expect("admitted") {
        for told in piece.expect("it ends well").log_probabilities {
            assert!(told.text_offset <= String::from_utf8_lossy(&bytes).chars().count());
            bytes.extend_from_slice(&told.chosen.bytes);
            count += 1;
            assert_eq!(told.top.len(), 3);
            // Greedy: the chosen one is the most probable.
            assert_eq!(told.top[0].bytes, told.chosen.bytes);
            assert!(
                told.top
                    .is_sorted_by(|a, b| a.log_probability >= b.log_probability)
            );
            assert!(told.chosen.log_probability <= 0.0);
        }
    }
    // An incomplete character at the end is counted and not shown.
    let shown = String::from_utf8_lossy(&bytes);
    assert!(
        shown.starts_with(&*whole) || whole.starts_with(shown.trim_end_matches('\u{fffd}')),
        "{shown}"
    );
    assert!(count <= 40);
    let stop = &whole.chars().skip(6).take(3).collect::<String>();
    let stopped = GenerateRequest {
        stop: &[stop],
        ..request()
    };
    let mut told_bytes = Vec::new();
    let mut text = String::new();
    for piece in engine.generate(stopped).expect("admitted") {
        let piece = piece.expect("it ends well");
        text.push_str(piece.text.expose_text());
        told_bytes.extend(
            piece
                .log_probabilities
                .iter()
                .flat_map(|told| told.chosen.bytes.to_vec()),
        );
    }
    assert!(
        told_bytes.len() < text.len() + 16,
        "tokens of the stop string are not told"
    );
    let too_many = GenerateRequest {
        log_probabilities: Some(21),
        ..greedy(PROMPT, 1)
    };
    assert!(error(&engine, too_many).to_string().starts_with("top_logprobs"));
}

#[test]
fn biases_and_tokens_as_a_prompt() {
    let engine = engine();
    let biased = GenerateRequest {
        logit_bias: &[(32, 100.0)],
        ..greedy(PROMPT, 5)
    };
    let a = run(&engine, biased);
    assert!(
        a.len() == 5 && a.bytes().all(|byte| byte == a.as_bytes()[0]),
        "{a}"
    );
    let beyond = GenerateRequest {
        logit_bias: &[(1_000_000, 1.0)],
        ..greedy(PROMPT, 1)
    };
    assert!(error(&engine, beyond).to_string().starts_with("logit_bias"));
    let tokens = |tokens| GenerateRequest {
        prompt: PromptInput::Tokens(tokens),
        ..greedy("", 8)
    };
    assert!(!run(&engine, tokens(&[1, 2, 3])).is_empty());
    assert!(
        error(&engine, tokens(&[1, u32::MAX]))
            .to_string()
            .starts_with("prompt")
    );
    assert_eq!(error(&engine, tokens(&[])).code(), "prompt-empty");
}

#[test]
fn a_prompt_in_parts_gives_the_same_completion() {
    let parts = EngineConfig {
        prefill_tokens_per_turn: 3,
        ..EngineConfig::default()
    };
    let parts = model().engine(parts).expect("valid");
    assert_eq!(
        run(&parts, greedy(PROMPT, 40)),
        run(&engine(), greedy(PROMPT, 40))
    );
}

#[test]
fn a_stop_string_ends_the_text_before_itself() {
    let engine = engine();
    let whole = run(&engine, greedy(PROMPT, 120));
    let characters: Vec<(usize, char)> = whole.char_indices().collect();
    for middle in (2..characters.len() - 4).step_by(5) {
        let (start, end) = (characters[middle].0, characters[middle + 3].0);
        let stop = &whole[start..end];
        let mut generation = engine
            .generate(GenerateRequest {
                stop: &[stop, "never there"],
                ..greedy(PROMPT, 120)
            })
            .expect("it is admitted");
        let shown = text(&mut generation).expect("it ends well");
        assert_eq!(shown, whole[..whole.find(stop).expect("it is a part")]);
        assert_eq!(generation.finish_reason(), Some(FinishReason::Stop));
    }
}

#[test]
fn limits_are_errors_with_their_own_codes() {
    let config = EngineConfig {
        context_tokens_max: Some(40),
        prompt_bytes_max: 400,
        ..EngineConfig::default()
    };
    let engine = model().engine(config).expect("valid");
    let long = "x ".repeat(30);
    assert_eq!(error(&engine, greedy(&long, 5)).code(), "context-exceeded");
    assert_eq!(error(&engine, greedy("x", 39)).code(), "context-exceeded");
    assert_eq!(
        error(&engine, greedy(&"x".repeat(401), 1)).code(),
        "prompt-too-long"
    );
    assert_eq!(error(&engine, greedy(PROMPT, 0)).code(), "request-invalid");
    assert_eq!(error(&engine, greedy(PROMPT, 4097)).code(), "request-invalid");
    assert_eq!(
        error(
            &engine,
            GenerateRequest {
                stop: &[""],
                ..greedy(PROMPT, 1)
            }
        )
        .code(),
        "request-invalid"
    );
    let hot = Sampling {
        temperature: 3.0,
        ..Sampling::default()
    };
    assert_eq!(
        error(
            &engine,
            GenerateRequest {
                sampling: hot,
                ..greedy(PROMPT, 1)
            }
        )
        .code(),
        "request-invalid"
    );
    wait_until_idle(&engine);
    let mut rest = engine
        .generate(GenerateRequest {
            completion_tokens_max: None,
            ..greedy("x", 1)
        })
        .expect("without a wish the context is filled");
    text(&mut rest).expect("it ends well");
    let usage = rest.usage();
    assert_eq!(usage.prompt_tokens + usage.completion_tokens, 40);
    assert_eq!(rest.finish_reason(), Some(FinishReason::Length));
}

#[test]
fn an_empty_prompt_is_refused_where_the_tokenizer_adds_nothing() {
    let mut files = Files::endless();
    files.edit("tokenizer.json", |tokenizer| {
        drop(tokenizer.insert("post_processor".into(), ().into()))
    });
    let engine = files
        .load()
        .and_then(|model| model.engine(EngineConfig::default()))
        .expect("it loads");
    assert_eq!(error(&engine, greedy("", 1)).code(), "prompt-empty");
}

#[test]
fn impossible_engines_are_refused() {
    let model = model();
    let cases = [
        EngineConfig {
            max_concurrent: 0,
            ..EngineConfig::default()
        },
        EngineConfig {
            max_waiting: usize::MAX,
            ..EngineConfig::default()
        },
        EngineConfig {
            context_tokens_max: Some(1_000_001),
            ..EngineConfig::default()
        },
        EngineConfig {
            context_tokens_max: Some(1),
            ..EngineConfig::default()
        },
        EngineConfig {
            completion_tokens_max: 0,
            ..EngineConfig::default()
        },
        EngineConfig {
            prompt_bytes_max: 0,
            ..EngineConfig::default()
        },
        EngineConfig {
            prefill_tokens_per_turn: 0,
            ..EngineConfig::default()
        },
    ];
    for config in cases {
        assert_eq!(
            model.engine(config).err().expect("refused").code(),
            "engine-config-invalid"
        );
    }
}

#[test]
fn one_request_too_many_is_overloaded_and_dropping_frees_its_place() {
    let config = EngineConfig {
        max_concurrent: 1,
        max_waiting: 1,
        completion_tokens_max: 900_000,
        ..EngineConfig::default()
    };
    let engine = model().engine(config).expect("valid");
    // Endless as far as a test is concerned: 900,000 tokens take many minutes.
    let mut first = engine.generate(greedy(PROMPT, 900_000)).expect("it has the slot");
    assert!(first.next().is_some());
    let second = engine.generate(greedy(PROMPT, 900_000)).expect("it waits");
    assert_eq!(
        engine.load(),
        EngineLoad {
            active: 1,
            waiting: 1
        }
    );
    assert_eq!(error(&engine, greedy(PROMPT, 1)).code(), "overloaded");
    drop(second);
    drop(first);
    wait_until_idle(&engine);
    assert!(
        !run(&engine, greedy(PROMPT, 40)).is_empty(),
        "and the slot serves again"
    );
}

#[test]
fn stopping_the_engine_ends_its_requests_with_an_error() {
    let config = EngineConfig {
        max_concurrent: 1,
        completion_tokens_max: 900_000,
        ..EngineConfig::default()
    };
    let engine = model().engine(config).expect("valid");
    let mut active = engine.generate(greedy(PROMPT, 900_000)).expect("it has the slot");
    assert!(active.next().is_some());
    let mut waiting = engine.generate(greedy(PROMPT, 10)).expect("it waits");
    drop(engine);
    for generation in [&mut active, &mut waiting] {
        assert_eq!(
            generation.find_map(Result::err).expect("cut short").code(),
            "engine-stopped"
        );
        assert!(generation.next().is_none());
        assert_eq!(generation.finish_reason(), None);
    }
}

#[test]
fn a_chat_is_rendered_and_without_a_template_refused() {
    let messages = [ChatMessage::text(Role::User, "hello")];
    let chat = || GenerateRequest {
        prompt: PromptInput::Messages(&messages),
        ..greedy("", 30)
    };
    let rendered = greedy("<|user|>hello\n<|assistant|>", 30);
    assert_eq!(
        run(&engine(), chat()),
        run(&engine(), rendered),
        "the tokenizer and the template add the same"
    );
    let mut files = Files::endless();
    files.0.remove("chat_template.jinja");
    let model = files.load().expect("it loads");
    assert!(!model.has_chat_template());
    let engine = model.engine(EngineConfig::default()).expect("valid");
    assert_eq!(error(&engine, chat()).code(), "chat-template-missing");
}

#[test]
fn weights_that_give_no_numbers_fail_one_request_and_the_engine_serves_on() {
    let mut files = Files::endless();
    let weights = files.0.get_mut("model.safetensors").expect("it is there");
    let end = weights.len();
    weights[end - 64..].copy_from_slice(&f32::NAN.to_le_bytes().repeat(16));
    let engine = files
        .load()
        .and_then(|model| model.engine(EngineConfig::default()))
        .expect("it loads");
    for _ in 0..3 {
        let mut generation = engine.generate(greedy(PROMPT, 5)).expect("it is admitted");
        assert_eq!(
            generation.find_map(Result::err).expect("no numbers").code(),
            "compute-failed"
        );
    }
    wait_until_idle(&engine);
}
