//! How weights lie in memory: in panels of sixteen outputs.
//!
//! A panel holds all inputs of sixteen outputs, so that one vector instruction advances sixteen dot products and
//! no sum crosses lanes. Nothing is widened: a panel takes the bytes that its rows take in the file (Q4_K and
//! Q5_K: 2 % more, their 6-bit scales become bytes). Within a panel come the blocks of the format, each of
//! sixteen outputs at once:
//!
//! | format | bytes of a block of sixteen outputs |
//! |---|---|
//! | Q8_0 | 16 `d`; 8 quads |
//! | Q4_0 | 16 `d`; 4 vectors of nibbles |
//! | Q4_K | 16 `d`, 16 `dmin`, 8 x 16 scales, 4 x 16 x 2 minima; 8 x 4 vectors of nibbles |
//! | Q5_K | the same; 8 x (4 vectors of nibbles, 1 of fifth bits) |
//! | Q6_K | 16 `d`, 16 x 16 scales; 8 x (4 vectors of nibbles, 2 of upper pairs) |
//!
//! A *quad* is 64 bytes: four consecutive inputs of output 0, of output 1, and so on. Codes are unsigned (128, 8
//! or 32 is added to signed ones). Of the eight quads of 32 inputs, quad `i` is in the low nibbles of vector `i`
//! and quad `i + 4` in its high nibbles; bit `i` of the fifth bits belongs to quad `i`; upper pairs of quad `i`
//! are bits `2 (i mod 4)` of vector `i / 4`.

use half::f16;

use crate::blocks::Codes;
use crate::format::Format;
use crate::simd::LANES;

/// Bytes of `d` (or `dmin`) of sixteen outputs.
pub(super) const HALVES: usize = 2 * LANES;
/// Bytes of a quad.
pub(super) const QUAD: usize = 4 * LANES;
/// Where the scales of Q4_K and Q5_K begin.
pub(super) const K_SCALES: usize = 2 * HALVES;
/// Where their minima begin.
pub(super) const K_MINS: usize = K_SCALES + 8 * LANES;
/// Where their codes begin.
pub(super) const K_CODES: usize = K_MINS + 8 * LANES;
/// Where the scales of Q6_K begin.
pub(super) const Q6K_SCALES: usize = HALVES;
/// Where its codes begin.
pub(super) const Q6K_CODES: usize = Q6K_SCALES + 16 * LANES;

/// Bytes of one block of sixteen outputs.
pub(super) const fn block_bytes(format: Format) -> usize {
    match format {
        Format::Q8_0 | Format::Q4_0 | Format::Q6K => format.block_bytes() * LANES,
        Format::Q4K => K_CODES + 8 * 4 * QUAD,
        Format::Q5K => K_CODES + 8 * 5 * QUAD,
        // Those have panels of their own.
        Format::F32 | Format::F16 | Format::Bf16 | Format::Mxfp4 => 0,
    }
}

/// What is added to a code to make it unsigned.
pub(super) const fn code_offset(format: Format) -> i32 {
    match format {
        Format::Q8_0 => 128,
        Format::Q4_0 => 8,
        Format::Q6K => 32,
        _ => 0,
    }
}

/// Where the low bits of an element are: byte and shift.
fn low_bits(format: Format, element: usize, lane: usize) -> (usize, usize) {
    let (sub_block, place) = (element / 32, element % 32);
    let (quad, byte) = (place / 4, lane * 4 + place % 4);
    let (codes, stride) = match format {
        Format::Q8_0 => return (HALVES + quad * QUAD + byte, 0),
        Format::Q4_0 => (HALVES, 0),
        Format::Q5K => (K_CODES, 5 * QUAD),
        Format::Q6K => (Q6K_CODES, 6 * QUAD),
        _ => (K_CODES, 4 * QUAD),
    };
    (
        codes + sub_block * stride + quad % 4 * QUAD + byte,
        4 * (quad / 4),
    )
}

/// Where the bits beyond four are: byte, shift and mask.
fn high_bits(format: Format, element: usize, lane: usize) -> Option<(usize, usize, u8)> {
    let (sub_block, place) = (element / 32, element % 32);
    let (quad, byte) = (place / 4, lane * 4 + place % 4);
    match format {
        Format::Q5K => Some((K_CODES + (sub_block * 5 + 4) * QUAD + byte, quad, 1)),
        Format::Q6K => {
            let vector = sub_block * 6 + 4 + quad / 4;
            Some((Q6K_CODES + vector * QUAD + byte, 2 * (quad % 4), 3))
        }
        _ => None,
    }
}

