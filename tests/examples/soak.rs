//! Mixed load against a whole deployment on loopback, for as long as is asked: streams, clients that go away, prompts
//! of all lengths, structured output, several completions, prompts that begin alike, and requests that must be refused.
//!
//! `cargo run --release -p adyton-tests --example soak [MINUTES]`
//!
//! Ends with 1 when an answer was wrong, or when the enclave grew by more than a tenth after the first sixth of the time.

#![allow(clippy::print_stdout, reason = "a command for a person")]

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use harness::deployment::Deployment;
use serde_json::{Value, json};

/// Clients at a time; the enclave computes sixteen requests at once, and some ask for several completions.
const CLIENTS: usize = 12;
const GROWTH_MAX: f64 = 0.10;
const PROCESSES: [&str; 4] = ["enclave", "host", "broker", "up"];

/// What one kind of request came to.
#[derive(Default)]
struct Count {
    as_expected: u64,
    overloaded: u64,
    wrong: u64,
    /// The first that was wrong.
    example: Option<String>,
}

type Counts = Mutex<BTreeMap<&'static str, Count>>;

/// What is sent, and what has to come back.
struct Load {
    name: &'static str,
    path: &'static str,
    body: Value,
    answer: Expected,
}

enum Expected {
    /// A whole document with so many choices.
    Choices(usize),
    /// A document whose text is a JSON object.
    JsonObject,
    /// Events that end with `[DONE]`.
    Stream,
    /// The client goes away after so many bytes.
    Gone(usize),
    /// A status and a code.
    Refused(u16, &'static str),
}

fn main() -> ExitCode {
    let minutes: f64 = std::env::args()
        .nth(1)
        .map_or(Ok(10.0), |minutes| minutes.parse())
        .expect("MINUTES is a number");
    let time = Duration::from_secs_f64(60.0 * minutes);
    let deployment = Deployment::start("snp");
    let base = deployment.run("base_url").trim_start_matches("http://");
    let authority: Arc<str> = base.trim_end_matches("/v1").into();
    let model: Arc<str> = deployment.run("model").into();
    let (counts, stop) = (Arc::new(Counts::default()), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (1..=CLIENTS as u64)
        .map(|seed| {
            let (authority, model) = (Arc::clone(&authority), Arc::clone(&model));
            let (counts, stop) = (Arc::clone(&counts), Arc::clone(&stop));
            std::thread::spawn(move || client(seed, &authority, &model, &counts, &stop))
        })
        .collect();
    let pids = PROCESSES.map(|name| match name {
        "up" => deployment.up_pid(),
        name => deployment.pid(name),
    });
    let (started, mut samples) = (Instant::now(), Vec::new());
    while started.elapsed() < time {
        std::thread::sleep(Duration::from_secs(5).min(time / 12));
        samples.push(pids.map(resident_kib));
    }
    stop.store(true, Ordering::Release);
    for client in clients {
        client.join().expect("a client does not panic");
    }
    println!("{minutes} minutes, {CLIENTS} clients");
    let wrong = tell_counts(&counts);
    let grown = tell_memory(&samples);
    if wrong || grown {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn tell_counts(counts: &Counts) -> bool {
    println!(
        "{:<22}{:>10}{:>12}{:>8}",
        "request", "expected", "overloaded", "wrong"
    );
    let counts = counts.lock().expect("no client panicked");
    for (name, count) in counts.iter() {
        println!(
            "{name:<22}{:>10}{:>12}{:>8}",
            count.as_expected, count.overloaded, count.wrong
        );
        if let Some(example) = &count.example {
            println!("    for example: {example}");
        }
    }
    counts.values().any(|count| count.wrong > 0)
}

/// `true` when the enclave grew too much.
fn tell_memory(samples: &[[u64; 4]]) -> bool {
    let warm = samples.len() / 6;
    println!(
        "{:<22}{:>10}{:>12}{:>8}",
        "resident, KiB", "warm", "end", "growth"
    );
    let mut grown = false;
    for (index, name) in PROCESSES.iter().enumerate() {
        let (begin, end) = (samples[warm][index], samples[samples.len() - 1][index]);
        let growth = end as f64 / begin as f64 - 1.0;
        println!("{name:<22}{begin:>10}{end:>12}{:>7.1}%", 100.0 * growth);
        grown |= *name == "enclave" && growth > GROWTH_MAX;
    }
    grown
}

fn client(seed: u64, authority: &str, model: &str, counts: &Counts, stop: &AtomicBool) {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    while !stop.load(Ordering::Acquire) {
        let load = load(&mut random, model);
        let found = send(authority, &load);
        let mut counts = counts.lock().expect("no client panics");
        let count = counts.entry(load.name).or_default();
        match found {
            Ok(()) => count.as_expected += 1,
            Err(found) if found.contains("\"overloaded\"") => count.overloaded += 1,
            Err(found) => {
                count.wrong += 1;
                count
                    .example
                    .get_or_insert_with(|| found.chars().take(300).collect());
            }
        }
    }
}

fn next(random: &mut u64, below: u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    (*random >> 20) % below
}

fn load(random: &mut u64, model: &str) -> Load {
    let words = |count: u64, random: &mut u64| {
        let word =
            |_| ["attestation ", "proves ", "what ", "key ", "memory ", "and "][next(random, 6) as usize];
        (0..count).map(word).collect::<String>()
    };
    let kind = next(random, 9);
    let count = match kind {
        2 => 150 + next(random, 150),
        _ => 4 + next(random, 20),
    };
    let content = words(count, random);
    let tokens = 1 + next(random, 60);
    let chat = |more: Value| {
        let mut body = json!({
            "model": model, "max_tokens": tokens, "messages": [{"role": "user", "content": content}],
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        body
    };
    let (name, path, body, answer) = match kind {
        0 => (
            "stream",
            "chat/completions",
            chat(json!({"stream": true})),
            Expected::Stream,
        ),
        1 => (
            "client goes away",
            "chat/completions",
            chat(json!({"stream": true, "max_tokens": 500})),
            Expected::Gone(1 + next(random, 4000) as usize),
        ),
        2 => (
            "long prompt",
            "chat/completions",
            chat(json!({"temperature": 0})),
            Expected::Choices(1),
        ),
        3 => (
            "structured",
            "chat/completions",
            chat(
                json!({"max_tokens": 200, "response_format": {"type": "json_schema", "json_schema": {
                "name": "answer", "schema": {"type": "object", "additionalProperties": false, "required": ["a"],
                "properties": {"a": {"enum": ["yes", "no"]}}}}}}),
            ),
            Expected::JsonObject,
        ),
        4 => (
            "three completions",
            "chat/completions",
            chat(json!({"n": 3, "logprobs": true, "top_logprobs": 2})),
            Expected::Choices(3),
        ),
        5 => (
            "a known beginning",
            "chat/completions",
            // Few questions, so that what is kept is all there once the deployment is warm.
            chat(
                json!({"prompt_cache_key": "soak", "temperature": 0, "max_tokens": 40, "messages": [
                {"role": "user", "content": "attestation proves what runs. ".repeat(20)},
                {"role": "assistant", "content": "yes"}, {"role": "user", "content": "what? ".repeat(1 + count as usize % 4)}]}),
            ),
            Expected::Choices(1),
        ),
        6 => (
            "embeddings refused",
            "embeddings",
            json!({"model": model, "input": content}),
            Expected::Refused(400, "invalid-parameter"),
        ),
        7 => (
            "parameter refused",
            "chat/completions",
            chat(json!({"temperature": 9})),
            Expected::Refused(400, "invalid-parameter"),
        ),
        _ => (
            "prompt refused",
            "completions",
            json!({"model": model, "prompt": words(3000, random), "max_tokens": 5}),
            Expected::Refused(400, "prompt-too-long"),
        ),
    };
    Load {
        name,
        path,
        body,
        answer,
    }
}

fn send(authority: &str, load: &Load) -> Result<(), String> {
    let body = load.body.to_string();
    let mut socket = TcpStream::connect(authority).map_err(|error| error.to_string())?;
    let _ = socket.set_read_timeout(Some(Duration::from_secs(300)));
    let head = "HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json";
    let (path, length) = (load.path, body.len());
    write!(
        socket,
        "POST /v1/{path} {head}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .map_err(|error| error.to_string())?;
    if let Expected::Gone(bytes) = load.answer {
        let _ = socket.read_exact(&mut vec![0; bytes]); // a short answer ends sooner
        let _ = socket.shutdown(Shutdown::Both);
        return Ok(());
    }
    let mut answer = Vec::new();
    socket
        .read_to_end(&mut answer)
        .map_err(|error| error.to_string())?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let as_expected = match &load.answer {
        Expected::Stream => {
            answer.contains("200 OK") && answer.contains("data: [DONE]") && !answer.contains("\"error\"")
        }
        Expected::Refused(status, code) => {
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(&format!("\"{code}\""))
        }
        Expected::Choices(count) => document(&answer)
            .and_then(|document| Some(document["choices"].as_array()?.len() == *count))
            .unwrap_or(false),
        Expected::JsonObject => document(&answer)
            .and_then(|document| {
                let content = document["choices"][0]["message"]["content"].as_str()?;
                Some(matches!(serde_json::from_str(content), Ok(Value::Object(_))))
            })
            .unwrap_or(false),
        Expected::Gone(_) => true,
    };
    if as_expected { Ok(()) } else { Err(answer) }
}

/// The JSON of an answer, whole or in chunks (RFC 9112 section 7.1): it is the only object there.
fn document(answer: &str) -> Option<Value> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return None;
    }
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return serde_json::from_str(body).ok();
    }
    let (mut whole, mut rest) = (String::new(), body);
    while let Some((size, chunks)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        whole.push_str(chunks.get(..size)?);
        rest = chunks.get(size + 2..).unwrap_or_default();
    }
    serde_json::from_str(&whole).ok()
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse().ok())
        .expect("the process runs")
}
