//! Norms, rotary positions, gates: against plain arithmetic in f64, alone and in batches.

use kernels::{Activation, Heads, Isa, Norm, Ops, Pairs, Pool, Rotation};

fn numbers(seed: usize, count: usize) -> Vec<f32> {
    let number =
        |i: usize| ((i * 7919 + seed * 104_729) as f64 * 0.618_033_988_749_894_9).fract() * 8.0 - 4.0;
    (0..count).map(|i| number(i) as f32).collect()
}

fn assert_near(found: &[f32], exact: impl IntoIterator<Item = f64>, what: &str) {
    let exact: Vec<_> = exact.into_iter().collect();
    assert_eq!(found.len(), exact.len());
    for (index, (found, exact)) in found.iter().zip(exact).enumerate() {
        let error = (f64::from(*found) - exact).abs();
        assert!(
            error <= 2e-6 * exact.abs().max(1.0),
            "{what}: element {index} is {found}, not {exact}"
        );
    }
}

/// Each instruction set, with one thread and with three.
fn each(check: impl Fn(Ops<'_>, &str)) {
    for isa in Isa::all_available() {
        for threads in [1, 3] {
            let pool = Pool::new(threads);
            check(Ops::new(isa, &pool), &format!("{isa:?}, {threads} threads"));
        }
    }
}

#[test]
fn norms() {
    each(|ops, what| {
        for width in [1, 15, 16, 100, 2048] {
            let (rows, epsilon) = (9, 1e-5);
            let (x, weight, bias) = (numbers(1, rows * width), numbers(2, width), numbers(3, width));
            let mut out = vec![0.0; x.len()];
            for offset in [0.0, 1.0] {
                let norm = Norm {
                    weight: &weight,
                    offset,
                    epsilon,
                };
                ops.rms_norm(&x, norm, &mut out).expect("it fits");
                let exact = x.chunks(width).flat_map(|x| {
                    let mean = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / width as f64;
                    let factor = (mean + f64::from(epsilon)).sqrt().recip();
                    x.iter()
                        .zip(&weight)
                        .map(move |(x, w)| f64::from(*x) * factor * (f64::from(*w) + f64::from(offset)))
                });
                assert_near(&out, exact, what);
                let mut alone = vec![0.0; width];
                ops.rms_norm(&x[width..2 * width], norm, &mut alone)
                    .expect("it fits");
                assert_eq!(alone, out[width..2 * width], "a row alone");
            }
            let norm = Norm {
                weight: &weight,
                offset: 0.0,
                epsilon,
            };
            ops.layer_norm(&x, norm, Some(&bias), &mut out).expect("it fits");
            let exact = x.chunks(width).flat_map(|x| {
                let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / width as f64;
                let variance = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / width as f64;
                let factor = (variance + f64::from(epsilon)).sqrt().recip();
                let terms = x.iter().zip(&weight).zip(&bias);
                terms.map(move |((x, w), b)| (f64::from(*x) - mean) * factor * f64::from(*w) + f64::from(*b))
            });
            assert_near(&out, exact, what);
        }
    });
}

#[test]
fn norms_of_heads_leave_the_rest() {
    each(|ops, what| {
        let heads = Heads {
            row_width: 50,
            first: 7,
            count: 2,
            width: 20,
        };
        let (x, weight) = (numbers(4, 50 * 400), numbers(5, 20));
        let norm = Norm {
            weight: &weight,
            offset: 0.0,
            epsilon: 1e-6,
        };
        let mut found = x.clone();
        ops.rms_norm_heads(&mut found, heads, norm).expect("it fits");
        for (found, x) in found.chunks(50).zip(x.chunks(50)) {
            assert_eq!((&found[..7], &found[47..]), (&x[..7], &x[47..]), "{what}");
            let mut expected = [0.0; 40];
            ops.rms_norm(&x[7..47], norm, &mut expected).expect("it fits");
            assert_eq!(found[7..47], expected, "{what}");
        }
    });
}

#[test]
fn rotary_positions() {
    each(|ops, what| {
        let frequencies = [1.0, 0.1, 0.01];
        let positions: Vec<u32> = (5..405).collect();
        let heads = Heads {
            row_width: 40,
            first: 4,
            count: 3,
            width: 10,
        };
        let x = numbers(6, 40 * positions.len());
        let rotation = Rotation::new(&frequencies, &positions, 1.25);
        for pairs in [Pairs::Halves, Pairs::Neighbours] {
            let mut found = x.clone();
            ops.rotate(&mut found, heads, &rotation, pairs).expect("it fits");
            let mut exact: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
            for (row, position) in exact.chunks_mut(40).zip(&positions) {
                for head in row[4..34].chunks_mut(10) {
                    for (i, frequency) in frequencies.iter().enumerate() {
                        let (a, b) = if pairs == Pairs::Halves {
                            (i, i + 3)
                        } else {
                            (2 * i, 2 * i + 1)
                        };
                        let (sine, cosine) = f64::from(*position as f32 * frequency).sin_cos();
                        let (x, y) = (head[a], head[b]);
                        head[a] = (x * cosine - y * sine) * 1.25;
                        head[b] = (y * cosine + x * sine) * 1.25;
                    }
                }
            }
            assert_near(&found, exact, what);
        }
    });
}

#[test]
fn gates() {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    // The error function by its series, exact for the range of the test.
    let erf = |x: f64| {
        let (mut sum, mut term) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    };
    let exact = |activation: Activation, x: f64| match activation {
        Activation::Silu => x * sigmoid(x),
        Activation::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
        }
        Activation::Gelu => 0.5 * x * (1.0 + erf(x / 2_f64.sqrt())),
        Activation::ClampedSilu { alpha, limit } => {
            let x = x.min(f64::from(limit));
            x * sigmoid(x * f64::from(alpha))
        }
    };
    let clamped = Activation::ClampedSilu {
        alpha: 1.702,
        limit: 2.5,
    };
    each(|ops, what| {
        for activation in [Activation::Silu, Activation::GeluTanh, Activation::Gelu, clamped] {
            for width in [1, 17, 64, 3000] {
                let x = numbers(7, 12 * width);
                let mut out = vec![0.0; 6 * width];
                ops.gate(activation, &x, width, &mut out).expect("it fits");
                let expected = x.chunks(2 * width).flat_map(|row| {
                    let (gate, up) = row.split_at(width);
                    gate.iter().zip(up).map(|(gate, up)| {
                        let mut up = f64::from(*up);
                        if activation == clamped {
                            up = up.clamp(-2.5, 2.5) + 1.0;
                        }
                        exact(activation, f64::from(*gate)) * up
                    })
                });
                assert_near(&out, expected, what);
                let mut found = x.clone();
                ops.activate(activation, &mut found);
                assert_near(&found, x.iter().map(|x| exact(activation, f64::from(*x))), what);
            }
        }
        let x = numbers(8, 1001);
        let mut found = x.clone();
        ops.softcap(&mut found, 3.0);
        assert_near(&found, x.iter().map(|x| 3.0 * (f64::from(*x) / 3.0).tanh()), what);
    });
}

