//! Tiles: registers of sixteen rows of 64 bytes, and products between them (AMX).
//!
//! Packing, layout and tails are written against [`Tiles`], which has two implementations: the instructions, and
//! a model of them in plain arithmetic that runs anywhere. Tests compare the kernels on the model with the other
//! kernels, and the instructions with the model (they say `NOT RUN` where the CPU has none). The instructions have run
//! in an emulator, **not yet on hardware**.
//!
//! Three operands: sums of sixteen rows of x by sixteen outputs; x, rows of up to 64 bytes as they lie in memory;
//! weights as `panels` has them, a row for each four bytes (or two bf16) of all sixteen outputs.

#[cfg(target_arch = "x86_64")]
pub(crate) mod hardware;
pub(crate) mod model;

/// Rows of a tile, and of x that are multiplied together.
pub(crate) const TILE_ROWS: usize = 16;
/// Bytes of a row.
pub(crate) const TILE_BYTES: usize = 64;

/// What a product leaves: a row for each row of x, a lane for each output.
pub(crate) type Sums<T> = [[T; TILE_ROWS]; TILE_ROWS];

/// Eight tiles: 0 to 3 hold sums, 4 and 5 rows of x, 6 and 7 weights.
pub(crate) trait Tiles {
    /// Configures the tiles for products over `depth` bytes of each row: 16, 32 or 64.
    fn begin(depth: usize) -> Self;

    /// Zeros sums.
    fn zero<const SUMS: usize>(&mut self);

    /// Loads sixteen rows of x, `stride` bytes apart, of which `depth` bytes each are used.
    fn load_x<const X: usize>(&mut self, rows: &[u8], stride: usize);

    /// Loads `depth / 4` rows of weights.
    fn load_weights<const WEIGHTS: usize>(&mut self, rows: &[[u8; TILE_BYTES]]);

    /// The same for bf16: a row holds two inputs of each output.
    fn load_weights_bf16<const WEIGHTS: usize>(&mut self, rows: &[[u16; TILE_BYTES / 2]]);

    /// Adds to sums of i32 the products of signed bytes of x with unsigned bytes of weights (TDPBSUD).
    fn dot_bytes<const SUMS: usize, const X: usize, const WEIGHTS: usize>(&mut self);

    /// Adds to sums of f32 the products of bf16 (TDPBF16PS): even and odd places apart, each rounded as it is
    /// added, subnormals as zeros.
    fn dot_bf16<const SUMS: usize, const X: usize, const WEIGHTS: usize>(&mut self);

    /// Reads sums of i32.
    fn store_i32<const SUMS: usize>(&mut self, to: &mut Sums<i32>);

    /// Reads sums of f32.
    fn store_f32<const SUMS: usize>(&mut self, to: &mut Sums<f32>);
}

/// Whether and how products use tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TileSource {
    None,
    Model,
    #[cfg(target_arch = "x86_64")]
    Hardware,
}
