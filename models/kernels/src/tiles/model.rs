//! The tile instructions in plain arithmetic, after Intel's Software Developer's Manual, volume 2 (TDPBSUD,
//! TDPBF16PS, TILELOADD).

use super::{Sums, TILE_BYTES, TILE_ROWS, Tiles};

pub(crate) struct Model {
    depth: usize,
    tiles: [[[u8; TILE_BYTES]; TILE_ROWS]; 8],
}

impl Model {
    fn word(&self, tile: usize, row: usize, word: usize) -> [u8; 4] {
        let words = self.tiles[tile][row].as_chunks().0;
        words[word]
    }

    fn set_word(&mut self, tile: usize, row: usize, word: usize, value: [u8; 4]) {
        let words = self.tiles[tile][row].as_chunks_mut().0;
        words[word] = value;
    }

    /// Calls `dot(sum, x word, weights word)` for every element of the sums and every word of the depth.
    fn for_each(
        &mut self,
        [sums, x, weights]: [usize; 3],
        dot: impl Fn([u8; 4], &mut dyn Iterator<Item = ([u8; 4], [u8; 4])>) -> [u8; 4],
    ) {
        for row in 0..TILE_ROWS {
            for lane in 0..TILE_ROWS {
                let words = |k| (self.word(x, row, k), self.word(weights, k, lane));
                let sum = dot(self.word(sums, row, lane), &mut (0..self.depth / 4).map(words));
                self.set_word(sums, row, lane, sum);
            }
        }
    }
}

impl Tiles for Model {
    fn begin(depth: usize) -> Self {
        Self {
            depth,
            tiles: [[[0; TILE_BYTES]; TILE_ROWS]; 8],
        }
    }

    fn zero<const SUMS: usize>(&mut self) {
        self.tiles[SUMS] = [[0; TILE_BYTES]; TILE_ROWS];
    }

    fn load_x<const X: usize>(&mut self, rows: &[u8], stride: usize) {
        self.tiles[X] = [[0; TILE_BYTES]; TILE_ROWS];
        for (row, tile) in self.tiles[X].iter_mut().enumerate() {
            tile[..self.depth].copy_from_slice(&rows[row * stride..][..self.depth]);
        }
    }

    fn load_weights<const WEIGHTS: usize>(&mut self, rows: &[[u8; TILE_BYTES]]) {
        self.tiles[WEIGHTS] = [[0; TILE_BYTES]; TILE_ROWS];
        self.tiles[WEIGHTS][..self.depth / 4].copy_from_slice(&rows[..self.depth / 4]);
    }

    fn load_weights_bf16<const WEIGHTS: usize>(&mut self, rows: &[[u16; TILE_BYTES / 2]]) {
        self.tiles[WEIGHTS] = [[0; TILE_BYTES]; TILE_ROWS];
        for (tile, row) in self.tiles[WEIGHTS].iter_mut().zip(&rows[..self.depth / 4]) {
            for (tile, value) in tile.as_chunks_mut().0.iter_mut().zip(row) {
                *tile = value.to_le_bytes();
            }
        }
    }

    fn dot_bytes<const SUMS: usize, const X: usize, const WEIGHTS: usize>(&mut self) {
        self.for_each([SUMS, X, WEIGHTS], |sum, words| {
            let mut sum = i32::from_le_bytes(sum);
            for (x, weights) in words {
                for (x, weight) in x.into_iter().zip(weights) {
                    sum = sum.wrapping_add(i32::from(x.cast_signed()) * i32::from(weight));
                }
            }
            sum.to_le_bytes()
        });
    }

    fn dot_bf16<const SUMS: usize, const X: usize, const WEIGHTS: usize>(&mut self) {
        let halves = |word: [u8; 4]| {
            let word = u32::from_le_bytes(word);
            [
                flush(f32::from_bits(word << 16)),
                flush(f32::from_bits(word & 0xffff_0000)),
            ]
        };
        self.for_each([SUMS, X, WEIGHTS], |sum, words| {
            let mut places = [0.0_f32; 2];
            for (x, weights) in words {
                for ((place, x), weight) in places.iter_mut().zip(halves(x)).zip(halves(weights)) {
                    *place = flush(x.mul_add(weight, *place));
                }
            }
            let sum = flush(f32::from_le_bytes(sum)) + flush(places[0] + places[1]);
            flush(sum).to_le_bytes()
        });
    }

    fn store_i32<const SUMS: usize>(&mut self, to: &mut Sums<i32>) {
        for (row, to) in to.iter_mut().enumerate() {
            for (lane, to) in to.iter_mut().enumerate() {
                *to = i32::from_le_bytes(self.word(SUMS, row, lane));
            }
        }
    }

    fn store_f32<const SUMS: usize>(&mut self, to: &mut Sums<f32>) {
        for (row, to) in to.iter_mut().enumerate() {
            for (lane, to) in to.iter_mut().enumerate() {
                *to = f32::from_le_bytes(self.word(SUMS, row, lane));
            }
        }
    }
}

/// Subnormals are zeros to these instructions.
fn flush(value: f32) -> f32 {
    if value.is_subnormal() {
        0.0_f32.copysign(value)
    } else {
        value
    }
}
