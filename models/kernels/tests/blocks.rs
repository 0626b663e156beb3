//! Blocks of every format against what PyPI's gguf package reads from them (`scripts/oracle-blocks`).

use kernels::{Format, Isa, Matrix, Part, Pool, blocks};

const FIXTURES: [(Format, &[u8], &[u8]); 9] = [
    (
        Format::F32,
        include_bytes!("fixtures/f32.blocks"),
        include_bytes!("fixtures/f32.f32"),
    ),
    (
        Format::F16,
        include_bytes!("fixtures/f16.blocks"),
        include_bytes!("fixtures/f16.f32"),
    ),
    (
        Format::Bf16,
        include_bytes!("fixtures/bf16.blocks"),
        include_bytes!("fixtures/bf16.f32"),
    ),
    (
        Format::Q8_0,
        include_bytes!("fixtures/q8_0.blocks"),
        include_bytes!("fixtures/q8_0.f32"),
    ),
    (
        Format::Q4_0,
        include_bytes!("fixtures/q4_0.blocks"),
        include_bytes!("fixtures/q4_0.f32"),
    ),
    (
        Format::Q4K,
        include_bytes!("fixtures/q4_k.blocks"),
        include_bytes!("fixtures/q4_k.f32"),
    ),
    (
        Format::Q5K,
        include_bytes!("fixtures/q5_k.blocks"),
        include_bytes!("fixtures/q5_k.f32"),
    ),
    (
        Format::Q6K,
        include_bytes!("fixtures/q6_k.blocks"),
        include_bytes!("fixtures/q6_k.f32"),
    ),
    (
        Format::Mxfp4,
        include_bytes!("fixtures/mxfp4.blocks"),
        include_bytes!("fixtures/mxfp4.f32"),
    ),
];

/// Bits; the payload of a NaN is no part of the promise.
fn bits(value: f32) -> u32 {
    if value.is_nan() {
        f32::NAN.to_bits()
    } else {
        value.to_bits()
    }
}

fn expected(values: &[u8]) -> Vec<u32> {
    values
        .as_chunks()
        .0
        .iter()
        .map(|bytes| bits(f32::from_le_bytes(*bytes)))
        .collect()
}

#[test]
fn every_format_decodes_bit_for_bit_as_the_package_does() {
    for (format, blocks, values) in FIXTURES {
        let expected = expected(values);
        let mut found = vec![0.0; expected.len()];
        blocks::decode_row(format, blocks, &mut found).expect("whole blocks");
        for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
            let block = index / format.block_elements();
            assert_eq!(
                bits(*found),
                expected,
                "{format:?}: element {index} of block {block} is {found}"
            );
        }
    }
}

#[test]
fn rows_of_a_packed_matrix_are_the_same_bits() {
    let pool = Pool::new(1);
    for (format, blocks, values) in FIXTURES {
        let expected = expected(values);
        // As one row, and as one row for each block.
        for inputs in [expected.len(), format.block_elements()] {
            let outputs = expected.len() / inputs;
            let part = Part {
                format,
                bytes: blocks,
                outputs,
            };
            for isa in Isa::all_available() {
                let matrix = Matrix::pack(&[part], inputs, isa, &pool).expect("it packs");
                let mut row = vec![0.0; inputs];
                for (index, expected) in expected.chunks(inputs).enumerate() {
                    matrix.row(index, &mut row).expect("it is there");
                    assert!(
                        row.iter().map(|value| bits(*value)).eq(expected.iter().copied()),
                        "{format:?} {index}"
                    );
                }
            }
        }
    }
}

/// The one scale that the package reads as a power of two and the standard as no number.
#[test]
fn a_scale_of_255_is_no_number_in_mxfp4() {
    let mut block = [0x21; 17];
    block[0] = 255;
    let mut found = [0.0; 32];
    blocks::decode_row(Format::Mxfp4, &block, &mut found).expect("a whole block");
    assert!(found.iter().all(|value| value.is_nan()), "{found:?}");
}

#[test]
fn other_lengths_are_errors() {
    for format in Format::ALL {
        let (elements, bytes) = (format.block_elements(), format.block_bytes());
        let decode = |bytes: usize, elements: usize| {
            blocks::decode_row(format, &vec![255; bytes], &mut vec![0.0; elements])
        };
        assert_eq!(decode(3 * bytes, 3 * elements), Ok(()));
        assert!(decode(0, 0).is_err());
        assert!(decode(bytes - 1, elements).is_err());
        assert!(decode(bytes + 1, elements).is_err());
        assert!(decode(bytes, 2 * elements).is_err());
        if elements > 1 {
            assert!(decode(bytes, elements - 1).is_err());
        }
    }
}
