//! Attention against plain sums in f64, and its results whatever is beside them.

use half::{bf16, f16};
use kernels::attention::{Attention, BLOCK_TOKENS, CacheElement, KvLayout, Sequence};
use kernels::{Heads, Isa, Ops, Pool};

/// Numbers without a generator: fractional parts of multiples of the golden ratio, between -1 and 1.
fn numbers(seed: usize, count: usize) -> Vec<f32> {
    let number =
        |i: usize| ((i * 7919 + seed * 104_729) as f64 * 0.618_033_988_749_894_9).fract() * 2.0 - 1.0;
    (0..count).map(|i| number(i) as f32).collect()
}

/// One sequence: fused rows of queries, keys and values, and its cache.
struct Case<T> {
    heads: usize,
    layout: KvLayout,
    tokens: usize,
    fused: Vec<f32>,
    blocks: Vec<Vec<T>>,
}

impl<T: CacheElement> Case<T> {
    fn new(seed: usize, heads: usize, kv_heads: usize, head_width: usize, tokens: usize) -> Self {
        let layout = KvLayout { kv_heads, head_width };
        let row_width = (heads + 2 * kv_heads) * head_width;
        let fused = numbers(seed, tokens * row_width);
        let block = vec![T::default(); layout.block_elements().expect("a small block")];
        let mut blocks = vec![block; tokens.div_ceil(BLOCK_TOKENS)];
        for (token, row) in fused.chunks(row_width).enumerate() {
            let (keys, values) = row[heads * head_width..].split_at(kv_heads * head_width);
            let block = &mut blocks[token / BLOCK_TOKENS];
            layout
                .write(block, token % BLOCK_TOKENS, keys, values)
                .expect("it fits");
        }
        Self {
            heads,
            layout,
            tokens,
            fused,
            blocks,
        }
    }

    fn heads(&self) -> Heads {
        Heads {
            row_width: (self.heads + 2 * self.layout.kv_heads) * self.layout.head_width,
            first: 0,
            count: self.heads,
            width: self.layout.head_width,
        }
    }

    fn attention(&self) -> Attention<'static> {
        Attention {
            layout: self.layout,
            heads: self.heads,
            scale: 1.5,
            causal: true,
            window: None,
            softcap: None,
            sinks: None,
        }
    }

    /// The tokens from `past` to `end`.
    fn run(&self, ops: Ops<'_>, attention: &Attention<'_>, past: usize, end: usize) -> Vec<f32> {
        let mut out = vec![f32::NAN; (end - past) * self.heads * self.layout.head_width];
        let blocks: Vec<_> = self.blocks.iter().map(Vec::as_slice).collect();
        let width = self.heads().row_width;
        let sequence = Sequence {
            queries: &self.fused[past * width..end * width],
            past,
            blocks: &blocks,
            out: &mut out,
        };
        ops.attention(attention, self.heads(), vec![sequence])
            .expect("the shapes fit");
        out
    }

    fn exact(&self, attention: &Attention<'_>) -> Vec<f64> {
        let (width, row_width) = (self.layout.head_width, self.heads().row_width);
        let element = |token: usize, column: usize| f64::from(self.fused[token * row_width + column]);
        let mut out = Vec::new();
        for token in 0..self.tokens {
            let last = if attention.causal { token + 1 } else { self.tokens };
            let first = attention.window.map_or(0, |window| last.saturating_sub(window));
            for head in 0..self.heads {
                let key = (self.heads + head / (self.heads / self.layout.kv_heads)) * width;
                let value = key + self.layout.kv_heads * width;
                let score = |other: usize| {
                    let dot: f64 = (0..width)
                        .map(|i| element(token, head * width + i) * element(other, key + i))
                        .sum();
                    let score = dot * f64::from(attention.scale);
                    attention
                        .softcap
                        .map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh())
                };
                let weights: Vec<_> = (first..last).map(|other| score(other).exp()).collect();
                let sink = attention.sinks.map_or(0.0, |sinks| f64::from(sinks[head]).exp());
                let total = weights.iter().sum::<f64>() + sink;
                let weighted = |i| {
                    (first..last)
                        .zip(&weights)
                        .map(|(other, weight)| weight * element(other, value + i))
                        .sum::<f64>()
                };
                out.extend((0..width).map(|i| weighted(i) / total));
            }
        }
        out
    }
}

fn assert_near(found: &[f32], exact: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), exact.len());
    for (index, (found, exact)) in found.iter().zip(exact).enumerate() {
        assert!(
            (f64::from(*found) - exact).abs() <= tolerance,
            "{what}: element {index} is {found}, not {exact}"
        );
    }
}

#[test]
fn every_kind_is_near_the_exact_result() {
    let pool = Pool::new(2);
    let sinks = numbers(99, 12);
    for isa in Isa::all_available() {
        let ops = Ops::new(isa, &pool);
        for (heads, kv_heads, width, tokens) in
            [(4, 2, 8, 70), (3, 3, 20, 40), (12, 2, 64, 33), (1, 1, 80, 300)]
        {
            let case = Case::<f32>::new(1, heads, kv_heads, width, tokens);
            let plain = case.attention();
            let kinds = [
                plain,
                Attention {
                    causal: false,
                    ..plain
                },
                Attention {
                    window: Some(1),
                    ..plain
                },
                Attention {
                    window: Some(37),
                    ..plain
                },
                Attention {
                    softcap: Some(2.0),
                    ..plain
                },
                Attention {
                    sinks: Some(&sinks[..heads]),
                    ..plain
                },
            ];
            for kind in kinds {
                let what = format!("{isa:?} {kind:?}");
                assert_near(&case.run(ops, &kind, 0, tokens), &case.exact(&kind), 1e-5, &what);
            }
        }
    }
}

