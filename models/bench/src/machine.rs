//! What the machine can do, measured with the engine's own threads.

use std::hint::black_box;
use std::time::{Duration, Instant};

use kernels::{Format, Isa, Pool};

/// Larger than any cache of these machines.
const BYTES: usize = 1 << 30;
const BUDGET: Duration = Duration::from_millis(1500);

/// The bounds of every figure.
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) threads: usize,
    pub(crate) isa: Isa,
    /// GB/s of reading memory with all threads.
    pub(crate) reading: f64,
}

impl Machine {
    /// Takes about two seconds.
    pub(crate) fn measure(threads: usize) -> Self {
        Self {
            processor: processor(),
            threads,
            isa: Isa::best(),
            reading: reading(&Pool::new(threads)),
        }
    }

    /// Operations per second of all threads on registers, in units of 10^9, on what products with `format` compute in.
    pub(crate) fn peak(&self, format: Format) -> f64 {
        self.isa.peak(format) * self.threads as f64
    }
}

fn processor() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    name.and_then(|line| line.split_once(':')).map_or_else(
        || "unknown processor".to_owned(),
        |(_, name)| name.trim().to_owned(),
    )
}

/// The best of several passes over a large buffer, each thread its own part.
fn reading(pool: &Pool) -> f64 {
    let buffer = vec![1_u64; BYTES / 8];
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    while begin.elapsed() < BUDGET {
        let start = Instant::now();
        pool.run(|part, of| {
            let each = buffer.len() / of;
            let lines = buffer[part * each..(part + 1) * each].as_chunks::<16>().0;
            // Four streams: more of them are asked of the memory at a time.
            let quarter = lines.len() / 4;
            let mut sums = [[0_u64; 16]; 4];
            for line in 0..quarter {
                for (stream, sums) in sums.iter_mut().enumerate() {
                    for (sum, value) in sums.iter_mut().zip(&lines[stream * quarter + line]) {
                        *sum ^= value;
                    }
                }
            }
            black_box(sums);
        });
        best = best.min(start.elapsed().as_secs_f64());
    }
    BYTES as f64 / best / 1e9
}
