//! A fixed number of cache blocks for all sequences of an engine.
//!
//! Wiping: a block is overwritten with zeros when it is dropped, whoever holds it then, and only zeros are handed out. A
//! block that a device fails to overwrite is never handed out again.
//! Activations of a step (hidden states, scores, logits inside the tensor library) are overwritten by the enclave's
//! allocator when they are freed; on a device they are not.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{Error, Result, Tensor, bail};
use kernels::attention::KvLayout;
use zeroize::Zeroize;

use super::ops::device::Blocks;
use crate::place::Place;

/// Where blocks come from. Cheap to clone.
#[derive(Clone)]
pub(crate) struct BlockPool(Arc<Shared>);

struct Shared {
    layout: KvLayout,
    blocks_max: usize,
    memory: Memory,
    state: Mutex<State>,
}

/// What blocks are made of.
enum Memory {
    /// A vector for each, allocated when it is first taken. `zeros` stands for a block that nobody has any more; no
    /// token sees it.
    Cpu { zeros: Vec<f32> },
    /// A part of one tensor for each.
    Device(Blocks),
}

struct State {
    /// Blocks of zeros that were used before.
    free: Vec<Room>,
    taken: usize,
}

/// The memory of one block.
enum Room {
    Elements(Vec<f32>),
    /// Its number on the device.
    Number(u32),
}

/// Keys and values of [`BLOCK_TOKENS`](super::kv_cache::BLOCK_TOKENS) tokens in one layer, laid out as what reads them
/// wants them. Goes back to its pool, wiped, when it is dropped.
pub(crate) struct KvBlock {
    room: Room,
    pool: BlockPool,
}

impl BlockPool {
    /// At most `blocks_max` blocks at a time. On the CPU none is allocated before it is taken; on a device all are.
    pub(crate) fn new(layout: KvLayout, blocks_max: usize, place: &Place) -> Result<Self> {
        let elements = layout.block_elements().map_err(Error::wrap)?;
        let memory = match place.device() {
            None => Memory::Cpu {
                zeros: vec![0.0; elements],
            },
            Some(device) => Memory::Device(Blocks::new(layout, blocks_max, device)?),
        };
        Ok(Self(Arc::new(Shared {
            layout,
            blocks_max,
            memory,
            state: Mutex::new(State {
                free: Vec::new(),
                taken: 0,
            }),
        })))
    }

    /// A block of zeros, or `None` when all are taken.
    pub(super) fn take(&self) -> Option<KvBlock> {
        let mut state = self.lock();
        if state.taken >= self.0.blocks_max {
            return None;
        }
        let used_before = state.free.pop();
        // None is free: all that were ever used are taken, so that this is the number of the next.
        let next = state.taken;
        state.taken += 1;
        drop(state);
        let room = used_before.unwrap_or_else(|| match &self.0.memory {
            Memory::Cpu { zeros } => Room::Elements(vec![0.0; zeros.len()]),
            Memory::Device(_) => Room::Number(next as u32),
        });
        Some(KvBlock {
            room,
            pool: self.clone(),
        })
    }

    pub(super) fn layout(&self) -> KvLayout {
        self.0.layout
    }

    /// A block of zeros to read, on the CPU.
    pub(super) fn zeros(&self) -> Result<&[f32]> {
        match &self.0.memory {
            Memory::Cpu { zeros } => Ok(zeros),
            Memory::Device(_) => bail!("the cache is on a device"),
        }
    }

    /// The rows of these blocks one after the other, on a device.
    pub(super) fn rows_of(&self, numbers: &[u32]) -> Result<Tensor> {
        match &self.0.memory {
            Memory::Cpu { .. } => bail!("the cache is on the CPU"),
            Memory::Device(blocks) => blocks.rows_of(numbers),
        }
    }

