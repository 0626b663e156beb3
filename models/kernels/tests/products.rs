//! Products: every instruction set against exact sums, and against each other bit for bit.

#![allow(clippy::print_stderr, reason = "says what it did not run")]

use kernels::{Format, Isa, Matrix, Part, Pool, ShapeError, blocks};

/// A generator that needs no crate (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    /// Between -1 and 1.
    fn number(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
    fn numbers(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.number()).collect()
    }
    /// Rows in `format`: any bits in the codes and sub-scales, ordinary numbers in the f16 and floats.
    fn weights(&mut self, format: Format, outputs: usize, inputs: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..outputs * format.row_bytes(inputs).expect("whole blocks"))
            .map(|_| self.next() as u8)
            .collect();
        for block in bytes.chunks_exact_mut(format.block_bytes()) {
            // 0x1000 to 0x17ff are f16 between 2^-11 and 2^-9.
            let mut half = |at: usize| block[at + 1] = 0x10 | (self.next() as u8 & 0x87);
            match format {
                Format::F32 => block.copy_from_slice(&self.number().to_le_bytes()),
                Format::Bf16 => block.copy_from_slice(&self.number().to_le_bytes()[2..]),
                Format::F16 | Format::Q8_0 | Format::Q4_0 => half(0),
                Format::Q4K | Format::Q5K => (half(0), half(2)).0,
                Format::Q6K => half(208),
                // Powers between 2^-9 and 2^-6.
                Format::Mxfp4 => block[0] = 118 + (self.next() as u8 & 3),
            }
        }
        bytes
    }
}

fn decode(format: Format, bytes: &[u8], outputs: usize, inputs: usize) -> Vec<f32> {
    let mut rows = vec![0.0; outputs * inputs];
    blocks::decode_row(format, bytes, &mut rows).expect("whole blocks");
    rows
}

fn multiply(matrix: &Matrix, x: &[f32], rows: usize, pool: &Pool) -> Vec<f32> {
    let mut out = vec![f32::NAN; rows * matrix.outputs()];
    matrix.multiply(x, rows, &mut out, pool).expect("the shapes fit");
    out
}

/// Bits, so that NaN equals itself.
fn bits(values: &[f32]) -> Vec<u32> {
    values
        .iter()
        .map(|value| if value.is_nan() { u32::MAX } else { value.to_bits() })
        .collect()
}

/// Whether these instructions multiply this format themselves, and round activations to it.
fn rounds_to_bf16(format: Format, isa: Isa) -> bool {
    format == Format::Bf16 && isa.rounds_to_bf16()
}

fn inputs_of(format: Format) -> &'static [usize] {
    match format.block_elements() {
        1 => &[1, 2, 31, 64, 515],
        32 => &[32, 96, 544],
        _ => &[256, 768],
    }
}

#[test]
fn products_are_near_those_of_the_exact_weights() {
    let pool = Pool::new(2);
    let mut random = Random(7);
    for format in Format::ALL {
        for &inputs in inputs_of(format) {
            for outputs in [1, 16, 37] {
                let bytes = random.weights(format, outputs, inputs);
                let weights = decode(format, &bytes, outputs, inputs);
                let rows = 3;
                let x = random.numbers(rows * inputs);
                let part = Part {
                    format,
                    bytes: &bytes,
                    outputs,
                };
                let matrix = Matrix::pack(&[part], inputs, Isa::best(), &pool).expect("it packs");
                let found = multiply(&matrix, &x, rows, &pool);
                for (index, found) in found.iter().enumerate() {
                    let (row, output) = (index / outputs, index % outputs);
                    let terms = || {
                        x[row * inputs..][..inputs]
                            .iter()
                            .zip(&weights[output * inputs..][..inputs])
                    };
                    let exact: f64 = terms().map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                    // Activations of Q formats are off by 1/254 of the largest, which is at most 1.
                    let magnitude: f64 = terms().map(|(_, w)| f64::from(w.abs())).sum();
                    let per_unit = if format.rounds_activations() {
                        1.0 / 254.0 + 1e-6
                    } else if rounds_to_bf16(format, Isa::best()) {
                        1.0 / 512.0 + 1e-6
                    } else {
                        1e-6
                    };
                    let error = (f64::from(*found) - exact).abs();
                    assert!(
                        error <= magnitude * per_unit,
                        "{format:?} {inputs}x{outputs}: {found}, not {exact}"
                    );
                }
            }
        }
    }
}

