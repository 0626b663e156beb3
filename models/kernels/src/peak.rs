//! What the instructions could do if they had nothing to read: the measure for the products.

use std::hint::black_box;
use std::time::Instant;

use crate::format::Format;
use crate::isa::{Isa, Kernel};
use crate::simd::{LANES, Simd};

/// Independent sums: more than the latency of an instruction times how many begin in a cycle.
const SUMS: usize = 12;
const ROUNDS: usize = 20_000;
const RUNS: usize = 60;

impl Isa {
    /// Multiplications and additions per second of one thread, in units of 10^9, measured on registers: of the numbers that
    /// products with `format` are computed in, which are bytes, f32, or bf16 where the CPU multiplies it. AMX is not
    /// measured. Takes some hundredths of a second.
    pub fn peak(self, format: Format) -> f64 {
        let numbers = match format {
            _ if format.rounds_activations() => Numbers::Bytes,
            Format::Bf16 if self.pairs() => Numbers::Bf16,
            _ => Numbers::F32,
        };
        let mut best = f64::INFINITY;
        for _ in 0..RUNS {
            let start = Instant::now();
            self.dispatch(Spin { numbers });
            best = best.min(start.elapsed().as_secs_f64());
        }
        let each = match numbers {
            Numbers::Bytes => 4 * LANES,
            Numbers::Bf16 => 2 * LANES,
            Numbers::F32 => LANES,
        };
        (2 * each * SUMS * ROUNDS) as f64 / best / 1e9
    }
}

#[derive(Clone, Copy)]
enum Numbers {
    Bytes,
    Bf16,
    F32,
}

struct Spin {
    numbers: Numbers,
}

impl Kernel for Spin {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // A reference implementation is no measure of a machine.
        let rounds = if size_of::<S::F>() == size_of::<[f32; LANES]>() && S::ROWS_DENSE == 1 {
            20
        } else {
            ROUNDS
        };
        match self.numbers {
            Numbers::Bytes => {
                let codes = s.splat_q(black_box(3));
                let x = black_box([1, 2, 3, 4]);
                let mut sums = [s.splat_i(0); SUMS];
                for _ in 0..rounds {
                    for sum in &mut sums {
                        *sum = s.dot(*sum, codes, x);
                    }
                }
                for sum in sums {
                    let mut lanes = [0; LANES];
                    s.store_i(sum, &mut lanes);
                    black_box(lanes);
                }
            }
            Numbers::Bf16 => {
                let (pairs, x) = (black_box([0x3f80; 2 * LANES]), black_box(0x3f80_3f80));
                let mut sums = [s.splat(0.0); SUMS];
                for _ in 0..rounds {
                    for sum in &mut sums {
                        *sum = s.dot_bf16(*sum, &pairs, x);
                    }
                }
                keep(s, sums);
            }
            Numbers::F32 => {
                let (a, b) = (s.splat(black_box(0.5)), s.splat(black_box(1.5)));
                let mut sums = [s.splat(0.0); SUMS];
                for _ in 0..rounds {
                    for sum in &mut sums {
                        *sum = s.fma(*sum, a, b);
                    }
                }
                keep(s, sums);
            }
        }
    }
}

/// Keeps sums from being left out.
#[inline(always)]
fn keep<S: Simd>(s: S, sums: [S::F; SUMS]) {
    for sum in sums {
        let mut lanes = [0.0; LANES];
        s.store(sum, &mut lanes);
        black_box(lanes);
    }
}
