//! Many requests in one pass: each gets what it would get alone.

mod common;

use common::Files;
use inference::{
    Constraint, Engine, EngineConfig, FinishReason, GenerateRequest, Generation, PromptInput, Sampling,
};

fn engine(max_concurrent: usize, prefill_tokens_per_turn: usize) -> Engine {
    let config = EngineConfig {
        max_concurrent,
        max_waiting: 64,
        prefill_tokens_per_turn,
        ..EngineConfig::default()
    };
    Files::endless()
        .load()
        .and_then(|model| model.engine(config))
        .expect("the fixture serves")
}

/// Everything that a request can be told.
type Told = Vec<(String, Option<FinishReason>, Vec<u32>)>;

fn told(generation: Generation, choices: usize) -> Told {
    let mut told: Told = vec![(String::new(), None, Vec::new()); choices];
    for piece in generation {
        let piece = piece.expect("it ends well");
        let (text, finish, log_probabilities) = &mut told[piece.choice];
        text.push_str(piece.text.expose_text());
        *finish = piece.finish.or(*finish);
        log_probabilities.extend(
            piece
                .log_probabilities
                .iter()
                .map(|told| told.chosen.log_probability.to_bits()),
        );
    }
    told
}

/// Long and short prompts, greedy and drawn, free and constrained, one completion and several.
fn requests(prompts: &[String]) -> Vec<GenerateRequest<'_>> {
    let mut requests = Vec::new();
    for (prompt, seed) in prompts.iter().zip(0..) {
        let plain = || GenerateRequest {
            completion_tokens_max: Some(30),
            sampling: Sampling::greedy(),
            ..GenerateRequest::new(PromptInput::Text(prompt))
        };
        requests.push(plain());
        requests.push(GenerateRequest {
            sampling: Sampling {
                seed: Some(seed),
                top_p: 0.9,
                repetition_penalty: 1.1,
                ..Sampling::default()
            },
            choices: 3,
            log_probabilities: Some(2),
            ..plain()
        });
        requests.push(GenerateRequest {
            constraint: Some(Constraint::JsonSchema(
                r#"{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}"#,
            )),
            ..plain()
        });
        requests.push(GenerateRequest {
            constraint: Some(Constraint::Regex("[a-f]{3}( [0-9]{2}){4}")),
            log_probabilities: Some(0),
            completion_tokens_max: Some(7),
            ..plain()
        });
    }
    requests
}

#[test]
fn a_mixed_batch_gives_each_what_it_gets_alone_to_the_bit() {
    let prompts = [
        "a".to_owned(),
        "a somewhat longer prompt, ".repeat(9),
        "naïve 🙂 ".repeat(30),
        "b".repeat(33),
    ];
    let alone = engine(1, 512);
    let alone: Vec<Told> = requests(&prompts)
        .into_iter()
        .map(|request| {
            let choices = request.choices;
            told(alone.generate(request).expect("there is a place"), choices)
        })
        .collect();
    // The bound of a turn cuts prompts at other places each time.
    for (max_concurrent, prefill) in [(24, 512), (24, 7), (5, 33)] {
        let together = engine(max_concurrent, prefill);
        let generations: Vec<(Generation, usize)> = requests(&prompts)
            .into_iter()
            .map(|request| {
                let choices = request.choices;
                (together.generate(request).expect("there is a place"), choices)
            })
            .collect();
        for ((generation, choices), alone) in generations.into_iter().zip(&alone) {
            assert!(
                told(generation, choices) == *alone,
                "{max_concurrent} at {prefill}"
            );
        }
    }
}

#[test]
fn who_leaves_a_batch_changes_nothing_for_those_who_stay() {
    let prompt = "the end of the line".to_owned();
    let stays = || GenerateRequest {
        completion_tokens_max: Some(200),
        sampling: Sampling::greedy(),
        ..GenerateRequest::new(PromptInput::Text(&prompt))
    };
    let alone = told(engine(1, 512).generate(stays()).expect("there is a place"), 1);
    let engine = engine(8, 16);
    let staying = engine.generate(stays()).expect("there is a place");
    for pieces in 0..20 {
        let mut leaving = engine.generate(stays()).expect("there is a place");
        for _ in 0..pieces {
            leaving.next();
        }
    }
    assert!(told(staying, 1) == alone);
}
