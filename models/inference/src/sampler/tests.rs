use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

const VOCABULARY: usize = 2048;

fn sampler_of(sampling: Sampling) -> Sampler {
    let sampling = sampling.checked().expect("it is in range");
    Sampler::new(&sampling, &[], &[], VOCABULARY, 0).expect("no biases")
}

fn sampler(change: impl FnOnce(&mut Sampling)) -> Sampler {
    let mut sampling = Sampling {
        seed: Some(7),
        ..Sampling::default()
    };
    change(&mut sampling);
    sampler_of(sampling)
}

fn sample(sampler: &mut Sampler, logits: &[f32]) -> Result<u32, InferenceError> {
    sampler.sample(&mut logits.to_vec(), |_| Ok(()))
}

fn frequencies(sampler: &mut Sampler, logits: &[f32], draws: usize) -> Vec<f64> {
    let mut counts = vec![0.0; logits.len()];
    for _ in 0..draws {
        counts[sample(sampler, logits).expect("a token") as usize] += 1.0 / draws as f64;
    }
    counts
}

/// What scripts/oracle-sampling writes.
#[derive(Deserialize)]
struct Oracle {
    prompt: Vec<u32>,
    completion: Vec<u32>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    parameters: BTreeMap<String, serde_json::Value>,
    logits: Vec<f32>,
    shares: BTreeMap<u32, f64>,
}

impl Case {
    fn sampler(&self, prompt: &[u32], completion: &[u32]) -> Sampler {
        let number = |name: &str, default: f32| {
            let value = self.parameters.get(name).and_then(serde_json::Value::as_f64);
            value.map_or(default, |value| value as f32)
        };
        let sampling = Sampling {
            temperature: number("temperature", 1.0),
            top_p: number("top_p", 1.0),
            top_k: self
                .parameters
                .get("top_k")
                .and_then(|k| k.as_u64())
                .map(|k| k as usize),
            min_p: number("min_p", 0.0),
            typical_p: number("typical_p", 1.0),
            repetition_penalty: number("repetition_penalty", 1.0),
            frequency_penalty: number("frequency_penalty", 0.0),
            presence_penalty: number("presence_penalty", 0.0),
            seed: Some(11),
        };
        let biases: Vec<(u32, f32)> = self
            .parameters
            .get("logit_bias")
            .and_then(serde_json::Value::as_object)
            .into_iter()
            .flatten()
            .map(|(token, bias)| {
                (
                    token.parse().expect("a token"),
                    bias.as_f64().expect("a number") as f32,
                )
            })
            .collect();
        let sampling = sampling.checked().expect("in range");
        let mut sampler =
            Sampler::new(&sampling, &biases, prompt, self.logits.len(), 0).expect("the biases are in range");
        for token in completion {
            sampler.adjustments.note(*token);
        }
        sampler
    }
}

fn oracle() -> Oracle {
    let bytes = include_bytes!("../../tests/fixtures/sampling.json");
    serde_json::from_slice(bytes).expect("the fixture is what the script writes")
}

#[test]
fn every_filter_leaves_what_transformers_leaves() {
    let oracle = oracle();
    assert!(oracle.cases.len() >= 25);
    for case in &oracle.cases {
        let sampler = case.sampler(&oracle.prompt, &oracle.completion);
        let mut logits = case.logits.clone();
        sampler.adjustments.apply(&mut logits);
        let found: BTreeMap<u32, f64> = sampler.candidates(&logits).shares().into_iter().collect();
        let name = format!("{:?}", case.parameters);
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            case.shares.keys().collect::<Vec<_>>(),
            "{name}"
        );
        for (token, share) in &case.shares {
            assert!(
                (found[token] - share).abs() < 1e-6,
                "{name} {token}: {} {share}",
                found[token]
            );
        }
    }
}

/// Pearson's statistic of `draws` draws against the shares of transformers, beyond what one in a million runs of a
/// right sampler exceeds (Wilson and Hilferty's approximation; the seeds are fixed, so it either always holds or never).
#[test]
fn draws_are_distributed_as_transformers_says() {
    let oracle = oracle();
    let draws = 20_000;
    for case in &oracle.cases {
        let sampler = case.sampler(&oracle.prompt, &oracle.completion);
        let mut logits = case.logits.clone();
        sampler.adjustments.apply(&mut logits);
        let candidates = sampler.candidates(&logits);
        let mut random = SplitMix64::new(0x5eed, 0);
        let mut counts: BTreeMap<u32, f64> = BTreeMap::new();
        for _ in 0..draws {
            let token = candidates.draw(random.next_unit()).expect("a token");
            *counts.entry(token).or_default() += 1.0;
        }
        // Cells of fewer than five expected draws are taken together.
        let (mut statistic, mut cells) = (0.0, 0.0);
        let (mut rest_found, mut rest_expected) = (0.0, 0.0);
        for (token, share) in &case.shares {
            let (found, expected) = (counts.remove(token).unwrap_or(0.0), share * f64::from(draws));
            if expected < 5.0 {
                rest_found += found;
                rest_expected += expected;
            } else {
                statistic += (found - expected).powi(2) / expected;
                cells += 1.0;
            }
        }
        if rest_expected > 1.0 {
            statistic += (rest_found - rest_expected).powi(2) / rest_expected;
            cells += 1.0;
        }
        assert!(counts.is_empty(), "a token that is not left was drawn");
        let freedom: f64 = f64::max(cells - 1.0, 1.0);
        let ninth = 2.0 / (9.0 * freedom);
        let bound = freedom * (1.0 - ninth + 4.75 * ninth.sqrt()).powi(3);
        assert!(
            statistic < bound,
            "{:?}: {statistic} against {bound}",
            case.parameters
        );
    }
}

