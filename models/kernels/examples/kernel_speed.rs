//! How near the kernels come to what the machine can do.
//!
//! `cargo run --release -p adyton-kernels --example kernel_speed [FORMAT] [ISA] [THREADS]`
//!
//! First what bounds them: bytes per second of reading a large buffer, and operations per second of the
//! instructions on registers. Then each format with each instruction set: one row (decoding) and sixteen (as many requests)
//! as a fraction of the first, one also in weights per second, which formats of different size are compared by, and 512 rows
//! (prefill) as a fraction of the second: of the numbers that the products are computed in. Times are the best of many short runs, or those that the
//! thread had a core, so that they mean something on a machine that does other work too.

#![allow(clippy::print_stdout, reason = "it speaks to a person")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use kernels::{Format, Isa, Matrix, Part, Pool};

/// Matrices that are read in turn, together larger than the caches of a core.
const MATRICES: usize = 64;
const OUTPUTS_READ: usize = 1024;
const INPUTS: usize = 2048;
const OUTPUTS_COMPUTED: usize = 1024;
const ROWS_OF_REQUESTS: usize = 16;
const ROWS_COMPUTED: usize = 512;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (format, isa) = (arguments.next(), arguments.next());
    let wanted = |name: &Option<String>, found: &str| {
        name.as_deref()
            .is_none_or(|name| name == "all" || name.eq_ignore_ascii_case(found))
    };
    let all = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    let threads = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1);
    let pool = Pool::new(threads);
    for threads in [1, all] {
        let read = bandwidth(&Pool::new(threads), 1 << 29);
        println!("reading 512 MiB: {read:.1} GB/s with {threads} threads");
    }
    println!(
        "format  isa     1 row: GB/s  of reading  G weights/s   16 rows: of reading   512 rows: Gop/s  of peak"
    );
    for isa in Isa::all_available()
        .into_iter()
        .filter(|found| wanted(&isa, found.name()))
    {
        for format in Format::ALL
            .into_iter()
            .filter(|found| wanted(&format, &format!("{found:?}")))
        {
            if isa == Isa::scalar() && format == Format::F16 {
                continue; // its conversions are too slow to be worth the time
            }
            let (few, read) = few_rows(1, format, isa, &pool);
            let (several, _) = few_rows(ROWS_OF_REQUESTS, format, isa, &pool);
            let many = many_rows(format, isa, &pool);
            let peak = isa.peak(format) * threads as f64;
            let name = format!("{format:?}");
            println!(
                "{name:7} {:7} {few:10.1} {:11.0}% {:12.2} {:20.0}% {many:17.0} {:8.0}%",
                isa.name(),
                100.0 * few / read,
                few * format.block_elements() as f64 / format.block_bytes() as f64,
                100.0 * several / read,
                100.0 * many / peak
            );
        }
    }
}

/// The shortest of many runs; at least three, for a while.
fn shortest(budget: Duration, mut run: impl FnMut()) -> f64 {
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    let mut count = 0;
    while count < 3 || begin.elapsed() < budget {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
        count += 1;
    }
    best
}

/// GB/s of reading a buffer of so many bytes, each thread its own part of a piece.
fn bandwidth(pool: &Pool, bytes: usize) -> f64 {
    let buffer = vec![1_u64; bytes / 8];
    let pieces = MATRICES;
    let each = buffer.len() / pieces;
    let mut next = 0;
    let seconds = shortest(Duration::from_millis(300), || {
        // Another piece each time, as few_rows takes another matrix: what caches hold, they hold for both.
        let piece = &buffer[next % pieces * each..][..each];
        next += 1;
        pool.run(|part, of| {
            let own = &piece[part * each / of..(part + 1) * each / of];
            // Four streams: more of them are asked of the memory at a time.
            let streams = own.as_chunks::<16>().0;
            let quarter = streams.len() / 4;
            let mut sums = [[0_u64; 16]; 4];
            for i in 0..quarter {
                for (stream, sums) in sums.iter_mut().enumerate() {
                    for (sum, value) in sums.iter_mut().zip(&streams[stream * quarter + i]) {
                        *sum ^= value;
                    }
                }
            }
            black_box(sums);
        });
    });
    (each * 8) as f64 / seconds / 1e9
}

fn weights(format: Format, outputs: usize) -> Vec<u8> {
    let bytes = outputs * format.row_bytes(INPUTS).expect("whole blocks");
    // Small positive f16, bf16 and f32, whatever the layout.
    let mut bytes: Vec<u8> = (0..bytes)
        .map(|i| if i % 2 == 1 { 0x20 } else { (i * 37) as u8 })
        .collect();
    if format == Format::Mxfp4 {
        let blocks = bytes.chunks_exact_mut(format.block_bytes());
        blocks.for_each(|block| block[0] = 120);
    }
    bytes
}

fn pack(format: Format, outputs: usize, isa: Isa, pool: &Pool) -> Matrix {
    let bytes = weights(format, outputs);
    let part = Part {
        format,
        bytes: &bytes,
        outputs,
    };
    Matrix::pack(&[part], INPUTS, isa, pool).expect("the shapes fit")
}

/// GB/s of weights, and of reading as many bytes.
fn few_rows(rows: usize, format: Format, isa: Isa, pool: &Pool) -> (f64, f64) {
    let scalar = isa == Isa::scalar();
    let count = if scalar { 1 } else { MATRICES };
    let matrices: Vec<_> = (0..count)
        .map(|_| pack(format, OUTPUTS_READ, isa, pool))
        .collect();
    let x: Vec<f32> = (0..INPUTS * rows).map(|i| (i % 17) as f32 - 8.0).collect();
    let mut out = vec![0.0; OUTPUTS_READ * rows];
    let mut next = 0;
    let budget = Duration::from_millis(if scalar { 1 } else { 300 });
    let seconds = shortest(budget, || {
        let matrix = &matrices[next % count];
        next += 1;
        matrix.multiply(&x, rows, &mut out, pool).expect("the shapes fit");
        black_box(&mut out);
    });
    let bytes = matrices[0].bytes();
    drop(matrices);
    (bytes as f64 / seconds / 1e9, bandwidth(pool, bytes * MATRICES))
}

/// Multiplications and additions per second, in units of 10^9.
fn many_rows(format: Format, isa: Isa, pool: &Pool) -> f64 {
    let scalar = isa == Isa::scalar();
    let (rows, outputs) = if scalar {
        (2, 64)
    } else {
        (ROWS_COMPUTED, OUTPUTS_COMPUTED)
    };
    let matrix = pack(format, outputs, isa, pool);
    let x: Vec<f32> = (0..INPUTS * rows).map(|i| (i % 17) as f32 - 8.0).collect();
    let mut out = vec![0.0; outputs * rows];
    let mut run = || {
        matrix.multiply(&x, rows, &mut out, pool).expect("the shapes fit");
        black_box(&mut out);
    };
    let operations = (2 * rows * INPUTS * outputs) as f64;
    run();
    let (begin, start, mut count) = (Instant::now(), computing(), 0);
    while count < 2 || begin.elapsed() < Duration::from_millis(if scalar { 1 } else { 600 }) {
        run();
        count += 1;
    }
    let seconds = match (start, computing()) {
        (Some(start), Some(end)) if pool.threads() == 1 && end > start => end - start,
        _ => begin.elapsed().as_secs_f64(),
    };
    operations * f64::from(count) / seconds / 1e9
}

/// Seconds that this thread had a core, where the system tells: other work is not counted.
fn computing() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split(' ').next()?.parse::<f64>().ok()? / 1e9)
}
