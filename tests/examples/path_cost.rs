//! What confidentiality costs: the same model, prompt and tokens through the bare engine and through the sealed path
//! (proxy, TLS, relay, enclave, padding, receipt), taken in turns in one run. Also: launch to first token, memory.
//!
//! `cargo run --release -p adyton-tests --example path_cost [ROUNDS]`

#![allow(clippy::print_stdout, reason = "a command for a person")]

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::Path,
    time::Instant,
};

use harness::deployment::{Deployment, workspace};
use inference::{EngineConfig, GenerateRequest, Model, ModelFiles, PromptInput, Sampling};
use serde_json::{Value, json};

const COMPLETION_TOKENS: usize = 128;
const PROMPT: &str = "What does remote attestation prove, and to whom, and what does it leave open?";
/// A shape that takes milliseconds a token, as real models do: the sample model's takes a tenth of one.
const HIDDEN: usize = 768;
const INTERMEDIATE: usize = 2048;
const LAYERS: usize = 10;
const HEADS: usize = 12;
const KV_HEADS: usize = 4;

/// One completion.
struct Run {
    first_ms: f64,
    tokens_per_second: f64,
}

fn main() {
    let rounds = std::env::args()
        .nth(1)
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(5);
    launch_to_first_token();

    // The model is named after its folder, and no name begins with a dot.
    let folder = tempfile::Builder::new()
        .prefix("random-model-")
        .tempdir()
        .expect("temporary folder");
    random_model(folder.path());
    let engine = bare_engine(folder.path());
    let deployment = Deployment::start_with_model(folder.path(), "snp");
    println!(
        "enclave memory               {:>8} MiB resident",
        resident_mib(deployment.pid("enclave"))
    );

    let (mut bare, mut sealed) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        bare.push(run_bare(&engine));
        sealed.push(run_sealed(&deployment));
    }
    let (bare_rate, sealed_rate) = (
        median(&bare, |r| r.tokens_per_second),
        median(&sealed, |r| r.tokens_per_second),
    );
    let (bare_first, sealed_first) = (median(&bare, |r| r.first_ms), median(&sealed, |r| r.first_ms));
    println!("bare engine                  {bare_rate:>8.1} tokens/s   first token {bare_first:.1} ms");
    println!("sealed path                  {sealed_rate:>8.1} tokens/s   first token {sealed_first:.1} ms");
    println!(
        "sealed / bare, tokens/s      {:>8.3}            (goal >= 0.99)",
        sealed_rate / bare_rate
    );
    println!(
        "added to the first token     {:>8.1} ms         (goal <= 5)",
        sealed_first - bare_first
    );
}

/// The sample model, from nothing (keys, certificates, sealing included) and from an existing state directory.
fn launch_to_first_token() {
    let started = Instant::now();
    let deployment = Deployment::start("snp");
    run_sealed(&deployment);
    println!(
        "first start to first answer  {:>8.2} s          keys and sealing included",
        started.elapsed().as_secs_f64()
    );
    let folder = deployment.stop();
    let started = Instant::now();
    let deployment = Deployment::start_in(folder, "snp");
    let run = run_sealed(&deployment);
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "launch to first token        {seconds:>8.2} s          (goal <= 1); of it the request {:.1} ms",
        run.first_ms
    );
}

