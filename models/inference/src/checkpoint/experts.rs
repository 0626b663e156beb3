//! Experts that a checkpoint holds in one tensor, as one tensor each.
//!
//! | held as | by | becomes `experts.N.…` |
//! |---|---|---|
//! | `experts.gate_up_proj` (experts, 2 i, hidden) | transformers 5 | `gate_up_proj.weight` |
//! | `experts.{gate,up,down}_proj` (experts, rows, columns) | GGUF | `{gate,up,down}_proj.weight` |
//! | `experts.gate_up_proj` (experts, hidden, 2 i), gate and up in turn | gpt-oss | `gate_up_proj.weight` |
//! | `experts.gate_up_proj_blocks`, `_scales` (experts, 2 i, blocks), gate and up in turn | gpt-oss in MXFP4 | the same |

use std::borrow::Cow;

use half::bf16;
use kernels::Format;

use super::header::Stored;
use super::{Checkpoint, RawTensor, mismatch};
use crate::config::ExpertsConfig;
use crate::error::InferenceError;

/// Elements of an MXFP4 block: 16 bytes, the low nibble first, and one scale.
const MXFP4_BLOCK: usize = 32;
/// OCP Microscaling Formats 1.0, section 5.3.3: the values of E2M1 without sign.
const E2M1: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
/// The same specification, section 5.4.1: a scale of E8M0 is a power of two with this bias; 255 is NaN.
const E8M0_BIAS: i32 = 127;

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

    /// Widens MXFP4 to bf16, which holds every such value.
    fn mxfp4(
        &mut self,
        name: &str,
        [count, rows, columns]: [usize; 3],
    ) -> Result<(Format, Cow<'a, [u8]>), InferenceError> {
        if !columns.is_multiple_of(MXFP4_BLOCK) {
            return Err(mismatch(name, "does not divide into blocks of 32"));
        }
        let blocks_of_row = columns / MXFP4_BLOCK;
        let blocks_name = format!("{name}_blocks");
        let blocks = self.take_bytes(&blocks_name, &[count, rows, blocks_of_row, MXFP4_BLOCK / 2])?;
        let scales = self.take_bytes(&format!("{name}_scales"), &[count, rows, blocks_of_row])?;
        let (blocks, _) = blocks.as_chunks::<{ MXFP4_BLOCK / 2 }>();
        let mut values = Vec::with_capacity(2 * count * rows * columns);
        for (block, scale) in blocks.iter().zip(scales.iter()) {
            for byte in block {
                for nibble in [byte & 15, byte >> 4] {
                    values.extend(mxfp4_value(nibble, *scale).to_le_bytes());
                }
            }
        }
        Ok((Format::Bf16, Cow::Owned(values)))
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

/// A nibble (sign, then E2M1) times its scale.
pub(crate) fn mxfp4_value(nibble: u8, scale: u8) -> bf16 {
    let magnitude = E2M1[usize::from(nibble & 7)];
    let value = if nibble & 8 == 0 { magnitude } else { -magnitude };
    bf16::from_f32(value * e8m0(scale))
}

/// 2 to the power of the scale less its bias; the smallest is a denormal.
fn e8m0(scale: u8) -> f32 {
    match scale {
        255 => f32::NAN,
        scale => 2.0_f32.powi(i32::from(scale) - E8M0_BIAS),
    }
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

    #[test]
    fn scales_are_powers_of_two() {
        assert_eq!(e8m0(127), 1.0);
        assert_eq!(e8m0(128), 2.0);
        assert_eq!(e8m0(0), f32::from_bits(1 << 22));
        assert!(e8m0(255).is_nan());
    }
}
