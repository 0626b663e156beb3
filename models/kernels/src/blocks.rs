//! One block of a file at a time: into numbers, and into f32 exactly as the `gguf` package of PyPI reads it.
//!
//! Layouts (offsets in bytes, little-endian), from the structs of ggml:
//!
//! | format | layout |
//! |---|---|
//! | Q8_0 | 0: `d` f16; 2: 32 signed bytes |
//! | Q4_0 | 0: `d` f16; 2: 16 bytes, element `i` in the low nibble of byte `i`, `i + 16` in the high |
//! | Q4_K | 0: `d` f16; 2: `dmin` f16; 4: 12 bytes of scales and minima; 16: 128 bytes of nibbles |
//! | Q5_K | as Q4_K; 16: 32 bytes, bit `j` of byte `i` is the fifth bit of element `32 j + i`; 48: nibbles |
//! | Q6_K | 0: 128 bytes of low nibbles; 128: 64 bytes of upper pairs; 192: 16 signed scales; 208: `d` f16 |
//! | MXFP4 | 0: scale, E8M0; 1: 16 bytes as those of Q4_0, E2M1 |
//!
//! One reading differs from the package's: a scale of 255 is NaN, as the standard has it, and no power of two.

use half::{bf16, f16};

use crate::error::{ShapeError, check_length};
use crate::format::Format;

/// Elements of the largest block.
pub(crate) const BLOCK_ELEMENTS_MAX: usize = 256;

/// A quantised block as numbers: element `i` is `d * scales[i / s] * quants[i] - dmin * mins[i / 32]`, where
/// `s` is 16 for Q6_K and 32 otherwise. Formats without scales or minima have ones and zeros there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Codes {
    pub(crate) d: f16,
    pub(crate) dmin: f16,
    pub(crate) scales: [i8; 16],
    pub(crate) mins: [u8; 8],
    pub(crate) quants: [i8; BLOCK_ELEMENTS_MAX],
}

impl Codes {
    pub(crate) const ZERO: Self = Self {
        d: f16::ZERO,
        dmin: f16::ZERO,
        scales: [1; 16],
        mins: [0; 8],
        quants: [0; BLOCK_ELEMENTS_MAX],
    };

    /// Reads one block of a quantised format. `block` has that format's length, which callers ensure by
    /// cutting rows into such blocks; any bytes are a block.
    pub(crate) fn read(format: Format, block: &[u8]) -> Self {
        let mut codes = Self::ZERO;
        let quants = &mut codes.quants;
        match format {
            Format::Q8_0 => {
                codes.d = half_at(block, 0);
                for (quant, byte) in quants.iter_mut().zip(&block[2..34]) {
                    *quant = byte.cast_signed();
                }
            }
            Format::Q4_0 => {
                codes.d = half_at(block, 0);
                for (i, byte) in block[2..18].iter().enumerate() {
                    quants[i] = (byte & 15).cast_signed() - 8;
                    quants[i + 16] = (byte >> 4).cast_signed() - 8;
                }
            }
            Format::Q4K | Format::Q5K => {
                (codes.d, codes.dmin) = (half_at(block, 0), half_at(block, 2));
                read_scales_and_mins(&block[4..16], &mut codes.scales, &mut codes.mins);
                let (fifth, nibbles) = match format {
                    Format::Q5K => (Some(&block[16..48]), &block[48..176]),
                    _ => (None, &block[16..144]),
                };
                for (i, quant) in quants.iter_mut().enumerate() {
                    let (sub_block, place) = (i / 32, i % 32);
                    let nibble = nibbles[sub_block / 2 * 32 + place] >> (4 * (sub_block % 2)) & 15;
                    let bit = fifth.map_or(0, |bits| bits[place] >> sub_block & 1);
                    *quant = (nibble | bit << 4).cast_signed();
                }
            }
            Format::Q6K => {
                codes.d = half_at(block, 208);
                for (scale, byte) in codes.scales.iter_mut().zip(&block[192..208]) {
                    *scale = byte.cast_signed();
                }
                for (i, quant) in quants.iter_mut().enumerate() {
                    // Each half of 128 elements: four runs of 32, two of them in the low nibbles.
                    let (half, run, place) = (i / 128, i % 128 / 32, i % 32);
                    let low = block[half * 64 + run % 2 * 32 + place] >> (4 * (run / 2)) & 15;
                    let high = block[128 + half * 32 + place] >> (2 * run) & 3;
                    *quant = (low | high << 4).cast_signed() - 32;
                }
            }
            Format::F32 | Format::F16 | Format::Bf16 | Format::Mxfp4 => {}
        }
        codes
    }