#[test]
fn extremes_are_numbers() {
    each(|ops, what| {
        for activation in [Activation::Silu, Activation::GeluTanh, Activation::Gelu] {
            let mut x = [-1e30, -1e4, -200.0, -90.0, 0.0, 90.0, 200.0, 1e4];
            ops.activate(activation, &mut x);
            assert!(
                x[..4].iter().all(|x| x.abs() < 1e-6),
                "{what} {activation:?}: {x:?}"
            );
            assert_eq!(x[4..], [0.0, 90.0, 200.0, 1e4], "{what} {activation:?}");
        }
        let mut x = [-1e30, 1e30, f32::NAN];
        ops.softcap(&mut x, 30.0);
        assert!(x[0] == -30.0 && x[1] == 30.0 && x[2].is_nan(), "{what}: {x:?}");
    });
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    let pool = Pool::new(1);
    let ops = Ops::new(Isa::best(), &pool);
    let weight = [1.0; 4];
    let norm = Norm {
        weight: &weight,
        offset: 0.0,
        epsilon: 0.0,
    };
    assert!(ops.rms_norm(&[0.0; 7], norm, &mut [0.0; 7]).is_err());
    assert!(ops.rms_norm(&[0.0; 8], norm, &mut [0.0; 7]).is_err());
    assert!(ops.rms_norm(&[], Norm { weight: &[], ..norm }, &mut []).is_err());
    assert!(
        ops.layer_norm(&[0.0; 8], norm, Some(&[0.0; 3]), &mut [0.0; 8])
            .is_err()
    );
    assert!(
        ops.rms_norm_heads(&mut [0.0; 8], Heads::of_row(2, 3), norm)
            .is_err()
    );
    let outside = Heads {
        first: 1,
        ..Heads::of_row(2, 4)
    };
    assert!(ops.rms_norm_heads(&mut [0.0; 8], outside, norm).is_err());
    let huge = Heads {
        count: usize::MAX,
        ..Heads::of_row(2, 4)
    };
    assert!(ops.rms_norm_heads(&mut [0.0; 8], huge, norm).is_err());
    let rotation = Rotation::new(&[1.0; 3], &[0], 1.0);
    assert!(
        ops.rotate(&mut [0.0; 8], Heads::of_row(2, 4), &rotation, Pairs::Halves)
            .is_err()
    );
    let rotation = Rotation::new(&[1.0; 2], &[0, 1], 1.0);
    assert!(
        ops.rotate(&mut [0.0; 8], Heads::of_row(2, 4), &rotation, Pairs::Halves)
            .is_err()
    );
    assert!(ops.gate(Activation::Silu, &[0.0; 8], 3, &mut [0.0; 4]).is_err());
    assert!(
        ops.gate(Activation::Silu, &[0.0; 8], usize::MAX, &mut [0.0; 4])
            .is_err()
    );
    assert!(ops.gate(Activation::Silu, &[0.0; 8], 2, &mut [0.0; 3]).is_err());
    assert!(ops.add(&mut [0.0; 2], &[0.0; 3]).is_err());
    assert!(ops.add_bias(&mut [0.0; 3], &[0.0; 2]).is_err());
}
