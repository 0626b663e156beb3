//! Stored weights to the types of the computation. One copy, on all cores.
//!
//! f32 and bf16 stay what they are. f16 becomes f32: the CPU has no fast way to widen it on every use, and
//! bf16 would round it.

use half::{bf16, f16};
use rayon::prelude::*;

use super::format::Format;

const CHUNK_ELEMENTS: usize = 1 << 16;

/// The parts one after the other, as f32. Lengths are whole blocks (the header saw to that).
pub(super) fn to_f32(parts: &[(Format, &[u8])]) -> Vec<f32> {
    gather(parts, 0.0, |format, bytes, values| match format {
        Format::F32 => each(bytes, values, f32::from_le_bytes),
        Format::F16 => each(bytes, values, |element| f16::from_le_bytes(element).to_f32()),
        Format::Bf16 => each(bytes, values, |element| bf16::from_le_bytes(element).to_f32()),
        Format::Q8_0 | Format::Q4_0 | Format::Q4K | Format::Q5K | Format::Q6K => {
            values.fill(f32::NAN);
        }
    })
}

/// The parts, all of which are bf16, one after the other.
pub(super) fn to_bf16(parts: &[(Format, &[u8])]) -> Vec<bf16> {
    gather(parts, bf16::ZERO, |_, bytes, values| {
        each(bytes, values, bf16::from_le_bytes)
    })
}

fn elements(format: Format, bytes: &[u8]) -> usize {
    bytes.len() / format.block_bytes() * format.block_elements()
}

fn gather<T: Copy + Send + Sync>(
    parts: &[(Format, &[u8])],
    zero: T,
    convert: impl Fn(Format, &[u8], &mut [T]) + Sync,
) -> Vec<T> {
    let total = parts.iter().map(|(format, bytes)| elements(*format, bytes)).sum();
    let mut values = vec![zero; total];
    let mut rest = values.as_mut_slice();
    for (format, bytes) in parts {
        let (part, after) = rest.split_at_mut(elements(*format, bytes));
        rest = after;
        let chunk_bytes = CHUNK_ELEMENTS / format.block_elements() * format.block_bytes();
        part.par_chunks_mut(CHUNK_ELEMENTS)
            .zip(bytes.par_chunks(chunk_bytes))
            .for_each(|(values, bytes)| convert(*format, bytes, values));
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
            (Format::F32, &f32_bytes),
            (Format::F16, &f16_bytes),
            (Format::Bf16, &bf16_bytes),
        ]);
        assert_eq!(values, [1.5, -0.25, 3.0]);
    }
}