/// Writes one output's block into a block of sixteen.
pub(super) fn write(format: Format, codes: &Codes, lane: usize, block: &mut [u8]) {
    block[2 * lane..2 * lane + 2].copy_from_slice(&codes.d.to_le_bytes());
    match format {
        Format::Q4K | Format::Q5K => {
            block[HALVES + 2 * lane..][..2].copy_from_slice(&codes.dmin.to_le_bytes());
            for i in 0..8 {
                block[K_SCALES + i * LANES + lane] = codes.scales[i].cast_unsigned();
                block[K_MINS + i / 2 * 2 * LANES + 2 * lane + i % 2] = codes.mins[i];
            }
        }
        Format::Q6K => {
            for (i, scale) in codes.scales.iter().enumerate() {
                block[Q6K_SCALES + i * LANES + lane] = scale.cast_unsigned();
            }
        }
        _ => {}
    }
    let offset = code_offset(format) as u8;
    let sub_blocks = codes.quants[..format.block_elements()].as_chunks::<32>().0;
    for (sub_block, quants) in sub_blocks.iter().enumerate() {
        // Four codes of this output at a time.
        let mut quads = [0; 8];
        for (quad, quants) in quads.iter_mut().zip(quants.as_chunks::<4>().0) {
            *quad = u32::from_le_bytes(quants.map(|quant| quant.cast_unsigned().wrapping_add(offset)));
        }
        write_sub_block(format, sub_block, &quads, lane, block);
    }
}

fn write_sub_block(format: Format, sub_block: usize, quads: &[u32; 8], lane: usize, block: &mut [u8]) {
    let (low, _) = low_bits(format, 32 * sub_block, lane);
    let mut put = |vector: usize, bits: u32| {
        block[low + vector * QUAD..][..4].copy_from_slice(&bits.to_le_bytes());
    };
    if format == Format::Q8_0 {
        for (i, quad) in quads.iter().enumerate() {
            put(i, *quad);
        }
        return;
    }
    for i in 0..4 {
        put(i, quads[i] & 0x0f0f_0f0f | (quads[i + 4] & 0x0f0f_0f0f) << 4);
    }
    let high = |i: usize| quads[i] >> 4 & 0x0303_0303;
    match format {
        Format::Q5K => put(4, (0..8).fold(0, |bits, i| bits | high(i) << i)),
        Format::Q6K => {
            put(4, (0..4).fold(0, |bits, i| bits | high(i) << (2 * i)));
            put(5, (0..4).fold(0, |bits, i| bits | high(4 + i) << (2 * i)));
        }
        _ => {}
    }
}

/// The inverse of [`write`]: nothing was lost.
pub(super) fn read(format: Format, block: &[u8], lane: usize) -> Codes {
    let half_at = |offset: usize| f16::from_le_bytes([block[offset], block[offset + 1]]);
    let mut codes = Codes::ZERO;
    codes.d = half_at(2 * lane);
    match format {
        Format::Q4K | Format::Q5K => {
            codes.dmin = half_at(HALVES + 2 * lane);
            for i in 0..8 {
                codes.scales[i] = block[K_SCALES + i * LANES + lane].cast_signed();
                codes.mins[i] = block[K_MINS + i / 2 * 2 * LANES + 2 * lane + i % 2];
            }
        }
        Format::Q6K => {
            for (i, scale) in codes.scales.iter_mut().enumerate() {
                *scale = block[Q6K_SCALES + i * LANES + lane].cast_signed();
            }
        }
        _ => {}
    }
    let low_mask = if format == Format::Q8_0 { 255 } else { 15 };
    for (element, quant) in codes.quants[..format.block_elements()].iter_mut().enumerate() {
        let (byte, shift) = low_bits(format, element, lane);
        let low = block[byte] >> shift & low_mask;
        let high =
            high_bits(format, element, lane).map_or(0, |(byte, shift, mask)| block[byte] >> shift & mask);
        *quant = (i32::from(low | high << 4) - code_offset(format)) as i8;
    }
    codes
}