#[test]
fn draws_follow_the_softmax() {
    let logits = [0.0, 1.0, 2.0, f32::NEG_INFINITY];
    let found = frequencies(&mut sampler(|_| ()), &logits, 40_000);
    let total: f64 = logits[..3].iter().map(|l| f64::from(*l).exp()).sum();
    for (token, logit) in logits[..3].iter().enumerate() {
        assert!(
            (found[token] - f64::from(*logit).exp() / total).abs() < 0.01,
            "{found:?}"
        );
    }
    assert_eq!(found[3], 0.0);
}

#[test]
fn a_flat_nucleus_beyond_the_guess_is_whole() {
    let mut sampler = sampler(|s| s.top_p = 0.5);
    let found = frequencies(&mut sampler, &[0.0; 2000], 40_000);
    assert_eq!(found.iter().filter(|share| **share > 0.0).count(), 1000);
}

#[test]
fn equal_seeds_are_equal_and_others_differ() {
    let logits: Vec<f32> = (0..50).map(|i| (i % 7) as f32 * 0.1).collect();
    let draw = |seed| {
        let mut sampler = sampler(|s| s.seed = Some(seed));
        (0..32)
            .map(|_| sample(&mut sampler, &logits).expect("a token"))
            .collect::<Vec<_>>()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn penalties_remember_what_was_sampled() {
    let mut greedy = sampler(|s| (s.temperature, s.presence_penalty) = (0.0, 1.0));
    let logits = [1.0, 0.5, 0.4];
    let tokens: Vec<u32> = (0..4)
        .map(|_| sample(&mut greedy, &logits).expect("a token"))
        .collect();
    assert_eq!(
        tokens,
        [0, 1, 2, 0],
        "once each, and then as before: presence counts once"
    );
}

#[test]
fn a_constraint_comes_after_biases_and_leaves_what_it_allows() {
    let only = |allowed: usize| {
        move |logits: &mut [f32]| {
            for (token, logit) in logits.iter_mut().enumerate() {
                if token != allowed {
                    *logit = f32::NEG_INFINITY;
                }
            }
            Ok(())
        }
    };
    for temperature in [0.0, 2.0] {
        let sampling = Sampling {
            temperature,
            ..Sampling::default()
        };
        let sampling = sampling.checked().expect("in range");
        let mut sampler = Sampler::new(&sampling, &[(1, 100.0)], &[], 3, 0).expect("in range");
        assert_eq!(sampler.sample(&mut [0.0; 3], only(2)).expect("a token"), 2);
        assert_eq!(
            sampler.sample(&mut [0.0; 3], |_| Ok(())).expect("a token"),
            1,
            "the bias"
        );
        let error = sampler
            .sample(&mut [0.0; 3], only(9))
            .expect_err("nothing is left");
        assert_eq!(error.code(), "compute-failed");
    }
}

#[test]
fn greedy_takes_the_first_of_equals_and_no_number_is_an_error() {
    let mut greedy = sampler(|s| s.temperature = 0.0);
    assert_eq!(sample(&mut greedy, &[1.0, 5.0, 5.0]).expect("a token"), 1);
    for logits in [&[f32::NAN, 1.0][..], &[f32::INFINITY], &[]] {
        assert_eq!(
            sample(&mut greedy, logits).expect_err("not numbers").code(),
            "compute-failed"
        );
    }
}

#[test]
fn parameters_out_of_range_are_named() {
    type Change = fn(&mut Sampling);
    let cases: [(&str, Change); 17] = [
        ("temperature", |s| s.temperature = -0.1),
        ("temperature", |s| s.temperature = 2.1),
        ("temperature", |s| s.temperature = f32::NAN),
        ("top_p", |s| s.top_p = 0.0),
        ("top_p", |s| s.top_p = 1.1),
        ("top_p", |s| s.top_p = f32::NAN),
        ("top_k", |s| s.top_k = Some(0)),
        ("min_p", |s| s.min_p = -0.1),
        ("min_p", |s| s.min_p = 1.1),
        ("typical_p", |s| s.typical_p = 0.0),
        ("typical_p", |s| s.typical_p = f32::NAN),
        ("repetition_penalty", |s| s.repetition_penalty = 0.0),
        ("repetition_penalty", |s| s.repetition_penalty = 11.0),
        ("frequency_penalty", |s| s.frequency_penalty = 2.1),
        ("frequency_penalty", |s| s.frequency_penalty = f32::NAN),
        ("presence_penalty", |s| s.presence_penalty = -2.1),
        ("presence_penalty", |s| s.presence_penalty = f32::INFINITY),
    ];
    for (name, change) in cases {
        let mut sampling = Sampling::default();
        change(&mut sampling);
        let error = sampling.checked().expect_err(name);
        assert!(error.to_string().starts_with(name), "{error}");
    }
    let sampling = Sampling::greedy();
    for biases in [
        &[(3, 1.0)][..],
        &[(0, 101.0)],
        &[(0, f32::NAN)],
        &[(0, 1.0); 1025],
    ] {
        let error = Sampler::new(&sampling, biases, &[], 3, 0).err().expect("refused");
        assert!(error.to_string().starts_with("logit_bias"), "{error}");
    }
}
