//! Prompts that begin alike: found by their tenant under their key, and by nobody else, also not by the time they take.

#![allow(
    clippy::print_stdout,
    reason = "scripts/bench shows what the classifier gets right"
)]

mod common;

use std::time::{Duration, Instant};

use common::Files;
use inference::{Engine, EngineConfig, GenerateRequest, PromptInput, Sampling, Usage};

const BLOCK: usize = 32;
/// Pairs of a prompt that somebody has sent and one that nobody has.
const PAIRS: usize = 1000;
/// What a classifier may get right of what it cannot know: half, and three standard deviations of 1,000 guesses.
const CHANCE: f64 = 0.55;

fn engine(config: EngineConfig) -> Engine {
    Files::endless()
        .load()
        .and_then(|model| model.engine(config))
        .expect("the fixture serves")
}

/// Who asks: a tenant, and its cache key.
type Asker = (Option<&'static str>, Option<&'static str>);

const OWNER: Asker = (Some("owner"), Some("key"));
const STRANGER: Asker = (Some("stranger"), Some("key"));

fn ask(
    engine: &Engine,
    (tenant, prompt_cache_key): Asker,
    prompt: &[u32],
    completion_tokens: usize,
) -> (String, Usage) {
    let mut generation = engine
        .generate(GenerateRequest {
            tenant,
            prompt_cache_key,
            sampling: Sampling::greedy(),
            completion_tokens_max: Some(completion_tokens),
            ..GenerateRequest::new(PromptInput::Tokens(prompt))
        })
        .expect("there is a place");
    let text = common::text(&mut generation).expect("it ends well");
    (text, generation.usage())
}

/// Tokens that no other seed gives.
fn prompt(seed: u64, tokens: usize) -> Vec<u32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as u32 % 256
    };
    (0..tokens).map(|_| next()).collect()
}

#[test]
fn a_beginning_is_found_by_its_tenant_under_its_key_and_changes_no_answer() {
    let engine = engine(EngineConfig::default());
    let long = prompt(1, 5 * BLOCK + 7);
    let found = |asker: Asker, prompt: &[u32]| ask(&engine, asker, prompt, 40).1.cached_tokens;
    let (first, usage) = ask(&engine, OWNER, &long, 40);
    assert_eq!(usage.cached_tokens, 0);
    for asker in [
        STRANGER,
        (Some("owner"), Some("another key")),
        (Some("owner"), None),
        (None, Some("key")),
        (None, None),
    ] {
        assert_eq!(found(asker, &long), 0, "{asker:?}");
    }
    let (again, usage) = ask(&engine, OWNER, &long, 40);
    assert_eq!(usage.cached_tokens, 5 * BLOCK);
    assert_eq!(again, first);
    // Another end, another middle, another beginning, and one that is all there: the last token is always computed.
    let changed = |at: usize| {
        let mut changed = long.clone();
        changed[at] += 1;
        changed
    };
    assert_eq!(found(OWNER, &changed(5 * BLOCK)), 5 * BLOCK);
    assert_eq!(found(OWNER, &changed(2 * BLOCK + 3)), 2 * BLOCK);
    assert_eq!(found(OWNER, &changed(0)), 0);
    assert_eq!(found(OWNER, &long[..3 * BLOCK]), 2 * BLOCK);
    engine.forget_prefixes();
    assert_eq!(found(OWNER, &long), 0);
}

#[test]
fn it_is_off_without_shares_and_for_tenants_beyond_them() {
    let long = prompt(2, 100);
    let off = engine(EngineConfig {
        prefix_tenants_max: 0,
        ..EngineConfig::default()
    });
    let one = engine(EngineConfig {
        prefix_tenants_max: 1,
        ..EngineConfig::default()
    });
    for _ in 0..2 {
        assert_eq!(ask(&off, OWNER, &long, 1).1.cached_tokens, 0);
    }
    let found = |asker| ask(&one, asker, &long, 1).1.cached_tokens;
    assert_eq!(
        [found(OWNER), found(STRANGER), found(OWNER), found(STRANGER)],
        [0, 0, 96, 0]
    );
}

