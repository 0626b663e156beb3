//! How near the kernels come to what the machine can do.
//!
//! `cargo run --release -p adyton-kernels --example kernel_speed [FORMAT] [ISA] [THREADS]`
//!
//! First what bounds them: bytes per second of reading a large buffer, and operations per second of the
//! instructions on registers. Then each format with each instruction set: one row (decoding) as a fraction of the
//! first, and 512 rows (prefill) as a fraction of the second. Times are the best of many short runs, so that they
//! mean something on a machine that does other work too.

#![allow(clippy::print_stdout, reason = "it speaks to a person")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use kernels::{Format, Isa, Matrix, Part, Pool};

/// Weights for reading: beyond what caches hold of one core's share.
const OUTPUTS_READ: usize = 16384;
const INPUTS: usize = 2048;
const OUTPUTS_COMPUTED: usize = 64;
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
    let read = bandwidth(&pool);
    println!("reading a large buffer: {read:.1} GB/s with {threads} threads");
    if all > 1 && threads == 1 {
        println!(
            "reading a large buffer: {:.1} GB/s with {all} threads",
            bandwidth(&Pool::new(all))
        );
    }
    println!("format  isa     1 row: GB/s  of reading   512 rows: Gop/s  of peak");
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
            let few = one_row(format, isa, &pool);
            let many = many_rows(format, isa, &pool);
            let peak = isa.peak(format.block_elements() > 1) * threads as f64;
            let name = format!("{format:?}");
            println!(
                "{name:7} {:7} {few:10.1} {:11.0}% {many:16.0} {:8.0}%",
                isa.name(),
                100.0 * few / read,
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

/// GB/s of reading, each thread its own piece.
fn bandwidth(pool: &Pool) -> f64 {
    let buffer = vec![1_u64; 64 << 20];
    let pieces = 64;
    let each = buffer.len() / pieces;
    let mut next = 0;
    let seconds = shortest(Duration::from_millis(800), || {
        // Another piece each time, so that nothing is in a cache; small, so that a run is not interrupted.
        let piece = &buffer[next % pieces * each..][..each];
        next += 1;
        pool.run(|part, of| {
            let own = &piece[part * each / of..(part + 1) * each / of];
            let mut sums = [0_u64; 32];
            for chunk in own.as_chunks::<32>().0 {
                for (sum, value) in sums.iter_mut().zip(chunk) {
                    *sum ^= value;
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
    (0..bytes)
        .map(|i| if i % 2 == 1 { 0x20 } else { (i * 37) as u8 })
        .collect()
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

/// GB/s of weights.
fn one_row(format: Format, isa: Isa, pool: &Pool) -> f64 {
    // Several matrices in turn, together larger than the caches.
    let each = 1024;
    let scalar = isa == Isa::scalar();
    let count = if scalar { 1 } else { OUTPUTS_READ / each * 6 };
    let matrices: Vec<_> = (0..count).map(|_| pack(format, each, isa, pool)).collect();
    let x: Vec<f32> = (0..INPUTS).map(|i| (i % 17) as f32 - 8.0).collect();
    let mut out = vec![0.0; each];
    let mut next = 0;
    let budget = Duration::from_millis(if scalar { 1 } else { 500 });
    let seconds = shortest(budget, || {
        let matrix = &matrices[next % count];
        next += 1;
        matrix.multiply(&x, 1, &mut out, pool).expect("the shapes fit");
        black_box(&mut out);
    });
    matrices[0].bytes() as f64 / seconds / 1e9
}

/// Multiplications and additions per second, in units of 10^9.
fn many_rows(format: Format, isa: Isa, pool: &Pool) -> f64 {
    let (rows, outputs) = if isa == Isa::scalar() {
        (2, 64)
    } else {
        (ROWS_COMPUTED, OUTPUTS_COMPUTED)
    };
    let matrix = pack(format, outputs, isa, pool);
    let x: Vec<f32> = (0..INPUTS * rows).map(|i| (i % 17) as f32 - 8.0).collect();
    let mut out = vec![0.0; outputs * rows];
    let budget = Duration::from_millis(if isa == Isa::scalar() { 1 } else { 400 });
    let seconds = shortest(budget, || {
        matrix.multiply(&x, rows, &mut out, pool).expect("the shapes fit");
        black_box(&mut out);
    });
    (2 * rows * INPUTS * outputs) as f64 / seconds / 1e9
}