fn median(runs: &[Run], of: impl Fn(&Run) -> f64) -> f64 {
    let mut values: Vec<_> = runs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn bare_engine(folder: &Path) -> inference::Engine {
    let names = [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "model.safetensors",
    ];
    let contents = names.map(|name| std::fs::read(folder.join(name)).expect("just written"));
    let files: ModelFiles<'_> = names
        .into_iter()
        .zip(contents.iter().map(Vec::as_slice))
        .collect();
    let model = Model::load(&files).expect("a valid model");
    model
        .engine(EngineConfig::default())
        .expect("a valid configuration")
}

fn run_bare(engine: &inference::Engine) -> Run {
    let messages = [inference::ChatMessage::text(inference::Role::User, PROMPT)];
    let mut request = GenerateRequest::new(PromptInput::Messages(&messages));
    request.sampling = Sampling::greedy();
    request.completion_tokens_max = Some(COMPLETION_TOKENS);
    let started = Instant::now();
    let mut generation = engine.generate(request).expect("a valid request");
    let mut first = None;
    for piece in generation.by_ref() {
        piece.expect("the engine generates");
        first.get_or_insert_with(Instant::now);
    }
    rate(started, first, generation.usage().completion_tokens)
}

fn run_sealed(deployment: &Deployment) -> Run {
    let authority = deployment
        .run("base_url")
        .trim_start_matches("http://")
        .trim_end_matches("/v1");
    let body = json!({
        "model": deployment.run("model"), "stream": true, "temperature": 0, "max_tokens": COMPLETION_TOKENS,
        "stream_options": {"include_usage": true}, "messages": [{"role": "user", "content": PROMPT}],
    })
    .to_string();
    let started = Instant::now();
    let mut socket = TcpStream::connect(authority).expect("the proxy listens");
    socket.set_nodelay(true).expect("a socket");
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json";
    // In one piece, as every HTTP client sends it.
    let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    socket.write_all(request.as_bytes()).expect("it reads");
    let (mut first, mut tokens) = (None, 0);
    for line in BufReader::new(socket).lines() {
        let line = line.expect("a whole answer");
        let Some(event) = line.strip_prefix("data: ").filter(|event| *event != "[DONE]") else {
            continue;
        };
        let event: Value = serde_json::from_str(event).expect("JSON");
        if event["choices"][0]["delta"]["content"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
        {
            first.get_or_insert_with(Instant::now);
        }
        tokens = event["usage"]["completion_tokens"]
            .as_u64()
            .map_or(tokens, |tokens| tokens as usize);
    }
    rate(started, first, tokens)
}

/// Tokens after the first over the time after the first, so that prefill is not counted twice.
fn rate(started: Instant, first: Option<Instant>, tokens: usize) -> Run {
    let ended = Instant::now();
    let first = first.expect("at least one piece");
    let decode_seconds = ended.duration_since(first).as_secs_f64();
    Run {
        first_ms: first.duration_since(started).as_secs_f64() * 1e3,
        tokens_per_second: tokens.saturating_sub(1) as f64 / decode_seconds,
    }
}

fn resident_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .expect("the kernel tells");
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<u64>().ok())
        .expect("a number")
        / 1024
}

/// A random checkpoint in bf16 with the sample model's tokenizer.
fn random_model(folder: &Path) {
    let sample = workspace().join("models/sample");
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(sample.join(name), folder.join(name)).expect("the sample model");
    }
    let text = std::fs::read_to_string(sample.join("config.json")).expect("the sample model");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    let vocabulary = config["vocab_size"].as_u64().expect("a number") as usize;
    for (key, value) in [
        ("hidden_size", HIDDEN),
        ("intermediate_size", INTERMEDIATE),
        ("num_hidden_layers", LAYERS),
        ("num_attention_heads", HEADS),
        ("num_key_value_heads", KV_HEADS),
        ("head_dim", HIDDEN / HEADS),
    ] {
        config[key] = value.into();
    }
    config["eos_token_id"] = (vocabulary - 1).into(); // rarely the likeliest: completions run to their limit
    std::fs::write(folder.join("config.json"), config.to_string()).expect("ours");
    std::fs::write(folder.join("model.safetensors"), safetensors(vocabulary)).expect("ours");
}

fn safetensors(vocabulary: usize) -> Vec<u8> {
    let key_value = KV_HEADS * (HIDDEN / HEADS);
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_owned(), vec![vocabulary, HIDDEN]),
        ("model.norm.weight".to_owned(), vec![HIDDEN]),
    ];
    for layer in 0..LAYERS {
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        shapes.extend([
            (name("input_layernorm"), vec![HIDDEN]),
            (name("post_attention_layernorm"), vec![HIDDEN]),
            (name("self_attn.q_proj"), vec![HIDDEN, HIDDEN]),
            (name("self_attn.k_proj"), vec![key_value, HIDDEN]),
            (name("self_attn.v_proj"), vec![key_value, HIDDEN]),
            (name("self_attn.o_proj"), vec![HIDDEN, HIDDEN]),
            (name("mlp.gate_proj"), vec![INTERMEDIATE, HIDDEN]),
            (name("mlp.up_proj"), vec![INTERMEDIATE, HIDDEN]),
            (name("mlp.down_proj"), vec![HIDDEN, INTERMEDIATE]),
        ]);
    }
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for (name, shape) in shapes {
        let begin = data.len();
        for _ in 0..shape.iter().product::<usize>() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // Uniform in ±0.05, or ones for the norms: the upper half of an f32 is a bf16.
            let uniform = (state >> 40) as f32 / (1 << 24) as f32;
            let value = if shape.len() == 1 {
                1.0
            } else {
                (uniform - 0.5) * 0.1
            };
            data.extend_from_slice(
                &value.to_bits().to_be_bytes()[..2]
                    .iter()
                    .rev()
                    .copied()
                    .collect::<Vec<_>>(),
            );
        }
        header.insert(
            name,
            json!({"dtype": "BF16", "shape": shape, "data_offsets": [begin, data.len()]}),
        );
    }
    let header = Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}
