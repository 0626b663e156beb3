//! Fifty texts that are made to be slow: each is tokenised in a time that grows with its size alone, or refused.
//!
//! Most have 64 KiB, where work that grows with the square would show a thousandfold; five have the whole mebibyte.
//!
//! The bound is on work, measured against ordinary text of the same size on the same machine in the same run; the clock
//! of a loaded machine has a say only through a generous floor.

mod common;

use std::time::{Duration, Instant};

use common::Files;
use inference::{ChatMessage, EngineConfig, GenerateRequest, Model, PromptInput, Role, Sampling};

const MIB: usize = 1 << 20;
const USUAL: usize = 64 << 10;
/// Those of a whole mebibyte: single words, blanks and marks without end.
const WHOLE: [&str; 5] = ["a", " ", "\0", "\u{301}", "1234567890"];

fn fill(unit: &str, bytes: usize) -> String {
    unit.repeat(bytes / unit.len())
}

/// Fifty bombs of up to a mebibyte.
fn bombs() -> Vec<(String, String)> {
    let mut bombs = Vec::new();
    let units = [
        "a",
        "A",
        " ",
        "\n",
        "\t",
        "\r\n",
        "\0",
        "0",
        "1234567890",
        "th",
        "the",
        " the",
        "thethe ",
        "in",
        "é",
        "e\u{301}",
        "\u{301}",
        "\u{200d}",
        "\u{fe0f}",
        "\u{202e}",
        "日",
        "🙂",
        "👩\u{200d}👩\u{200d}👧",
        "\u{10ffff}",
        "\u{feff}",
        "ﷺ",
        "\u{1f1e6}",
        "가",
        "\u{1112}\u{1161}\u{11ab}",
        "\u{fffd}",
        "'s",
        "'",
        "\"",
        "\\",
        "{",
        "[",
        "(",
        "<|",
        "<s>",
        "</s>",
        "<|user|>",
        "a ",
        " a",
        "ab ab  ab   ",
        "_",
        "-=",
        "\u{a0}",
        "\u{3000}",
    ];
    bombs.extend(units.iter().map(|unit| {
        (
            format!("{unit:?} repeated"),
            fill(unit, if WHOLE.contains(unit) { MIB } else { USUAL }),
        )
    }));
    let marks: String = (0..1000)
        .map(|i| char::from_u32(0x300 + i % 0x6f).unwrap_or('x'))
        .collect();
    bombs.push((
        "one letter with all combining marks".to_owned(),
        fill(&format!("a{marks}"), USUAL),
    ));
    let mut random = 0x9e37_79b9_u32;
    let mut letters = || {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        char::from(b"thein "[random as usize % 6])
    };
    bombs.push((
        "letters of the merges at random".to_owned(),
        (0..USUAL).map(|_| letters()).collect(),
    ));
    bombs
}

#[test]
fn fifty_bombs_take_as_long_as_text_or_are_refused() {
    let models = [
        (
            "byte level",
            Files::fixture("gqa-untied-f32").load().expect("it loads"),
        ),
        ("the sample model", sample()),
    ];
    let bombs = bombs();
    assert!(bombs.len() >= 50, "{}", bombs.len());
    for (kind, model) in models {
        let ordinary = fill(
            "It was a bright cold day in April, and the clocks were striking. ",
            MIB,
        );
        let start = Instant::now();
        model.count_tokens(&ordinary, MIB).expect("ordinary text");
        // For every byte ten times the time of ordinary text, with a floor for a machine that does other things too.
        let per_byte = 10 * start.elapsed() / MIB as u32;
        for (name, bomb) in &bombs {
            let bound = (per_byte * bomb.len() as u32).max(Duration::from_secs(2));
            let start = Instant::now();
            let _ = model.count_tokens(bomb, MIB); // refused or counted
            assert!(
                start.elapsed() < bound,
                "{kind}, {name}: {:?} of {bound:?}",
                start.elapsed()
            );
        }
    }
}

fn sample() -> Model {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../sample");
    let names = [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    let files = names.map(|name| {
        (
            name,
            std::fs::read(format!("{folder}/{name}")).expect("it is in the repository"),
        )
    });
    let files = files
        .iter()
        .map(|(name, bytes)| (*name, bytes.as_slice()))
        .collect();
    Model::load(&files).expect("the sample model loads")
}

#[test]
fn templates_are_given_no_more_than_they_can_render() {
    let engine = Files::fixture("gqa-untied-f32")
        .load()
        .and_then(|model| model.engine(EngineConfig::default()))
        .expect("it loads");
    let many: Vec<ChatMessage<'_>> = (0..4096).map(|_| ChatMessage::text(Role::User, "x")).collect();
    let braces = "{{".repeat(100_000);
    let tags = "{% for x in range(9999) %}".repeat(1000);
    let deep_json = "[".repeat(100_000);
    let call = [inference::MessageToolCall {
        id: "1",
        name: "f",
        arguments: &deep_json,
    }];
    let called = [ChatMessage {
        tool_calls: &call,
        ..ChatMessage::text(Role::Assistant, "")
    }];
    let one = |content| [ChatMessage::text(Role::User, content)];
    for messages in [&many[..], &one(&braces), &one(&tags), &called] {
        let start = Instant::now();
        let request = GenerateRequest {
            sampling: Sampling::greedy(),
            completion_tokens_max: Some(1),
            ..GenerateRequest::new(PromptInput::Messages(messages))
        };
        // Refused as too long for the context of the fixture; what matters is that it is soon.
        let _ = engine.generate(request);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
}
