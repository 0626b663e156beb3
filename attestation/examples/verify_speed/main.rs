//! Time to appraise evidence on one core with nothing cached: every round parses the policy's Verifier anew, decodes
//! and appraises. `cargo run --release -p adyton-attestation --example verify_speed`.
//!
//! Simulated bundles always; real evidence where there are vectors (`ADYTON_VECTORS`).
#![allow(clippy::print_stdout, reason = "it speaks to a person")]

mod real;
mod simulated_bundles;

use std::time::{Duration, Instant};

const ROUNDS: usize = 200;

/// Runs `appraise` again and again, and prints its times beside the goal.
fn measure(name: &str, bytes: usize, goal_ms: Option<f64>, mut appraise: impl FnMut()) {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            appraise();
            start.elapsed()
        })
        .collect();
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let goal = goal_ms
        .map(|goal| format!(" (goal {goal} ms)"))
        .unwrap_or_default();
    println!(
        "{name}: {bytes} bytes, median {:.2} ms, best {:.2} ms, worst {:.2} ms of {ROUNDS}{goal}",
        ms(times[ROUNDS / 2]),
        ms(times[0]),
        ms(times[ROUNDS - 1]),
    );
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    simulated_bundles::measure_all()?;
    real::measure_all()
}
