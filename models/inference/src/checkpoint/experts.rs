//! Experts that a checkpoint holds in one tensor, as one tensor each.
//!
//! | held as | by | becomes `experts.N.…` |
//! |---|---|---|
//! | `experts.gate_up_proj` (experts, 2 i, hidden) | transformers 5 | `gate_up_proj.weight` |
//! | `experts.{gate,up,down}_proj` (experts, rows, columns) | GGUF | `{gate,up,down}_proj.weight` |
//! | `experts.gate_up_proj` (experts, hidden, 2 i), gate and up in turn | gpt-oss | `gate_up_proj.weight` |
//! | `experts.gate_up_proj_blocks`, `_scales` (experts, 2 i, blocks), gate and up in turn | gpt-oss in MXFP4 | the same |

use std::borrow::Cow;

use kernels::Format;

use super::header::Stored;
use super::{Checkpoint, RawTensor, mismatch};
use crate::config::ExpertsConfig;
use crate::error::InferenceError;

impl<'a> Checkpoint<'a> {
    /// Splits what is held in one tensor per projection, where it is.
    pub(crate) fn split_experts(
        &mut self,
        prefix: &str,
        experts: &ExpertsConfig,
        hidden: usize,
    ) -> Result<(), InferenceError> {
        let i = experts.intermediate;
        let shapes = [
            ("gate_up_proj", 2 * i, hidden),
            ("gate_proj", i, hidden),
            ("up_proj", i, hidden),
            ("down_proj", hidden, i),
        ];
        for (name, rows, columns) in shapes {
            let fused = format!("{prefix}.experts.{name}");
            if !self.has(&fused) {
                continue;
            }
            let tensor = self.take(&fused, &[experts.count, rows, columns])?;
            self.insert_experts(prefix, name, "weight", tensor, &[rows, columns]);
            let bias = format!("{fused}_bias");
            if self.has(&bias) {
                let tensor = self.take(&bias, &[experts.count, rows])?;
                self.insert_experts(prefix, name, "bias", tensor, &[rows]);
            }
        }
        Ok(())
    }

    /// As [`Self::split_experts`], for the layout of gpt-oss.
    pub(crate) fn split_transposed_experts(
        &mut self,
        prefix: &str,
        experts: &ExpertsConfig,
        hidden: usize,
    ) -> Result<(), InferenceError> {
        if self.has(&format!("{prefix}.experts.gate_proj")) {
            return self.split_experts(prefix, experts, hidden);
        }
        let (count, i) = (experts.count, experts.intermediate);
        for (name, rows, columns, interleaved) in [
            ("gate_up_proj", 2 * i, hidden, true),
            ("down_proj", hidden, i, false),
        ] {
            let fused = format!("{prefix}.experts.{name}");
            let tensor = if self.has(&format!("{fused}_blocks")) {
                self.mxfp4(&fused, [count, rows, columns])?
            } else {
                let tensor = self.take(&fused, &[count, columns, rows])?;
                if tensor.0.block_elements() != 1 {
                    return Err(mismatch(&fused, "is quantised in a layout that cannot be"));
                }
                transposed(tensor, columns, rows)
            };
            let tensor = if interleaved {
                sorted(tensor, rows, columns)
            } else {
                tensor
            };
            self.insert_experts(prefix, name, "weight", tensor, &[rows, columns]);
            let bias = self.take(&format!("{fused}_bias"), &[count, rows])?;
            let bias = if interleaved { sorted(bias, rows, 1) } else { bias };
            self.insert_experts(prefix, name, "bias", bias, &[rows]);
        }
        Ok(())
    }

    /// The blocks and scales of gpt-oss as blocks of ggml, which take as much.
    fn mxfp4(
        &mut self,
        name: &str,
        [count, rows, columns]: [usize; 3],
    ) -> Result<(Format, Cow<'a, [u8]>), InferenceError> {
        let block = Format::Mxfp4.block_elements();
        if !columns.is_multiple_of(block) {
            return Err(mismatch(name, "does not divide into blocks of 32"));
        }
        let blocks_of_row = columns / block;
        let codes = self.take_bytes(
            &format!("{name}_blocks"),
            &[count, rows, blocks_of_row, block / 2],
        )?;
        let scales = self.take_bytes(&format!("{name}_scales"), &[count, rows, blocks_of_row])?;
        // What the file has; a product of the dimensions would trust the config.
        let mut blocks = Vec::with_capacity(codes.len() + scales.len());
        for (codes, scale) in codes.as_chunks().0.iter().zip(scales.iter()) {
            blocks.push(*scale);
            blocks.extend_from_slice(&halves_in_nibbles(codes));
        }
        Ok((Format::Mxfp4, Cow::Owned(blocks)))
    }

    /// Cuts a tensor into one part per expert. Its shape was checked, so the parts are equal.
    fn insert_experts(
        &mut self,
        prefix: &str,
        name: &str,
        suffix: &str,
        (format, bytes): (Format, Cow<'a, [u8]>),
        shape: &[usize],
    ) {
        let elements: usize = shape.iter().product();
        let part = elements / format.block_elements() * format.block_bytes();
        for expert in 0..bytes.len() / part.max(1) {
            let range = expert * part..(expert + 1) * part;
            let bytes = match &bytes {
                Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[range]),
                Cow::Owned(bytes) => Cow::Owned(bytes[range].to_vec()),
            };
            let tensor = RawTensor {
                stored: Stored::Weights(format),
                shape: shape.to_vec(),
                bytes,
            };
            self.tensors
                .insert(format!("{prefix}.experts.{expert}.{name}.{suffix}"), tensor);
        }
    }
}

