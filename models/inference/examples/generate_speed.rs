//! Tokens per second of prefill and decode, for 1, 4 and 16 requests at a time, on a random model of 100 million
//! parameters, made in memory.
//!
//! `cargo run --release -p adyton-inference --example generate_speed [PROMPT_TOKENS] [COMPLETION_TOKENS] [bf16|f32]`

// A command for a person, so it prints.
#![allow(clippy::print_stdout)]

use std::fmt::Write as _;
use std::time::Instant;

use inference::{EngineConfig, GenerateRequest, InferenceError, Model, ModelFiles, PromptInput, Sampling};

const VOCABULARY: usize = 16_384;
const HIDDEN: usize = 768;
const INTERMEDIATE: usize = 2_048;
const LAYERS: usize = 12;
const HEADS: usize = 12;
const KV_HEADS: usize = 4;
const HEAD_DIM: usize = 64;

/// Name and bytes of an element.
type WeightType = (&'static str, usize);
const F32: WeightType = ("F32", 4);
const BF16: WeightType = ("BF16", 2);

fn main() -> Result<(), InferenceError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize| arguments.get(index).and_then(|argument| argument.parse().ok());
    let (prompt_tokens, completion_tokens) = (number(0).unwrap_or(512), number(1).unwrap_or(128).max(2));
    let weight_type = if arguments.iter().any(|argument| argument == "f32") {
        F32
    } else {
        BF16
    };

    let weights = weights(weight_type);
    let (config, tokenizer) = (config(), tokenizer());
    let files: ModelFiles<'_> = [
        ("config.json", config.as_bytes()),
        ("tokenizer.json", tokenizer.as_bytes()),
        ("model.safetensors", weights.as_slice()),
    ]
    .into_iter()
    .collect();
    let start = Instant::now();
    let model = Model::load(&files)?;
    let seconds = start.elapsed().as_secs_f64();
    let weight_bytes = weights.len() as f64;
    let parameters = weight_bytes / weight_type.1 as f64;
    println!(
        "load      {seconds:8.3} s     {:.1} M parameters, {}",
        parameters / 1e6,
        weight_type.0
    );
    drop(weights);

    let prompt = (0..prompt_tokens).fold(String::new(), |mut prompt, index| {
        write!(prompt, "w{} ", index * 7919 % VOCABULARY).expect("a string takes everything");
        prompt
    });
    let mut alone = None;
    for streams in [1, 4, 16] {
        let (prefill, decode) = measure(&model, &prompt, (prompt_tokens, completion_tokens), streams)?;
        let alone = *alone.get_or_insert(decode);
        println!(
            "{streams:2} streams prefill {prefill:8.1} tokens/s ({:.2} GFLOP/s)   decode {decode:8.1} tokens/s ({:.2} GB/s of weights), {:.2} times one",
            2.0 * parameters * prefill / 1e9,
            weight_bytes * decode / streams as f64 / 1e9,
            decode / alone,
        );
    }
    Ok(())
}

/// Tokens per second of prompts, and of completions: the time of whole requests without that of their first tokens.
fn measure(
    model: &Model,
    prompt: &str,
    (prompt_tokens, completion_tokens): (usize, usize),
    streams: usize,
) -> Result<(f64, f64), InferenceError> {
    let engine = model.engine(EngineConfig {
        max_concurrent: streams,
        ..EngineConfig::default()
    })?;
    let seconds = |completion_tokens| {
        let request = || GenerateRequest {
            sampling: Sampling::greedy(),
            completion_tokens_max: Some(completion_tokens),
            ..GenerateRequest::new(PromptInput::Text(prompt))
        };
        let start = Instant::now();
        let generations = (0..streams)
            .map(|_| engine.generate(request()))
            .collect::<Result<Vec<_>, _>>()?;
        for piece in generations.into_iter().flatten() {
            piece?;
        }
        Ok::<f64, InferenceError>(start.elapsed().as_secs_f64())
    };
    let first = seconds(1)?;
    let whole = seconds(completion_tokens)?;
    let prefill = (streams * prompt_tokens) as f64 / first;
    let decode = (streams * (completion_tokens - 1)) as f64 / (whole - first);
    Ok((prefill, decode))
}

fn config() -> String {
    format!(
        r#"{{"architectures":["LlamaForCausalLM"],"model_type":"llama","vocab_size":{VOCABULARY},
        "hidden_size":{HIDDEN},"intermediate_size":{INTERMEDIATE},"num_hidden_layers":{LAYERS},
        "num_attention_heads":{HEADS},"num_key_value_heads":{KV_HEADS},"max_position_embeddings":8192,
        "tie_word_embeddings":false}}"#
    )
}

/// One word, one token.
fn tokenizer() -> String {
    let words: Vec<String> = (0..VOCABULARY)
        .map(|token| format!("\"w{token}\":{token}"))
        .collect();
    format!(
        r#"{{"version":"1.0","added_tokens":[],"pre_tokenizer":{{"type":"WhitespaceSplit"}},
        "model":{{"type":"WordLevel","vocab":{{{}}},"unk_token":"w0"}}}}"#,
        words.join(",")
    )
}

/// A safetensors file of weights from a small generator.
fn weights((name_of_type, element_bytes): WeightType) -> Vec<u8> {
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_owned(), vec![VOCABULARY, HIDDEN]),
        ("lm_head.weight".to_owned(), vec![VOCABULARY, HIDDEN]),
        ("model.norm.weight".to_owned(), vec![HIDDEN]),
    ];
    for layer in 0..LAYERS {
        let parts = [
            ("input_layernorm", vec![HIDDEN]),
            ("post_attention_layernorm", vec![HIDDEN]),
            ("self_attn.q_proj", vec![HEADS * HEAD_DIM, HIDDEN]),
            ("self_attn.k_proj", vec![KV_HEADS * HEAD_DIM, HIDDEN]),
            ("self_attn.v_proj", vec![KV_HEADS * HEAD_DIM, HIDDEN]),
            ("self_attn.o_proj", vec![HIDDEN, HEADS * HEAD_DIM]),
            ("mlp.gate_proj", vec![INTERMEDIATE, HIDDEN]),
            ("mlp.up_proj", vec![INTERMEDIATE, HIDDEN]),
            ("mlp.down_proj", vec![HIDDEN, INTERMEDIATE]),
        ];
        shapes.extend(parts.map(|(name, shape)| (format!("model.layers.{layer}.{name}.weight"), shape)));
    }
    let mut entries = Vec::new();
    let mut offset = 0;
    for (name, shape) in &shapes {
        let end = offset + element_bytes * shape.iter().product::<usize>();
        entries.push(format!(
            r#""{name}":{{"dtype":"{name_of_type}","shape":{shape:?},"data_offsets":[{offset},{end}]}}"#
        ));
        offset = end;
    }
    let header = format!("{{{}}}", entries.join(","));
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.reserve_exact(offset);
    let mut state = 1_u32;
    for _ in 0..offset / element_bytes {
        // Uniform between -0.06 and 0.06, about the spread of trained weights of this width.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let value = (state >> 8) as f32 / (1 << 24) as f32 * 0.12 - 0.06;
        file.extend_from_slice(&value.to_le_bytes()[4 - element_bytes..]);
    }
    file
}