#[test]
fn a_full_share_forgets_its_own_oldest_and_nothing_of_others() {
    // A quarter of this is two shares of twelve blocks.
    let block_bytes = (8 + 16) * BLOCK * 2 * size_of::<f32>();
    let engine = engine(EngineConfig {
        cache_bytes_max: 4 * 24 * block_bytes,
        prefix_tenants_max: 2,
        ..EngineConfig::default()
    });
    let prompts: Vec<Vec<u32>> = (10..20).map(|seed| prompt(seed, 4 * BLOCK + 1)).collect();
    let found = |asker, index: usize| ask(&engine, asker, &prompts[index], 1).1.cached_tokens / BLOCK;
    for index in 0..3 {
        assert_eq!(found(OWNER, index), 0);
    }
    // The stranger's use of its share, far beyond its size, is nothing to the owner.
    for index in 3..10 {
        assert_eq!(found(STRANGER, index), 0);
    }
    assert_eq!([0, 1, 2].map(|index| found(OWNER, index)), [4, 4, 4]);
    assert_eq!(found(OWNER, 3), 0, "which takes the place of the oldest");
    assert_eq!([1, 2, 3].map(|index| found(OWNER, index)), [4, 4, 4]);
    assert_eq!(found(OWNER, 0), 0);
}

/// Time to the answer of one token.
fn time(engine: &Engine, asker: Asker, prompt: &[u32]) -> (Duration, usize) {
    let start = Instant::now();
    let (_, usage) = ask(engine, asker, prompt, 1);
    (start.elapsed(), usage.cached_tokens)
}

/// How often the best threshold of the first half is right on the second.
fn accuracy(samples: &[(Duration, bool)]) -> f64 {
    let (training, judged) = samples.split_at(samples.len() / 2);
    let right = |samples: &[(Duration, bool)], threshold: Duration, below: bool| {
        let right = samples
            .iter()
            .filter(|(time, sent)| (*time <= threshold) == (*sent == below));
        right.count()
    };
    let rules = training
        .iter()
        .flat_map(|(time, _)| [(*time, true), (*time, false)]);
    let best = rules.max_by_key(|(threshold, below)| right(training, *threshold, *below));
    let (threshold, below) = best.expect("there are samples");
    right(judged, threshold, below) as f64 / judged.len() as f64
}

/// The owner sends a prompt; then the asker sends it and one that nobody has sent, in either order, and looks at the time.
fn told_apart(engine: &Engine, asker: Asker, pairs: usize, seed: u64) -> f64 {
    let mut samples = Vec::new();
    for pair in 0..pairs as u64 {
        let [sent, unsent] = [0, 1].map(|which| prompt(seed + 2 * pair + which, 6 * BLOCK + 1));
        ask(engine, OWNER, &sent, 1);
        let mut both = [(sent, true), (unsent, false)];
        // By a bit of the prompt, so that the order tells nothing.
        if both[0].0[0] % 2 == 0 {
            both.reverse();
        }
        for (prompt, sent) in both {
            let (time, found) = time(engine, asker, &prompt);
            // What does not depend on the machine: how much was computed.
            assert_eq!(found, if sent && asker == OWNER { 6 * BLOCK } else { 0 });
            samples.push((time, sent));
        }
    }
    accuracy(&samples)
}

/// Whether a classifier does as it should in one of three tries: a busy machine can spoil one, and chance three of a
/// thousand. Prompts that show do so in all of them.
fn once_in_three(asker: Asker, pairs: usize, as_it_should: impl Fn(f64) -> bool) -> bool {
    let engine = engine(EngineConfig::default());
    (1..=3).any(|number| {
        let accuracy = told_apart(&engine, asker, pairs, number * 1_000_000);
        println!(
            "the {} is right {:.1} % of the time",
            asker.0.unwrap_or("nobody"),
            100.0 * accuracy
        );
        as_it_should(accuracy)
    })
}

#[test]
fn time_tells_a_tenant_of_its_own_prompts_and_not_of_anothers() {
    let stranger = once_in_three(STRANGER, PAIRS, |accuracy| accuracy <= CHANCE);
    assert!(stranger, "a stranger tells prompts apart");
    let owner = once_in_three(OWNER, PAIRS / 10, |accuracy| accuracy >= 0.8);
    assert!(owner, "the owner does not, so this test sees nothing");
}