    /// The elements in f32, rounded step by step as the reader of PyPI does.
    pub(crate) fn dequantise(&self, format: Format, out: &mut [f32]) {
        let (d, dmin) = (self.d.to_f32(), self.dmin.to_f32());
        for (i, (value, quant)) in out.iter_mut().zip(&self.quants).enumerate() {
            let quant = f32::from(*quant);
            *value = match format {
                Format::Q4K | Format::Q5K => {
                    let scale = d * f32::from(self.scales[i / 32]);
                    scale * quant - dmin * f32::from(self.mins[i / 32])
                }
                Format::Q6K => d * f32::from(self.scales[i / 16]) * quant,
                _ => d * quant,
            };
        }
    }
}

/// Eight 6-bit scales and minima: the first four of each whole in bytes 0-3 and 4-7, whose upper pairs of bits
/// belong to the last four, which have their low nibbles in bytes 8-11.
fn read_scales_and_mins(bytes: &[u8], scales: &mut [i8; 16], mins: &mut [u8; 8]) {
    for i in 0..4 {
        let (scale, min, both) = (bytes[i], bytes[i + 4], bytes[i + 8]);
        scales[i] = (scale & 63).cast_signed();
        mins[i] = min & 63;
        scales[i + 4] = (both & 15 | scale >> 2 & 48).cast_signed();
        mins[i + 4] = both >> 4 | min >> 2 & 48;
    }
}

fn half_at(block: &[u8], offset: usize) -> f16 {
    f16::from_le_bytes([block[offset], block[offset + 1]])
}

/// Decodes a row (or any number of whole blocks) into f32, bit for bit as PyPI's `gguf.quants.dequantize`.
///
/// # Errors
/// `out` is empty or no multiple of the block, or `bytes` has another length than that many elements take.
pub fn decode_row(format: Format, bytes: &[u8], out: &mut [f32]) -> Result<(), ShapeError> {
    check_length("a row", bytes.len(), format.row_bytes(out.len())?)?;
    match format {
        Format::F32 => {
            for (value, bytes) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(*bytes);
            }
        }
        Format::F16 => {
            for (value, bytes) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *value = f16::from_le_bytes(*bytes).to_f32();
            }
        }
        Format::Bf16 => {
            for (value, bytes) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *value = widen(bf16::from_le_bytes(*bytes));
            }
        }
        Format::Mxfp4 => {
            for (out, block) in out.as_chunks_mut().0.iter_mut().zip(bytes.as_chunks().0) {
                decode_mxfp4(block, out);
            }
        }
        _ => {
            let blocks = bytes.chunks_exact(format.block_bytes());
            for (out, block) in out.chunks_exact_mut(format.block_elements()).zip(blocks) {
                Codes::read(format, block).dequantise(format, out);
            }
        }
    }
    Ok(())
}

/// OCP Microscaling Formats 1.0, section 5.3.3: the numbers of E2M1. Its negative zero is read as zero, as `gguf` does.
pub(crate) const E2M1: [f32; 16] = [
    0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0,
];

/// The same standard, section 5.4.1: 2 to the power of the scale less 127; 255 is NaN. The smallest is subnormal.
pub(crate) fn e8m0(scale: u8) -> f32 {
    match scale {
        0 => f32::from_bits(1 << 22),
        255 => f32::NAN,
        scale => f32::from_bits(u32::from(scale) << 23),
    }
}

/// Exact, but for infinities where a number is beyond f32.
pub(crate) fn decode_mxfp4(block: &[u8; 17], out: &mut [f32; 32]) {
    let [scale, codes @ ..] = block;
    let scale = e8m0(*scale);
    for (i, byte) in codes.iter().enumerate() {
        out[i] = E2M1[usize::from(byte & 15)] * scale;
        out[i + 16] = E2M1[usize::from(byte >> 4)] * scale;
    }
}

/// bf16 is the upper half of f32; signalling NaNs stay what they are.
pub(crate) fn widen(value: bf16) -> f32 {
    f32::from_bits(u32::from(value.to_bits()) << 16)
}
