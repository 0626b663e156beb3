//! Stored weights to the f32 of the computation. One copy, on all cores.
//!
//! Everything is computed in f32: the CPU products of the tensor library have no bf16, and f16 would change
//! the result. It costs twice the memory of a 16-bit checkpoint until kernels read 16-bit weights directly.

use half::f16;
use rayon::prelude::*;

use super::header::WeightType;

const CHUNK_ELEMENTS: usize = 1 << 16;

/// The parts one after the other. Lengths are multiples of the element size (the header saw to that).
pub(super) fn to_f32(parts: &[(WeightType, &[u8])]) -> Vec<f32> {
    let total = parts
        .iter()
        .map(|(weight_type, bytes)| bytes.len() / weight_type.bytes())
        .sum();
    let mut values = vec![0.0_f32; total];
    let mut rest = values.as_mut_slice();
    for (weight_type, bytes) in parts {
        let (part, after) = rest.split_at_mut(bytes.len() / weight_type.bytes());
        rest = after;
        part.par_chunks_mut(CHUNK_ELEMENTS)
            .zip(bytes.par_chunks(CHUNK_ELEMENTS * weight_type.bytes()))
            .for_each(|(values, bytes)| convert(*weight_type, bytes, values));
    }
    values
}

fn convert(weight_type: WeightType, bytes: &[u8], values: &mut [f32]) {
    match weight_type {
        WeightType::F32 => {
            let (elements, _) = bytes.as_chunks::<4>();
            values
                .iter_mut()
                .zip(elements)
                .for_each(|(value, e)| *value = f32::from_le_bytes(*e));
        }
        WeightType::F16 => {
            let (elements, _) = bytes.as_chunks::<2>();
            values
                .iter_mut()
                .zip(elements)
                .for_each(|(value, e)| *value = f16::from_le_bytes(*e).to_f32());
        }
        WeightType::Bf16 => {
            let (elements, _) = bytes.as_chunks::<2>();
            let widen = |e: &[u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(*e)) << 16);
            values
                .iter_mut()
                .zip(elements)
                .for_each(|(value, e)| *value = widen(e));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_widens_exactly_and_in_order() {
        let f32_bytes = 1.5_f32.to_le_bytes();
        let f16_bytes = f16::from_f32(-0.25).to_le_bytes();
        let bf16_bytes = half::bf16::from_f32(3.0).to_le_bytes();
        let values = to_f32(&[
            (WeightType::F32, &f32_bytes),
            (WeightType::F16, &f16_bytes),
            (WeightType::Bf16, &bf16_bytes),
        ]);
        assert_eq!(values, [1.5, -0.25, 3.0]);
    }
}
