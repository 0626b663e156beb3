//! The cache of all sequences on a device: one tensor, allocated once, in blocks of tokens.
//!
//! A block is [`BLOCK_TOKENS`] rows, each the keys of a token followed by its values, as the product gives them; so
//! what a pass writes to a block is one copy, and what attention reads of a sequence is one selection of blocks.

use candle_core::{DType, Result, Tensor, bail};
use kernels::attention::{BLOCK_TOKENS, KvLayout};

use crate::place::OnDevice;

/// Memory for so many blocks. Numbers are handed out by the pool.
pub(crate) struct Blocks {
    /// (blocks x tokens, keys and values)
    rows: Tensor,
    blocks: usize,
    device: OnDevice,
}

impl Blocks {
    /// All of them zeros.
    pub(crate) fn new(layout: KvLayout, blocks: usize, device: &OnDevice) -> Result<Self> {
        let width = 2 * layout.kv_heads * layout.head_width;
        // Devices count elements in signed numbers.
        let elements = (blocks.checked_mul(BLOCK_TOKENS))
            .and_then(|rows| rows.checked_mul(width))
            .filter(|elements| *elements <= isize::MAX as usize / size_of::<f32>());
        let Some(elements) = elements.filter(|elements| *elements > 0 && u32::try_from(blocks).is_ok())
        else {
            bail!("{blocks} blocks of {BLOCK_TOKENS} rows of {width}");
        };
        if device.device().is_cpu() {
            // A vector that does not fit would abort; a GPU's allocation fails by itself.
            Vec::<f32>::new()
                .try_reserve_exact(elements)
                .map_err(candle_core::Error::wrap)?;
        }
        Ok(Self {
            rows: Tensor::zeros((blocks * BLOCK_TOKENS, width), DType::F32, device.device())?,
            blocks,
            device: device.clone(),
        })
    }

    /// Writes rows of keys and values to a block, from its token `first` on.
    pub(crate) fn write(&self, block: u32, first: usize, rows: &Tensor) -> Result<()> {
        let count = rows.dim(0)?;
        if block as usize >= self.blocks || first + count > BLOCK_TOKENS {
            bail!("{count} rows at {first} of block {block}");
        }
        self.rows
            .slice_set(rows, 0, block as usize * BLOCK_TOKENS + first)
    }

    /// The rows of these blocks one after the other.
    pub(crate) fn rows_of(&self, blocks: &[u32]) -> Result<Tensor> {
        // Not every device checks.
        if blocks.iter().any(|block| *block as usize >= self.blocks) {
            bail!("a block beyond {}", self.blocks);
        }
        let width = self.rows.dim(1)?;
        let numbers = Tensor::from_slice(blocks, blocks.len(), self.device.device())?;
        let whole = self.rows.reshape((self.blocks, BLOCK_TOKENS * width))?;
        whole
            .index_select(&numbers, 0)?
            .reshape((blocks.len() * BLOCK_TOKENS, width))
    }

    /// Overwrites a block with zeros.
    pub(crate) fn wipe(&self, block: u32) -> Result<()> {
        let first = block as usize * BLOCK_TOKENS;
        self.rows.narrow(0, first, BLOCK_TOKENS)?.zero_set()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    const LAYOUT: KvLayout = KvLayout {
        kv_heads: 2,
        head_width: 3,
    };

    fn ones(rows: usize) -> Tensor {
        Tensor::ones((rows, 12), DType::F32, &Device::Cpu).expect("rows")
    }

    fn sum(blocks: &Blocks, numbers: &[u32]) -> f32 {
        let rows = blocks.rows_of(numbers).and_then(|rows| rows.sum_all());
        rows.and_then(|sum| sum.to_scalar()).expect("rows")
    }

    #[test]
    fn a_wipe_takes_one_block_and_all_of_it() {
        let blocks = Blocks::new(LAYOUT, 3, &OnDevice::cpu()).expect("a small pool");
        for block in 0..3 {
            blocks.write(block, 0, &ones(BLOCK_TOKENS)).expect("it fits");
        }
        blocks.wipe(1).expect("it is there");
        let whole = (BLOCK_TOKENS * 12) as f32;
        assert_eq!([0, 1, 2].map(|block| sum(&blocks, &[block])), [whole, 0.0, whole]);
        assert_eq!(sum(&blocks, &[2, 1, 0]), 2.0 * whole);
    }

    #[test]
    fn rows_go_where_they_belong() {
        let blocks = Blocks::new(LAYOUT, 2, &OnDevice::cpu()).expect("a small pool");
        blocks.write(1, BLOCK_TOKENS - 2, &ones(2)).expect("it fits");
        let rows = blocks.rows_of(&[1, 0]).and_then(|rows| rows.to_vec2::<f32>());
        let written = rows.expect("rows").into_iter().map(|row| row == [1.0; 12]);
        let written: Vec<usize> = written
            .enumerate()
            .filter_map(|(row, is)| is.then_some(row))
            .collect();
        assert_eq!(written, [BLOCK_TOKENS - 2, BLOCK_TOKENS - 1]);
        assert!(blocks.write(1, BLOCK_TOKENS - 1, &ones(2)).is_err());
        assert!(blocks.write(2, 0, &ones(1)).is_err() && blocks.rows_of(&[2]).is_err());
    }

    #[test]
    fn more_than_there_can_be_is_an_error() {
        for blocks in [
            0,
            usize::MAX,
            usize::MAX / BLOCK_TOKENS / 24,
            1 << 31,
            u32::MAX as usize,
        ] {
            let wide = KvLayout {
                kv_heads: 1 << 20,
                head_width: 1 << 10,
            };
            assert!(Blocks::new(wide, blocks, &OnDevice::cpu()).is_err(), "{blocks}");
        }
    }
}