#[test]
fn narrow_caches_round_and_nothing_else() {
    let pool = Pool::new(1);
    for isa in Isa::all_available() {
        let ops = Ops::new(isa, &pool);
        let case = Case::<f16>::new(2, 4, 2, 32, 50);
        assert_near(
            &case.run(ops, &case.attention(), 0, 50),
            &case.exact(&case.attention()),
            4e-3,
            "f16",
        );
        let case = Case::<bf16>::new(2, 4, 2, 32, 50);
        assert_near(
            &case.run(ops, &case.attention(), 0, 50),
            &case.exact(&case.attention()),
            3e-2,
            "bf16",
        );
    }
}

#[test]
fn parts_batches_and_threads_change_no_bit() {
    let tokens = 700;
    let cases = [
        Case::<f32>::new(3, 6, 2, 24, tokens),
        Case::new(4, 6, 2, 24, tokens),
    ];
    let alone = Pool::new(1);
    for window in [None, Some(300)] {
        let attention = Attention {
            window,
            ..cases[0].attention()
        };
        for isa in Isa::all_available() {
            let expected: Vec<_> = cases
                .iter()
                .map(|case| case.run(Ops::new(isa, &alone), &attention, 0, tokens))
                .collect();
            for threads in [1, 2, 3, 5] {
                let pool = Pool::new(threads);
                let ops = Ops::new(isa, &pool);
                for (past, end) in [(0, 1), (31, 33), (255, 256), (100, 657), (512, 513), (699, 700)] {
                    let width = 6 * 24;
                    let found = cases[0].run(ops, &attention, past, end);
                    assert_eq!(
                        found,
                        expected[0][past * width..end * width],
                        "{past}..{end} {isa:?} {threads}"
                    );
                }
                // Both at once, decoding at different positions.
                let blocks: Vec<Vec<&[f32]>> = cases
                    .iter()
                    .map(|case| case.blocks.iter().map(Vec::as_slice).collect())
                    .collect();
                let mut outs = [vec![0.0; 144], vec![0.0; 144]];
                let row = cases[0].heads().row_width;
                let positions = [650, 20];
                let sequences = (0..2).zip(&mut outs).map(|(i, out)| Sequence {
                    queries: &cases[i].fused[positions[i] * row..][..row],
                    past: positions[i],
                    blocks: &blocks[i],
                    out,
                });
                ops.attention(&attention, cases[0].heads(), sequences.collect())
                    .expect("the shapes fit");
                for i in 0..2 {
                    assert_eq!(outs[i], expected[i][positions[i] * 144..][..144]);
                }
            }
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    let pool = Pool::new(1);
    let ops = Ops::new(Isa::best(), &pool);
    let case = Case::<f32>::new(5, 4, 2, 16, 40);
    let run = |attention: &Attention<'_>, queries: usize, past: usize, blocks: usize, out: usize| {
        let held: Vec<_> = case
            .blocks
            .iter()
            .map(|block| &block[..block.len().min(blocks)])
            .collect();
        let mut out = vec![0.0; out];
        let sequence = Sequence {
            queries: &case.fused[..queries],
            past,
            blocks: &held,
            out: &mut out,
        };
        ops.attention(attention, case.heads(), vec![sequence])
    };
    let plain = case.attention();
    assert!(run(&plain, 128, 0, usize::MAX, 64).is_ok());
    assert!(run(&plain, 0, 0, usize::MAX, 0).is_ok());
    assert!(run(&plain, 127, 0, usize::MAX, 64).is_err());
    assert!(run(&plain, 128, 0, usize::MAX, 63).is_err());
    assert!(run(&plain, 128, 0, 5, 64).is_err());
    assert!(
        run(&plain, 128, 64, usize::MAX, 64).is_err(),
        "more tokens than blocks"
    );
    assert!(run(&plain, 128, usize::MAX, usize::MAX, 64).is_err());
    assert!(run(&Attention { heads: 3, ..plain }, 128, 0, usize::MAX, 64).is_err());
    assert!(
        run(
            &Attention {
                window: Some(0),
                ..plain
            },
            128,
            0,
            usize::MAX,
            64
        )
        .is_err()
    );
    assert!(
        run(
            &Attention {
                sinks: Some(&[0.0]),
                ..plain
            },
            128,
            0,
            usize::MAX,
            64
        )
        .is_err()
    );
    let none = KvLayout {
        kv_heads: 0,
        head_width: 16,
    };
    assert!(none.block_elements().is_err());
    assert!(
        run(
            &Attention {
                layout: none,
                ..plain
            },
            128,
            0,
            usize::MAX,
            64
        )
        .is_err()
    );
    assert!(
        KvLayout {
            kv_heads: 2,
            head_width: usize::MAX
        }
        .block_elements()
        .is_err()
    );
    let mut block = case.blocks[0].clone();
    assert!(
        case.layout
            .write(&mut block, BLOCK_TOKENS, &[0.0; 32], &[0.0; 32])
            .is_err()
    );
    assert!(case.layout.write(&mut block, 0, &[0.0; 31], &[0.0; 32]).is_err());
    assert!(
        case.layout
            .write(&mut block[1..], 0, &[0.0; 32], &[0.0; 32])
            .is_err()
    );
}
