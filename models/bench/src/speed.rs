//! Prefill and decode of one model, with some requests at a time.

use std::time::Instant;

use inference::{EngineConfig, GenerateRequest, InferenceError, Model, PromptInput, Sampling};

/// How much is computed.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) streams: usize,
    pub(crate) prompt_tokens: usize,
    pub(crate) completion_tokens: usize,
}

/// Tokens per second of all streams together.
#[derive(Clone, Copy)]
pub(crate) struct Speed {
    pub(crate) load: Load,
    pub(crate) prefill: f64,
    pub(crate) decode: f64,
}

/// Runs the load. Streams begin together; decoding is timed from when the last of them has its first token.
pub(crate) fn measure(model: &Model, load: Load) -> Result<Speed, InferenceError> {
    let engine = model.engine(EngineConfig {
        max_concurrent: load.streams,
        ..EngineConfig::default()
    })?;
    let prompts: Vec<Vec<u32>> = (0..load.streams)
        // Different prompts: what is alike must not be computed once.
        .map(|stream| {
            (0..load.prompt_tokens)
                .map(|token| ((stream * 31 + token * 7) % 250 + 2) as u32)
                .collect()
        })
        .collect();
    let start = Instant::now();
    let mut generations = prompts
        .iter()
        .map(|prompt| {
            engine.generate(GenerateRequest {
                sampling: Sampling::greedy(),
                completion_tokens_max: Some(load.completion_tokens),
                ..GenerateRequest::new(PromptInput::Tokens(prompt))
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    for generation in &mut generations {
        generation.next().transpose()?;
    }
    let prefill = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let mut decoded = 0;
    for generation in &mut generations {
        for piece in generation.by_ref() {
            decoded += piece?.tokens;
        }
    }
    let decode = start.elapsed().as_secs_f64();
    Ok(Speed {
        load,
        prefill: (load.streams * load.prompt_tokens) as f64 / prefill,
        decode: decoded as f64 / decode,
    })
}
