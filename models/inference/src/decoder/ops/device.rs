//! The same operations, written in those of the tensor library, so that they run on any of its devices.
//!
//! Each of them is several launches of small kernels, and reads and writes its operands each time; what is fused is
//! inside the library's products. Rows of a batch may differ in their last bits from the same rows alone: the library
//! chooses its products by the number of rows.

mod blocks;
mod experts;
mod gate;
mod heads;
mod norm;
mod product;
mod rotary;

pub(crate) use blocks::Blocks;
pub(crate) use experts::ExpertRows;
pub(crate) use gate::{gated, softcap};
pub(crate) use heads::Heads;
pub(crate) use norm::RmsNorm;
pub(crate) use product::Weights;
pub(crate) use rotary::Rotation;

use candle_core::{Shape, Tensor};

use crate::error::{InferenceError, words_of};
use crate::place::OnDevice;

/// Numbers of a checkpoint, on the device.
pub(crate) fn upload(
    values: Vec<f32>,
    shape: impl Into<Shape>,
    device: &OnDevice,
) -> Result<Tensor, InferenceError> {
    let bytes = size_of_val(values.as_slice());
    Tensor::from_vec(values, shape, device.device()).map_err(refused(bytes))
}

/// What a device that does not take `bytes` is reported as.
pub(crate) fn refused(bytes: usize) -> impl Fn(candle_core::Error) -> InferenceError {
    move |error| InferenceError::DeviceRefused {
        bytes,
        reason: words_of(&error),
    }
}
