//! Stored weights to the types of the computation. One copy, on all cores.
//!
//! f32 and bf16 stay what they are. f16 becomes f32: the CPU has no fast way to widen it on every use, and
//! bf16 would round it.

use half::{bf16, f16};
use rayon::prelude::*;

use super::header::WeightType;

const CHUNK_ELEMENTS: usize = 1 << 16;

/// The parts one after the other, as f32. Lengths are multiples of the element size (the header saw to that).
pub(super) fn to_f32(parts: &[(WeightType, &[u8])]) -> Vec<f32> {
    gather(parts, 0.0, |weight_type, bytes, values| match weight_type {
        WeightType::F32 => each(bytes, values, f32::from_le_bytes),
        WeightType::F16 => each(bytes, values, |element| f16::from_le_bytes(element).to_f32()),
        WeightType::Bf16 => each(bytes, values, |element| bf16::from_le_bytes(element).to_f32()),
    })
}

/// The parts, all of which are bf16, one after the other.
pub(super) fn to_bf16(parts: &[(WeightType, &[u8])]) -> Vec<bf16> {
    gather(parts, bf16::ZERO, |_, bytes, values| {
        each(bytes, values, bf16::from_le_bytes)
    })
}

fn gather<T: Copy + Send + Sync>(
    parts: &[(WeightType, &[u8])],
    zero: T,
    convert: impl Fn(WeightType, &[u8], &mut [T]) + Sync,
) -> Vec<T> {
    let total = parts
        .iter()
        .map(|(weight_type, bytes)| bytes.len() / weight_type.bytes())
        .sum();
    let mut values = vec![zero; total];
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

fn each<const N: usize, T>(bytes: &[u8], values: &mut [T], convert: impl Fn([u8; N]) -> T) {
    let (elements, _) = bytes.as_chunks::<N>();
    values
        .iter_mut()
        .zip(elements)
        .for_each(|(value, element)| *value = convert(*element));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_widens_exactly_and_in_order() {
        let f32_bytes = 1.5_f32.to_le_bytes();
        let f16_bytes = f16::from_f32(-0.25).to_le_bytes();
        let bf16_bytes = bf16::from_f32(3.0).to_le_bytes();
        let values = to_f32(&[
            (WeightType::F32, &f32_bytes),
            (WeightType::F16, &f16_bytes),
            (WeightType::Bf16, &bf16_bytes),
        ]);
        assert_eq!(values, [1.5, -0.25, 3.0]);
    }
}