/// Each (rows, columns) matrix of a plain type as (columns, rows).
fn transposed<'a>(
    (format, bytes): (Format, Cow<'a, [u8]>),
    rows: usize,
    columns: usize,
) -> (Format, Cow<'a, [u8]>) {
    let size = format.block_bytes();
    let mut output = Vec::with_capacity(bytes.len());
    for matrix in bytes.chunks_exact(rows * columns * size) {
        for column in 0..columns {
            for row in matrix.chunks_exact(columns * size) {
                output.extend_from_slice(&row[column * size..][..size]);
            }
        }
    }
    (format, Cow::Owned(output))
}

/// Of each matrix the even rows, then the odd ones: gates, then ups.
fn sorted<'a>(
    (format, bytes): (Format, Cow<'a, [u8]>),
    rows: usize,
    columns: usize,
) -> (Format, Cow<'a, [u8]>) {
    let row_bytes = columns / format.block_elements() * format.block_bytes();
    let mut output = Vec::with_capacity(bytes.len());
    for matrix in bytes.chunks_exact(rows * row_bytes) {
        for parity in [0, 1] {
            for row in matrix.chunks_exact(row_bytes).skip(parity).step_by(2) {
                output.extend_from_slice(row);
            }
        }
    }
    (format, Cow::Owned(output))
}

/// The codes of a block as ggml has them. Here byte `i` has elements `2 i` and `2 i + 1`, the first in its low nibble;
/// there elements `i` and `i + 16`.
fn halves_in_nibbles(codes: &[u8; 16]) -> [u8; 16] {
    let code = |element: usize| codes[element / 2] >> (element % 2 * 4) & 15;
    std::array::from_fn(|i| code(i) | code(i + 16) << 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposed_and_sorted() {
        let bytes: Vec<u8> = (0..6_u16).flat_map(u16::to_le_bytes).collect();
        let halves = |bytes: &[u8]| -> Vec<u16> {
            bytes
                .as_chunks::<2>()
                .0
                .iter()
                .map(|half| u16::from_le_bytes(*half))
                .collect()
        };
        let (_, columns) = transposed((Format::F16, Cow::Borrowed(&bytes)), 2, 3);
        assert_eq!(halves(&columns), [0, 3, 1, 4, 2, 5]);
        let (_, rows) = sorted((Format::F16, Cow::Borrowed(&bytes)), 6, 1);
        assert_eq!(halves(&rows), [0, 2, 4, 1, 3, 5]);
    }

    /// Elements of a block in their order: what the standard says of their codes (OCP Microscaling Formats 1.0, 5.3.3).
    #[test]
    fn codes_of_mxfp4_keep_their_order_and_their_numbers() {
        const E2M1: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
        let code = |element: usize| (element * 7 + 3) as u8 & 15;
        let codes = std::array::from_fn(|i| code(2 * i) | code(2 * i + 1) << 4);
        let mut block = [0; 17];
        block[0] = 130;
        block[1..].copy_from_slice(&halves_in_nibbles(&codes));
        let mut values = [0.0; 32];
        kernels::blocks::decode_row(Format::Mxfp4, &block, &mut values).expect("a block");
        for (element, value) in values.into_iter().enumerate() {
            let magnitude = 8.0 * E2M1[usize::from(code(element) & 7)];
            let expected = if code(element) < 8 { magnitude } else { -magnitude };
            assert_eq!(value, expected, "{element}");
        }
    }

    fn packed(
        blocks: &[u8],
        scales: &[u8],
        block_shape: &[usize],
        scale_shape: &[usize],
    ) -> Checkpoint<'static> {
        let mut checkpoint = Checkpoint::empty();
        let tensors = [("blocks", blocks, block_shape), ("scales", scales, scale_shape)];
        for (suffix, bytes, shape) in tensors {
            let tensor = RawTensor {
                stored: Stored::Bytes,
                shape: shape.to_vec(),
                bytes: Cow::Owned(bytes.to_vec()),
            };
            checkpoint.tensors.insert(format!("t_{suffix}"), tensor);
        }
        checkpoint
    }

    #[test]
    fn blocks_and_scales_become_blocks_of_as_many_bytes() {
        let blocks: Vec<u8> = (0..96).collect();
        let scales: Vec<u8> = (200..206).collect();
        let mut checkpoint = packed(&blocks, &scales, &[1, 3, 2, 16], &[1, 3, 2]);
        let (format, bytes) = checkpoint.mxfp4("t", [1, 3, 64]).expect("the shapes fit");
        assert_eq!((format, bytes.len()), (Format::Mxfp4, 96 + 6));
        let found: Vec<u8> = bytes.iter().step_by(17).copied().collect();
        assert_eq!(found, scales);
        assert_eq!(format.row_bytes(64), Ok(bytes.len() / 3));
    }

    #[test]
    fn shapes_of_mxfp4_that_lie_are_errors() {
        let mut other_columns = packed(&[0; 96], &[0; 6], &[1, 3, 2, 16], &[1, 3, 2]);
        assert!(other_columns.mxfp4("t", [1, 3, 48]).is_err());
        let mut other_scales = packed(&[0; 96], &[0; 5], &[1, 3, 2, 16], &[5]);
        assert!(other_scales.mxfp4("t", [1, 3, 64]).is_err());
        for shape in [[usize::MAX, 3, 64], [1, usize::MAX, 64], [1, 3, usize::MAX - 31]] {
            let mut checkpoint = packed(&[0; 96], &[0; 6], &[1, 3, 2, 16], &[1, 3, 2]);
            assert!(checkpoint.mxfp4("t", shape).is_err(), "{shape:?}");
        }
    }
}
