//! Ten thousand damaged models of every form: each is an error or loads, in bounded time and memory, never a panic.
//!
//! One test, as the allocator counts for the whole process.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use common::Files;
use inference::{Embedder, Model, ModelFiles};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Beside the bytes of the files themselves.
const MEMORY_BYTES_MAX: usize = 64 << 20;
const TIME_MAX: Duration = Duration::from_secs(2);

/// A xorshift generator: the mutants are the same on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// Flips, cuts, inserts, repeats or overwrites with numbers that hurt, within the first `within` bytes.
fn damage(bytes: &mut Vec<u8>, within: usize, random: &mut Random) {
    const NUMBERS: [u64; 8] = [
        0,
        1,
        0xff,
        0xffff_ffff,
        u64::MAX,
        1 << 62,
        1 << 31,
        0x8000_0000_0000_0000,
    ];
    for _ in 0..=random.below(3) {
        let within = within.min(bytes.len());
        if within == 0 {
            return;
        }
        let at = random.below(within);
        match random.below(8) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = b"0123456789{}[]\",:-eE\0\xff"[random.below(22)],
            2 => bytes.truncate(at),
            3 => bytes.insert(at, b"0123456789"[random.below(10)]),
            4 => drop(bytes.drain(at..(at + random.below(40)).min(bytes.len()))),
            5 => {
                let end = (at + random.below(64)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            6 => {
                let number = NUMBERS[random.below(8)].to_le_bytes();
                let width = [1, 4, 8][random.below(3)].min(bytes.len() - at);
                bytes[at..at + width].copy_from_slice(&number[..width]);
            }
            _ => {
                // A number of the text becomes one of another size.
                let digits = bytes[at..]
                    .iter()
                    .take_while(|byte| byte.is_ascii_digit())
                    .count();
                let number = [
                    "0",
                    "-1",
                    "1e39",
                    "16777217",
                    "4294967296",
                    "18446744073709551615",
                ];
                let number = number[random.below(6)].bytes();
                bytes.splice(at..at + digits, number);
            }
        }
    }
}

/// What a caller does with a model that loads.
fn open(files: &Files, embeds: bool) -> bool {
    let files: ModelFiles<'_> = files
        .0
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    if embeds {
        Embedder::load(&files)
            .and_then(|model| model.embed("the cat"))
            .is_ok()
    } else {
        Model::load(&files)
            .and_then(|model| model.count_tokens("the line", 64))
            .is_ok()
    }
}

/// One mutant after the other; returns how many were refused.
fn mutants_of(original: &Files, file: &str, within: usize, count: usize, embeds: bool) -> usize {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut refused = 0;
    for index in 0..count {
        let mut files = original.clone();
        damage(
            files.0.get_mut(file).expect("the fixture has it"),
            within,
            &mut random,
        );
        let size: usize = files.0.values().map(Vec::len).sum();
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        let start = Instant::now();
        // A panic that the library catches would print a backtrace, which takes more memory than any model here.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let outcome = catch_unwind(AssertUnwindSafe(|| open(&files, embeds)));
        std::panic::set_hook(hook);
        let (time, peak) = (start.elapsed(), ALLOCATOR.peak_usage().saturating_sub(before));
        let opened = outcome.unwrap_or_else(|_| panic!("mutant {index} of {file} panics"));
        assert!(
            peak <= size + MEMORY_BYTES_MAX,
            "mutant {index} of {file}: {peak} bytes"
        );
        assert!(time <= TIME_MAX, "mutant {index} of {file}: {time:?}");
        refused += usize::from(!opened);
    }
    refused
}

#[test]
fn ten_thousand_mutants() {
    let (mut total, mut refused) = (0, 0);
    let mut run = |files: &Files, file: &str, within: usize, count: usize, embeds: bool| {
        total += count;
        refused += mutants_of(files, file, within, count, embeds);
    };
    for name in [
        "qwen3",
        "gqa-untied-f32",
        "gpt-oss",
        "gpt-oss-mxfp4",
        "quantised",
        "gemma3",
        "phi3-plain",
    ] {
        let files = Files::gguf(name);
        run(&files, "model.gguf", 12_000, 700, false);
    }
    for name in ["bias-f32", "qwen3-moe", "gpt-oss-mxfp4", "gemma3", "phi3"] {
        run(&Files::fixture(name), "model.safetensors", 2000, 400, false);
    }
    for name in [
        "tied-llama3-f32",
        "yarn-linear",
        "mistral-window",
        "ministral-mixed",
        "ministral3",
        "qwen2",
        "qwen3-moe",
        "gemma3",
        "phi3",
        "smollm3",
        "gpt-oss-mxfp4",
    ] {
        run(&Files::fixture(name), "config.json", usize::MAX, 150, false);
    }
    run(
        &Files::fixture("bias-f32"),
        "tokenizer.json",
        usize::MAX,
        700,
        false,
    );
    for name in ["bert-mean", "nomic-mean", "qwen3-embedding"] {
        let files = Files::fixture(name);
        for (file, count) in [
            ("config.json", 150),
            ("modules.json", 100),
            ("1_Pooling/config.json", 100),
            ("tokenizer.json", 150),
            ("model.safetensors", 150),
        ] {
            run(&files, file, 2000, count, true);
        }
    }
    assert!(total >= 10_000, "{total}");
    // Most damage is found; what is not lies in names and weights, which any bytes are.
    assert!(refused > total / 2, "{refused} of {total}");
}