    /// Blocks that somebody holds.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> usize {
        self.lock().taken
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock leaves the state half changed.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KvBlock {
    pub(super) fn elements(&self) -> Result<&[f32]> {
        match &self.room {
            Room::Elements(elements) => Ok(elements),
            Room::Number(_) => bail!("the block is on a device"),
        }
    }

    pub(super) fn elements_mut(&mut self) -> Result<&mut [f32]> {
        match &mut self.room {
            Room::Elements(elements) => Ok(elements),
            Room::Number(_) => bail!("the block is on a device"),
        }
    }

    /// Which block of the device's memory it is.
    pub(super) fn number(&self) -> Result<u32> {
        match &self.room {
            Room::Elements(_) => bail!("the block is on the CPU"),
            Room::Number(number) => Ok(*number),
        }
    }

    /// Writes rows of keys and values from its token `first` on, on a device.
    pub(super) fn write_rows(&mut self, first: usize, rows: &Tensor) -> Result<()> {
        match &self.pool.0.memory {
            Memory::Cpu { .. } => bail!("the block is on the CPU"),
            Memory::Device(blocks) => blocks.write(self.number()?, first, rows),
        }
    }
}

impl Drop for KvBlock {
    fn drop(&mut self) {
        let room = match (&mut self.room, &self.pool.0.memory) {
            (Room::Elements(elements), _) => {
                // As a slice: the vector keeps its length.
                elements.as_mut_slice().zeroize();
                Room::Elements(std::mem::take(elements))
            }
            (Room::Number(number), Memory::Device(blocks)) => {
                if blocks.wipe(*number).is_err() {
                    // It stays taken.
                    return;
                }
                Room::Number(*number)
            }
            (Room::Number(_), Memory::Cpu { .. }) => return,
        };
        let mut state = self.pool.lock();
        state.taken -= 1;
        state.free.push(room);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::test_places;

    const LAYOUT: KvLayout = KvLayout {
        kv_heads: 2,
        head_width: 4,
    };

    #[test]
    fn what_was_written_is_zero_for_whoever_takes_it_next() {
        let pool = BlockPool::new(LAYOUT, 1, &Place::cpu()).expect("a small block");
        let mut block = pool.take().expect("there is one");
        LAYOUT
            .write(block.elements_mut().expect("on the CPU"), 3, &[1.0; 8], &[2.0; 8])
            .expect("it fits");
        let elements = block.elements().expect("on the CPU");
        assert_eq!(elements.iter().sum::<f32>(), 24.0);
        let place = elements.as_ptr();
        drop(block);
        let again = pool.take().expect("it came back");
        let elements = again.elements().expect("on the CPU");
        assert_eq!(elements.as_ptr(), place, "the same memory");
        assert!(elements.iter().all(|element| *element == 0.0));
    }

    #[test]
    fn there_are_no_more_than_so_many() {
        let pool = BlockPool::new(LAYOUT, 3, &Place::cpu()).expect("a small block");
        let held: Vec<KvBlock> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!((held.len(), pool.taken()), (3, 3));
        drop(held);
        assert_eq!(pool.taken(), 0);
        assert!(pool.take().is_some());
    }

    #[test]
    fn what_was_written_on_a_device_is_zero_for_whoever_takes_it_next() {
        for place in test_places() {
            let pool = BlockPool::new(LAYOUT, 2, &place).expect("a small pool");
            let mut block = pool.take().expect("there is one");
            let other = pool.take().expect("there is another");
            let number = block.number().expect("on a device");
            let device = place.device().expect("it is one").device();
            let ones = Tensor::ones((2, 16), candle_core::DType::F32, device).expect("rows");
            block.write_rows(3, &ones).expect("it fits");
            let sum = || -> f32 {
                let sum = pool.rows_of(&[number]).and_then(|rows| rows.sum_all());
                sum.and_then(|sum| sum.to_scalar()).expect("rows")
            };
            assert_eq!(sum(), 32.0);
            assert!(pool.take().is_none(), "there are two");
            drop(block);
            let again = pool.take().expect("it came back");
            assert_eq!(again.number().expect("on a device"), number, "the same memory");
            assert_eq!(sum(), 0.0);
            drop((again, other));
            assert_eq!(pool.taken(), 0);
        }
    }

    #[test]
    fn blocks_are_not_mistaken_for_those_of_another_place() {
        let on_device = BlockPool::new(LAYOUT, 1, &Place::on(candle_core::Device::Cpu));
        let on_device = on_device.expect("a small pool");
        let on_cpu = BlockPool::new(LAYOUT, 1, &Place::cpu()).expect("a small block");
        let mut block = on_device.take().expect("there is one");
        assert!(block.elements().is_err() && block.elements_mut().is_err() && on_device.zeros().is_err());
        let block = on_cpu.take().expect("there is one");
        assert!(block.number().is_err() && on_cpu.rows_of(&[0]).is_err());
    }
}
