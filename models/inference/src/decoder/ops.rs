//! The operations that the decoder is made of. Each knows where its weights are, and computes there:
//!
//! | | `cpu` | `device` |
//! |---|---|---|
//! | by | `adyton-kernels` and loops over slices | operations of the tensor library |
//! | on | the CPU | any device of the library; a GPU in use, the CPU in tests |
//! | weights | packed | as in the file, or quantised tensors of the library |
//! | activations between products | f32 | f32 |
//!
//! The layers above are written once. What one place has made is never given to the other.

pub(crate) mod cpu;
pub(crate) mod device;

use candle_core::{Result, Storage, Tensor, bail};
use kernels::Part;

pub(crate) use self::cpu::RotaryTable;
use super::batch::Rows;
use crate::config::Activation;
use crate::error::InferenceError;
use crate::place::Place;

/// A matrix of weights, one row per output. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Weights {
    Cpu(cpu::Weights),
    Device(device::Weights),
}

impl Weights {
    /// `x W^T`; `x` is (rows, inputs) in f32.
    pub(crate) fn product(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Cpu(weights) => weights.product(x),
            Self::Device(weights) => weights.product(x),
        }
    }

    /// Some rows of the weights themselves: (indices, inputs) in f32.
    pub(crate) fn rows(&self, indices: &[u32]) -> Result<Tensor> {
        match self {
            Self::Cpu(weights) => weights.rows(indices),
            Self::Device(weights) => weights.rows(indices),
        }
    }

    /// The parts of a checkpoint one below the other, at `place`. `named` makes an error of a shape that does not fit.
    pub(crate) fn load(
        parts: &[Part<'_>],
        inputs: usize,
        place: &Place,
        named: impl Fn(&str) -> InferenceError,
    ) -> std::result::Result<Self, InferenceError> {
        match place.device() {
            None => cpu::Weights::pack(parts, inputs)
                .map(Self::Cpu)
                .map_err(|error| named(&error.to_string())),
            Some(device) => device::Weights::load(parts, inputs, device, named).map(Self::Device),
        }
    }
}

/// `x / sqrt(mean(x^2) + epsilon) * weight`, per row.
pub(crate) enum RmsNorm {
    Cpu(cpu::RmsNorm),
    Device(device::RmsNorm),
}

impl RmsNorm {
    /// `offset` is added to the weights: some checkpoints store them less one.
    pub(crate) fn load(
        weight: Vec<f32>,
        offset: f32,
        epsilon: f32,
        place: &Place,
    ) -> std::result::Result<Self, InferenceError> {
        match place.device() {
            None => Ok(Self::Cpu(cpu::RmsNorm::new(weight, offset, epsilon))),
            Some(device) => device::RmsNorm::load(weight, offset, epsilon, device).map(Self::Device),
        }
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Cpu(norm) => norm.forward(x),
            Self::Device(norm) => norm.forward(x),
        }
    }
}

/// Cosines and sines of the positions of one pass, shared by all layers.
pub(crate) enum Rotation {
    Cpu(cpu::Rotation),
    Device(device::Rotation),
}

impl Rotation {
    /// `sequences` gives first position, rows, and length after the pass.
    pub(crate) fn new(
        table: &RotaryTable,
        sequences: impl Iterator<Item = (usize, usize, usize)>,
        head_dim: usize,
        place: &Place,
    ) -> Result<Self> {
        let rotation = cpu::Rotation::new(table, sequences);
        match place.device() {
            None => Ok(Self::Cpu(rotation)),
            Some(device) => device::Rotation::new(&rotation, head_dim, device).map(Self::Device),
        }
    }
}

/// The numbers of attention in one layer.
#[derive(Clone, Copy)]
pub(crate) struct HeadShape {
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) scale: f32,
    pub(crate) softcap: Option<f32>,
    pub(crate) window: Option<usize>,
}

