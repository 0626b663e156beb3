//! How keys and values lie in the blocks of the cache.
//!
//! A block holds [`BLOCK_TOKENS`] tokens of one layer of one sequence, for each key head:
//!
//! | elements | what |
//! |---|---|
//! | `head_width * BLOCK_TOKENS` | keys, transposed: element 0 of every token, element 1 of every token, ... |
//! | `BLOCK_TOKENS * stride` | values, a row for each token; `stride` is `head_width` made a multiple of 16 |
//!
//! So scores of sixteen tokens, and sixteen elements of the output, are each one vector: no sum crosses lanes.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::error::{ShapeError, check_length};
use crate::simd::{LANES, Simd};

/// Tokens of a block.
pub const BLOCK_TOKENS: usize = 32;

/// Types that a cache can hold. f32 is exact; f16 takes half the memory and rounds to 2^-11.
pub trait CacheElement: Copy + Default + Send + Sync + 'static + sealed::Load {
    /// Rounds to the nearest.
    fn from_f32(value: f32) -> Self;
}

mod sealed {
    use super::*;

    pub trait Load: Sized {
        fn load<S: Simd>(s: S, from: &[Self; LANES]) -> S::F;
    }
}

use self::sealed::Load;

impl CacheElement for f32 {
    fn from_f32(value: f32) -> Self {
        value
    }
}

impl CacheElement for f16 {
    fn from_f32(value: f32) -> Self {
        Self::from_f32(value)
    }
}

impl CacheElement for bf16 {
    fn from_f32(value: f32) -> Self {
        Self::from_f32(value)
    }
}

impl Load for f32 {
    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[Self; LANES]) -> S::F {
        s.load(from)
    }
}

impl Load for f16 {
    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[Self; LANES]) -> S::F {
        let bits: &[u16] = from.as_slice().reinterpret_cast();
        s.load_f16(bits.first_chunk().expect("as many as were given"))
    }
}

impl Load for bf16 {
    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[Self; LANES]) -> S::F {
        let bits: &[u16] = from.as_slice().reinterpret_cast();
        s.load_bf16(bits.first_chunk().expect("as many as were given"))
    }
}

/// Heads of keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvLayout {
    /// How many.
    pub kv_heads: usize,
    /// Elements of each.
    pub head_width: usize,
}

impl KvLayout {
    /// Elements of a block: keys and values of [`BLOCK_TOKENS`] tokens of one layer.
    ///
    /// # Errors
    /// A size is zero or their product does not fit the machine.
    pub fn block_elements(&self) -> Result<usize, ShapeError> {
        let too_large = ShapeError::Size { what: "a block" };
        let padded = self.head_width.checked_next_multiple_of(LANES).ok_or(too_large)?;
        let each = self
            .head_width
            .checked_add(padded)
            .and_then(|sum| sum.checked_mul(BLOCK_TOKENS));
        each.and_then(|each| each.checked_mul(self.kv_heads))
            .filter(|elements| *elements > 0)
            .ok_or(too_large)
    }

    /// Writes one token at `slot` of a block; `keys` and `values` have `kv_heads * head_width` elements.
    ///
    /// # Errors
    /// A length differs, or there is no such slot.
    pub fn write<T: CacheElement>(
        &self,
        block: &mut [T],
        slot: usize,
        keys: &[f32],
        values: &[f32],
    ) -> Result<(), ShapeError> {
        check_length("a block", block.len(), self.block_elements()?)?;
        check_length("keys", keys.len(), self.kv_heads * self.head_width)?;
        check_length("values", values.len(), self.kv_heads * self.head_width)?;
        if slot >= BLOCK_TOKENS {
            return Err(ShapeError::Index {
                what: "slot",
                index: slot,
                count: BLOCK_TOKENS,
            });
        }
        let heads = block.chunks_exact_mut(self.head_elements());
        let new = keys
            .chunks_exact(self.head_width)
            .zip(values.chunks_exact(self.head_width));
        for (head, (keys, values)) in heads.zip(new) {
            let (held_keys, held_values) = head.split_at_mut(self.head_width * BLOCK_TOKENS);
            for (column, key) in held_keys.chunks_exact_mut(BLOCK_TOKENS).zip(keys) {
                column[slot] = T::from_f32(*key);
            }
            let row = &mut held_values[slot * self.value_stride()..];
            for (held, value) in row.iter_mut().zip(values) {
                *held = T::from_f32(*value);
            }
        }
        Ok(())
    }

    /// Elements from a row of values to the next.
    pub(super) fn value_stride(&self) -> usize {
        self.head_width.next_multiple_of(LANES)
    }

    fn head_elements(&self) -> usize {
        (self.head_width + self.value_stride()) * BLOCK_TOKENS
    }

    /// Keys and values of one head in a block.
    #[inline(always)]
    pub(super) fn head<'a, T>(&self, block: &'a [T], head: usize) -> (&'a [T], &'a [T]) {
        let elements = self.head_elements();
        block[head * elements..][..elements].split_at(self.head_width * BLOCK_TOKENS)
    }
}
