//! The engine on random weights of 1.1 billion parameters, each figure beside what bounds it, and beside llama.cpp's on
//! the same file with as many threads, in turns in one run.
//!
//! `cargo run --release --workspace --example engine_speed [FORMAT...]`
//!
//! `LLAMA_BENCH` and `LLAMA_SERVER` name llama.cpp's binaries; without them there is nothing beside. `INSTRUCTIONS` names
//! the fastest that the engine may use (`avx2`): to be compared with a llama.cpp that was built for no more.

#![allow(clippy::print_stdout, reason = "a command for a person")]

use std::{
    env,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use harness::deployment::binary;
use serde_json::{Value, json};

const PROMPT_TOKENS: usize = 512;
const COMPLETION_TOKENS: usize = 128;
const STREAMS: usize = 16;
const ROUNDS: usize = 2;
/// Weights of the layers: what a token of a prompt is multiplied with, but for the last, which alone reaches the output.
const LAYER_WEIGHTS: f64 = 968.9e6;
/// The table of embeddings, of which a token reads one row.
const EMBEDDINGS: f64 = 65.5e6;
const SERVER_SECONDS_MAX: u64 = 120;

/// Tokens per second: the best of the rounds, since what else runs on a machine only slows.
#[derive(Clone, Copy, Default)]
struct Speed {
    prefill: f64,
    decode: f64,
    /// Completion tokens of all streams over the whole time.
    streams: f64,
}

impl Speed {
    fn best(self, other: Self) -> Self {
        Self {
            prefill: self.prefill.max(other.prefill),
            decode: self.decode.max(other.decode),
            streams: self.streams.max(other.streams),
        }
    }
}

fn main() {
    let named: Vec<String> = env::args().skip(1).collect();
    let formats = if named.is_empty() {
        ["q4_k_m", "q8_0", "bf16"].map(str::to_owned).to_vec()
    } else {
        named
    };
    let folder = tempfile::tempdir().expect("a folder");
    println!(
        "tokens/s                         Adyton  llama.cpp  ratio    (prompt {PROMPT_TOKENS}, answer {COMPLETION_TOKENS})"
    );
    for format in formats {
        let file = folder.path().join(format!("{format}.gguf"));
        let written = Command::new(binary("adyton-bench"))
            .args(["--random", &format, "--write"])
            .arg(&file)
            .status();
        assert!(written.is_ok_and(|status| status.success()), "{format}");
        let (mut ours, mut theirs) = (Speed::default(), Speed::default());
        let mut document = Value::Null;
        for _ in 0..ROUNDS {
            document = adyton(&file);
            ours = ours.best(speed(&document));
            theirs = theirs.best(llama(&file, document["machine"]["threads"].as_u64().unwrap_or(1)));
        }
        report(&format, &document, ours, theirs);
        std::fs::remove_file(&file).expect("it was written");
    }
}

fn report(format: &str, document: &Value, ours: Speed, theirs: Speed) {
    let number = |pointer: &str| {
        document
            .pointer(pointer)
            .and_then(Value::as_f64)
            .unwrap_or(f64::NAN)
    };
    let peak = number(if format == "bf16" {
        "/machine/peak_gop_per_second/bf16"
    } else {
        "/machine/peak_gop_per_second/bytes"
    });
    let computed = 100.0 * ours.prefill * 2.0 * LAYER_WEIGHTS / 1e9 / peak;
    let bits = match format {
        "q4_k_m" => 4.5,
        "q8_0" => 8.5,
        _ => 16.0,
    };
    let bytes = number("/model/weight_bytes") - EMBEDDINGS * bits / 8.0;
    let read = 100.0 * ours.decode * bytes / 1e9 / number("/machine/reading_gb_per_second");
    let line = |what: &str, ours: f64, theirs: f64, bound: String| {
        let beside = if theirs > 0.0 {
            format!("{theirs:>9.1}  {:>5.2}", ours / theirs)
        } else {
            format!("{:>9}  {:>5}", "-", "-")
        };
        println!(
            "{:<31}{ours:>8.1}  {beside}    {bound}",
            format!("{format} {what}")
        );
    };
    line(
        "prefill",
        ours.prefill,
        theirs.prefill,
        format!("{computed:.0} % of the peak of {peak:.0} Gop/s"),
    );
    line(
        "decode",
        ours.decode,
        theirs.decode,
        format!("{read:.0} % of reading memory"),
    );
    line(
        &format!("{STREAMS} streams"),
        ours.streams,
        theirs.streams,
        String::new(),
    );
}

fn adyton(file: &Path) -> Value {
    let instructions = env::var("INSTRUCTIONS").map(|name| ["--instructions".to_owned(), name]);
    let output = Command::new(binary("adyton-bench"))
        .arg(file)
        .args(instructions.into_iter().flatten())
        .args(["--json", "--streams", &format!("1,{STREAMS}")])
        .args(["--prompt-tokens", &PROMPT_TOKENS.to_string()])
        .args(["--completion-tokens", &COMPLETION_TOKENS.to_string()])
        .output()
        .expect("it starts");
    serde_json::from_slice(&output.stdout).expect("one document")
}

fn speed(document: &Value) -> Speed {
    let of = |index: usize, name: &str| {
        let value = document["speeds"][index][name].as_f64();
        value.expect("a figure of each load")
    };
    let [prefill, decode] = ["prefill_tokens_per_second", "decode_tokens_per_second"];
    let seconds = (STREAMS * PROMPT_TOKENS) as f64 / of(1, prefill)
        + (STREAMS * COMPLETION_TOKENS) as f64 / of(1, decode);
    Speed {
        prefill: of(0, prefill),
        decode: of(0, decode),
        streams: (STREAMS * COMPLETION_TOKENS) as f64 / seconds,
    }
}

fn llama(file: &Path, threads: u64) -> Speed {
    let mut speed = Speed::default();
    if let Some(program) = env::var_os("LLAMA_BENCH") {
        // Tokens are decoded behind the prompt, as ours are.
        let rate = |prompt: usize, completion: usize, behind: usize| {
            let output = Command::new(&program)
                .arg("-m")
                .arg(file)
                .args(["-p", &prompt.to_string(), "-n", &completion.to_string()])
                .args(["-d", &behind.to_string(), "-t", &threads.to_string()])
                .args(["-r", "1", "-o", "json"])
                .stderr(Stdio::null())
                .output()
                .expect("LLAMA_BENCH starts");
            let runs: Value = serde_json::from_slice(&output.stdout).expect("llama-bench prints JSON");
            runs[0]["avg_ts"].as_f64().unwrap_or_default()
        };
        speed.prefill = rate(PROMPT_TOKENS, 0, 0);
        speed.decode = rate(0, COMPLETION_TOKENS, PROMPT_TOKENS);
    }
    if let Some(program) = env::var_os("LLAMA_SERVER") {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        let context = STREAMS * (PROMPT_TOKENS + COMPLETION_TOKENS + 8);
        let server = Command::new(program)
            .arg("-m")
            .arg(file)
            .args(["-t", &threads.to_string(), "-np", &STREAMS.to_string()])
            .args([
                "-c",
                &context.to_string(),
                "--host",
                "127.0.0.1",
                "--port",
                &port.to_string(),
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("LLAMA_SERVER starts");
        speed.streams = server_speed(Server(server), port);
    }
    speed
}

/// Ends with its process.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn server_speed(_server: Server, port: u16) -> f64 {
    let begin = Instant::now();
    while ask(port, "GET /health", "").is_none_or(|answer| answer["status"] != "ok") {
        assert!(
            begin.elapsed().as_secs() < SERVER_SECONDS_MAX,
            "LLAMA_SERVER does not serve"
        );
        thread::sleep(Duration::from_millis(100));
    }
    let start = Instant::now();
    let streams: Vec<_> = (0..STREAMS)
        .map(|stream| {
            thread::spawn(move || {
                let prompt: Vec<_> = (0..PROMPT_TOKENS)
                    .map(|token| (stream * 31 + token * 7) % 250 + 2)
                    .collect();
                let body = json!({
                    "prompt": prompt, "n_predict": COMPLETION_TOKENS, "temperature": 0, "ignore_eos": true,
                    "cache_prompt": false,
                });
                let answer = ask(port, "POST /completion", &body.to_string()).expect("an answer");
                answer["tokens_predicted"].as_u64().expect("a count")
            })
        })
        .collect();
    let tokens: u64 = streams
        .into_iter()
        .map(|stream| stream.join().expect("it ends"))
        .sum();
    tokens as f64 / start.elapsed().as_secs_f64()
}

/// The body of the answer, where it is JSON.
fn ask(port: u16, request: &str, body: &str) -> Option<Value> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut socket = TcpStream::connect(address).ok()?;
    let request = format!(
        "{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    serde_json::from_str(body).ok()
}