#[test]
fn every_instruction_set_batch_and_thread_count_gives_the_same_bits() {
    let mut random = Random(11);
    for format in Format::ALL {
        for &inputs in inputs_of(format) {
            for outputs in [16, 100] {
                let bytes = random.weights(format, outputs, inputs);
                let part = Part {
                    format,
                    bytes: &bytes,
                    outputs,
                };
                let x = random.numbers(40 * inputs);
                let alone = Pool::new(1);
                let reference = Matrix::pack(&[part], inputs, Isa::scalar(), &alone).expect("it packs");
                let exact = multiply(&reference, &x, 40, &alone);
                let model = Matrix::pack(&[part], inputs, Isa::scalar().with_pair_model(), &alone);
                let in_pairs = multiply(&model.expect("it packs"), &x, 40, &alone);
                let modelled = [Isa::scalar(), Isa::best()].map(Isa::with_pair_model);
                for isa in Isa::all_available().into_iter().chain(modelled) {
                    let expected = match (rounds_to_bf16(format, isa), isa.name()) {
                        (true, "amx") => continue, // its sums are in another order: `tiles_give_what_vectors_give`
                        (true, _) => &in_pairs,
                        (false, _) => &exact,
                    };
                    for threads in 1..=5 {
                        let pool = Pool::new(threads);
                        let matrix = Matrix::pack(&[part], inputs, isa, &pool).expect("it packs");
                        let step = if threads == 1 { 1 } else { 13 };
                        for rows in (1..=40).step_by(step) {
                            let found = multiply(&matrix, &x[..rows * inputs], rows, &pool);
                            assert!(
                                bits(&found) == bits(&expected[..rows * outputs]),
                                "{format:?} {isa:?} {inputs}x{outputs}, {rows} rows, {threads} threads"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn parts_of_different_formats_follow_each_other() {
    let pool = Pool::new(3);
    let mut random = Random(3);
    let inputs = 512;
    let shapes = Format::ALL.map(|format| (format, 5 + random.next() as usize % 40));
    let bytes = shapes.map(|(format, outputs)| random.weights(format, outputs, inputs));
    let parts: Vec<_> = shapes
        .iter()
        .zip(&bytes)
        .map(|((format, outputs), bytes)| Part {
            format: *format,
            bytes,
            outputs: *outputs,
        })
        .collect();
    let joined = Matrix::pack(&parts, inputs, Isa::best(), &pool).expect("it packs");
    let x = random.numbers(300 * inputs);
    let found = multiply(&joined, &x, 300, &pool);
    let mut first = 0;
    for part in &parts {
        let alone = Matrix::pack(&[*part], inputs, Isa::best(), &pool).expect("it packs");
        let expected = multiply(&alone, &x, 300, &pool);
        for (row, expected) in expected.chunks(part.outputs).enumerate() {
            let found = &found[row * joined.outputs() + first..][..part.outputs];
            assert_eq!(bits(found), bits(expected), "{:?} row {row}", part.format);
        }
        let weights = decode(part.format, part.bytes, part.outputs, inputs);
        let mut row = vec![0.0; inputs];
        for (output, weights) in weights.chunks(inputs).enumerate() {
            joined.row(first + output, &mut row).expect("it is there");
            assert_eq!(bits(&row), bits(weights), "{:?} output {output}", part.format);
        }
        first += part.outputs;
    }
}

#[test]
fn numbers_that_are_none_stay_in_their_row() {
    let pool = Pool::new(2);
    let mut random = Random(5);
    for format in Format::ALL {
        let (inputs, outputs, rows) = (256, 20, 9);
        let bytes = random.weights(format, outputs, inputs);
        let pack = |bytes: &[u8], isa| {
            let part = Part {
                format,
                bytes,
                outputs,
            };
            Matrix::pack(&[part], inputs, isa, &pool).expect("it packs")
        };
        let mut x = random.numbers(rows * inputs);
        for (row, bad) in [(1, f32::NAN), (3, f32::INFINITY), (5, f32::NEG_INFINITY)] {
            x[row * inputs + 77] = bad;
        }
        x[6 * inputs..7 * inputs].fill(f32::MIN_POSITIVE / 8.0);
        x[7 * inputs..8 * inputs].fill(0.0);
        for isa in Isa::all_available() {
            let matrix = pack(&bytes, isa);
            let found = multiply(&matrix, &x, rows, &pool);
            for (row, found) in found.chunks(outputs).enumerate() {
                let bad = [1, 3, 5].contains(&row);
                assert!(
                    found.iter().all(|value| value.is_finite() != bad),
                    "{format:?} {isa:?} row {row}: {found:?}"
                );
            }
        }
        // Any bits are weights, and the same on every CPU: but for bf16 that the CPU multiplies, which has no subnormals.
        let bytes: Vec<u8> = (0..bytes.len()).map(|_| random.next() as u8).collect();
        let expected = multiply(&pack(&bytes, Isa::scalar()), &x, rows, &pool);
        for isa in Isa::all_available() {
            if !rounds_to_bf16(format, isa) {
                let found = multiply(&pack(&bytes, isa), &x, rows, &pool);
                assert_eq!(bits(&found), bits(&expected), "{format:?} {isa:?}");
            }
        }
    }
}

/// MXFP4 is exact: where sums are whole numbers, the product is what it is in arithmetic without rounding, with the
/// largest and the smallest scales too.
#[test]
fn products_with_exact_sums_are_exact_in_mxfp4() {
    let pool = Pool::new(2);
    let mut random = Random(17);
    let (inputs, outputs, rows) = (320, 37, 27);
    let x: Vec<f32> = (0..rows * inputs).map(|i| (i * 5 % 17) as f32 - 8.0).collect();
    // With the first scale every weight is subnormal.
    for scale in [0, 1, 2, 100, 127, 200, 240] {
        let mut bytes = random.weights(Format::Mxfp4, outputs, inputs);
        bytes.iter_mut().step_by(17).for_each(|byte| *byte = scale);
        let weights = decode(Format::Mxfp4, &bytes, outputs, inputs);
        let part = Part {
            format: Format::Mxfp4,
            bytes: &bytes,
            outputs,
        };
        for isa in Isa::all_available() {
            let matrix = Matrix::pack(&[part], inputs, isa, &pool).expect("it packs");
            let found = multiply(&matrix, &x, rows, &pool);
            for (index, found) in found.iter().enumerate() {
                let terms = x[index / outputs * inputs..][..inputs]
                    .iter()
                    .zip(&weights[index % outputs * inputs..][..inputs]);
                let exact: f64 = terms.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                assert_eq!(f64::from(*found), exact, "{isa:?} {scale} {index}");
            }
        }
    }
}

#[test]
fn a_scale_that_is_no_number_stays_in_its_output() {
    let pool = Pool::new(1);
    let (inputs, outputs, rows) = (96, 20, 14);
    let mut bytes = Random(19).weights(Format::Mxfp4, outputs, inputs);
    // The second block of output 7, with no code but zero.
    bytes[(7 * 3 + 1) * 17..][..17].fill(0);
    bytes[(7 * 3 + 1) * 17] = 255;
    let part = Part {
        format: Format::Mxfp4,
        bytes: &bytes,
        outputs,
    };
    for isa in Isa::all_available() {
        let matrix = Matrix::pack(&[part], inputs, isa, &pool).expect("it packs");
        for rows in [1, rows] {
            let found = multiply(&matrix, &vec![1.0; rows * inputs], rows, &pool);
            for (index, found) in found.iter().enumerate() {
                assert_eq!(found.is_nan(), index % outputs == 7, "{isa:?} {index}: {found}");
            }
        }
    }
}

/// What a loaded model takes: the bytes of its file, where outputs fill their panels.
#[test]
fn a_packed_matrix_takes_the_memory_of_its_file() {
    let pool = Pool::new(1);
    for format in Format::ALL {
        let (inputs, outputs) = (512, 48);
        let bytes = Random(23).weights(format, outputs, inputs);
        let part = Part {
            format,
            bytes: &bytes,
            outputs,
        };
        let packed = Matrix::pack(&[part], inputs, Isa::best(), &pool)
            .expect("it packs")
            .bytes();
        match format {
            Format::Q4K | Format::Q5K => {
                assert!(
                    packed > bytes.len() && packed * 100 < bytes.len() * 103,
                    "{format:?}"
                );
            }
            _ => assert_eq!(packed, bytes.len(), "{format:?}"),
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    let pool = Pool::new(1);
    let pack = |format, bytes: usize, outputs, inputs| {
        let bytes = vec![0; bytes];
        Matrix::pack(
            &[Part {
                format,
                bytes: &bytes,
                outputs,
            }],
            inputs,
            Isa::best(),
            &pool,
        )
        .map(|_| ())
    };
    for format in Format::ALL {
        let block = format.block_elements();
        assert_eq!(pack(format, format.block_bytes(), 1, block), Ok(()));
        assert!(pack(format, format.block_bytes() - 1, 1, block).is_err());
        assert!(pack(format, format.block_bytes() + 1, 1, block).is_err());
        assert!(matches!(pack(format, 0, 0, block), Err(ShapeError::Size { .. })));
        assert!(matches!(pack(format, 0, 1, 0), Err(ShapeError::Size { .. })));
        assert!(pack(format, 0, usize::MAX / 2, block).is_err());
        assert!(pack(format, 0, 1, usize::MAX - usize::MAX % 256).is_err());
        if block > 1 {
            assert!(matches!(
                pack(format, 1, 1, block + 1),
                Err(ShapeError::InputsNotWholeBlocks { .. })
            ));
        }
    }
    assert!(matches!(
        Matrix::pack(&[], 4, Isa::best(), &pool),
        Err(ShapeError::Size { .. })
    ));
    let bytes = [0; 64];
    let part = Part {
        format: Format::F32,
        bytes: &bytes,
        outputs: 4,
    };
    let matrix = Matrix::pack(&[part], 4, Isa::best(), &pool).expect("it packs");
    assert!(matrix.multiply(&[0.0; 8], 2, &mut [0.0; 7], &pool).is_err());
    assert!(matrix.multiply(&[0.0; 7], 2, &mut [0.0; 8], &pool).is_err());
    assert!(
        matrix
            .multiply(&[0.0; 8], usize::MAX, &mut [0.0; 8], &pool)
            .is_err()
    );
    assert!(matrix.multiply(&[], 0, &mut [], &pool).is_ok());
    assert!(matrix.row(4, &mut [0.0; 4]).is_err());
    assert!(matrix.row(3, &mut [0.0; 3]).is_err());
}

/// The fastest instructions of this CPU that are not tiles.
fn best_vectors() -> Isa {
    let without_tiles = Isa::all_available().into_iter().rfind(|isa| isa.name() != "amx");
    without_tiles.expect("scalar is always there")
}

/// AMX where the CPU has it.
fn hardware_tiles() -> Option<Isa> {
    let hardware = Isa::named("amx");
    if hardware.is_none() {
        eprintln!("NOT RUN: this CPU has no AMX; its instructions are modelled");
    }
    hardware
}

/// The kernels for AMX on its instructions and on a model of them: the same bits for Q formats, bf16 within its rounding.
#[test]
fn tiles_give_what_vectors_give() {
    let mut random = Random(13);
    let modelled = best_vectors().with_tile_model();
    for isa in hardware_tiles().into_iter().chain([modelled]) {
        for format in Format::ALL {
            for &inputs in inputs_of(format) {
                for (outputs, threads) in [(16, 1), (53, 2)] {
                    let pool = Pool::new(threads);
                    let bytes = random.weights(format, outputs, inputs);
                    let part = Part {
                        format,
                        bytes: &bytes,
                        outputs,
                    };
                    let x = random.numbers(57 * inputs);
                    let vectors = Matrix::pack(&[part], inputs, best_vectors(), &pool).expect("it packs");
                    let tiles = Matrix::pack(&[part], inputs, isa, &pool).expect("it packs");
                    let whole = multiply(&tiles, &x, 57, &pool);
                    let expected = multiply(&vectors, &x, 57, &pool);
                    if format == Format::Bf16 {
                        for (index, (found, expected)) in whole.iter().zip(&expected).enumerate() {
                            // Numbers below 1 are off by 2^-9 of themselves at most.
                            let tolerance = inputs as f32 / 512.0 + 1e-6;
                            assert!(
                                (found - expected).abs() <= tolerance,
                                "{isa:?} {index}: {found}, not {expected}"
                            );
                        }
                    } else {
                        assert_eq!(
                            bits(&whole),
                            bits(&expected),
                            "{isa:?} {format:?} {inputs}x{outputs}"
                        );
                    }
                    for rows in [1, 2, 15, 16, 17, 31, 32, 33, 48] {
                        let found = multiply(&tiles, &x[..rows * inputs], rows, &pool);
                        assert_eq!(
                            bits(&found),
                            bits(&whole[..rows * outputs]),
                            "{isa:?} {format:?} {rows} rows"
                        );
                    }
                }
            }
        }
    }
}

/// The instructions of AMX compute what the model of them does, bit for bit: ordinary weights and any bits, which in bf16
/// are subnormals, infinities and NaN too.
#[test]
fn tiles_are_what_their_model_says() {
    let Some(hardware) = hardware_tiles() else { return };
    let mut random = Random(29);
    let pool = Pool::new(2);
    let (inputs, outputs, rows) = (256, 53, 35);
    for format in [
        Format::Bf16,
        Format::Q8_0,
        Format::Q4_0,
        Format::Q4K,
        Format::Q5K,
        Format::Q6K,
    ] {
        let mut x = random.numbers(rows * inputs);
        for (row, bad) in [(1, f32::NAN), (3, f32::INFINITY), (5, f32::NEG_INFINITY)] {
            x[row * inputs + 77] = bad;
        }
        // Subnormal as they are; and normal, with products that are not.
        x[6 * inputs..7 * inputs].fill(f32::MIN_POSITIVE / 8.0);
        x[7 * inputs..8 * inputs].fill(f32::MIN_POSITIVE);
        let ordinary = random.weights(format, outputs, inputs);
        let any = (0..ordinary.len()).map(|_| random.next() as u8).collect();
        for bytes in [ordinary, any] {
            let part = Part {
                format,
                bytes: &bytes,
                outputs,
            };
            let [found, expected] = [hardware, best_vectors().with_tile_model()].map(|isa| {
                let matrix = Matrix::pack(&[part], inputs, isa, &pool).expect("it packs");
                bits(&multiply(&matrix, &x, rows, &pool))
            });
            for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert_eq!(found, expected, "{format:?} {index}");
            }
        }
    }
}

/// bf16 on tiles and in pairs is exact where bf16 is.
#[test]
fn tiles_and_pairs_of_whole_numbers_are_exact() {
    let pool = Pool::new(1);
    let (inputs, outputs, rows) = (95, 18, 35);
    let weights: Vec<f32> = (0..inputs * outputs).map(|i| (i * 7 % 13) as f32 - 6.0).collect();
    let x: Vec<f32> = (0..inputs * rows).map(|i| (i * 5 % 17) as f32 - 8.0).collect();
    let bytes: Vec<u8> = weights
        .iter()
        .flat_map(|weight| weight.to_le_bytes()[2..].to_vec())
        .collect();
    let part = Part {
        format: Format::Bf16,
        bytes: &bytes,
        outputs,
    };
    let expected = Matrix::pack(&[part], inputs, Isa::scalar(), &pool).expect("it packs");
    let hardware = ["amx", "avx512-bf16"].into_iter().filter_map(Isa::named);
    for isa in hardware.chain([Isa::scalar().with_tile_model(), Isa::scalar().with_pair_model()]) {
        let tiles = Matrix::pack(&[part], inputs, isa, &pool).expect("it packs");
        assert_eq!(
            multiply(&tiles, &x, rows, &pool),
            multiply(&expected, &x, rows, &pool),
            "{isa:?}"
        );
    }
}
