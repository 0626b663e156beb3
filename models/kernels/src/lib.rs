//! The hot loops of inference on CPUs.
//!
//! Slices in, slices out: no tensors, no files, no requests. Kernels are written once, in terms of sixteen
//! lanes (`simd`), and compiled for each [`Isa`]; a caller asks for [`Isa::best`] once. Results are the same bits for
//! every number of threads and for a row alone or among others; those of products also for every [`Isa`].
//!
//! 1. [`Matrix`] packs the weights of a file ([`Part`], [`Format`]) and multiplies with them
//! 2. [`Ops`] has norms, rotary positions, gates
//! 3. [`attention`] reads a cache of blocks and keeps no scores
//! 4. [`Pool`] runs the parts of each operation on its threads
//!
//! `unsafe` is allowed in the modules that say UNSAFETY: `isa`, `pool`, and the instruction sets under `simd`.

mod aligned;
pub mod attention;
pub mod blocks;
mod error;
mod format;
mod isa;
mod matrix;
mod ops;
mod peak;
mod pool;
mod simd;

pub use error::ShapeError;
pub use format::Format;
pub use isa::Isa;
pub use matrix::{Matrix, Part};
pub use ops::{Activation, Heads, Norm, Ops, Pairs, Rotation};
pub use pool::Pool;