impl HeadShape {
    /// Elements of the queries in a row.
    pub(crate) fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Elements of the keys in a row, and of the values.
    pub(crate) fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

/// What a checkpoint has for heads beside the products.
pub(crate) struct HeadWeights {
    /// Norms of queries and keys.
    pub(crate) norms: Option<[Vec<f32>; 2]>,
    pub(crate) norm_offset: f32,
    pub(crate) norm_epsilon: f32,
    /// A logit per head that takes part in the softmax and has no value.
    pub(crate) sinks: Option<Vec<f32>>,
}

/// Attention between its products: norms per head, rotary positions, the cache, scores and mixed values.
pub(crate) enum Heads {
    Cpu(cpu::Heads),
    Device(device::Heads),
}

impl Heads {
    pub(crate) fn load(
        shape: HeadShape,
        weights: HeadWeights,
        place: &Place,
    ) -> std::result::Result<Self, InferenceError> {
        match place.device() {
            None => Ok(Self::Cpu(cpu::Heads::new(shape, weights))),
            Some(device) => device::Heads::load(shape, weights, device).map(Self::Device),
        }
    }

    /// `fused` is (rows, queries and keys and values). Keys and values of each row go into the cache of its sequence.
    pub(in crate::decoder) fn attend(
        &self,
        fused: &Tensor,
        rotation: Option<&Rotation>,
        rows: &mut Rows<'_, '_>,
        layer: usize,
    ) -> Result<Tensor> {
        match (self, rotation) {
            (Self::Cpu(heads), None) => heads.attend(fused, None, rows, layer),
            (Self::Cpu(heads), Some(Rotation::Cpu(rotation))) => {
                heads.attend(fused, Some(rotation), rows, layer)
            }
            (Self::Device(heads), None) => heads.attend(fused, None, rows, layer),
            (Self::Device(heads), Some(Rotation::Device(rotation))) => {
                heads.attend(fused, Some(rotation), rows, layer)
            }
            _ => bail!("the rotation was made at another place"),
        }
    }
}

/// The rows of a pass as experts take them, and the sum of what they give back.
pub(crate) enum ExpertRows {
    Cpu(cpu::ExpertRows),
    Device(device::ExpertRows),
}

impl ExpertRows {
    /// `x` is (rows, hidden).
    pub(crate) fn new(x: &Tensor, place: &Place) -> Result<Self> {
        match place.device() {
            None => cpu::ExpertRows::new(x).map(Self::Cpu),
            Some(device) => device::ExpertRows::new(x, device).map(Self::Device),
        }
    }

    /// The rows that chose an expert, each with its share.
    pub(crate) fn gather(&self, chosen: &[(usize, f32)]) -> Result<Tensor> {
        match self {
            Self::Cpu(rows) => rows.gather(chosen),
            Self::Device(rows) => rows.gather(chosen),
        }
    }

    /// Adds what the expert made of them, by their shares.
    pub(crate) fn add(&mut self, chosen: &[(usize, f32)], output: &Tensor) -> Result<()> {
        match self {
            Self::Cpu(rows) => rows.add(chosen, output),
            Self::Device(rows) => rows.add(chosen, output),
        }
    }

    /// The sum, (rows, hidden).
    pub(crate) fn into_sum(self) -> Result<Tensor> {
        match self {
            Self::Cpu(rows) => rows.into_sum(),
            Self::Device(rows) => Ok(rows.into_sum()),
        }
    }
}

/// The activation of the gate times up, where each row of `gate_up` is the gate followed by the up projection.
pub(crate) fn gated(gate_up: &Tensor, activation: Activation, place: &Place) -> Result<Tensor> {
    match place.device() {
        None => cpu::gated(gate_up, activation),
        Some(_) => device::gated(gate_up, activation),
    }
}

/// `cap * tanh(x / cap)`.
pub(crate) fn softcap(x: &Tensor, cap: f32, place: &Place) -> Result<Tensor> {
    match place.device() {
        None => cpu::softcap(x, cap),
        Some(_) => device::softcap(x, cap),
    }
}

/// A copy of the elements, wherever they are.
pub(crate) fn values_of(x: &Tensor) -> Result<Vec<f32>> {
    if matches!(&*x.storage_and_layout().0, Storage::Cpu(_)) {
        return cpu::values_of(x);
    }
    x.flatten_all()?.to_vec1()
}
