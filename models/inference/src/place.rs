//! Where a model is computed.

#[cfg(not(any(test, feature = "cuda")))]
use std::convert::Infallible;

use candle_core::Device;

#[cfg(feature = "cuda")]
use crate::error::{InferenceError, words_of};

/// Where the weights and the cache of a model are, and what computes with them.
#[derive(Clone, Default)]
pub struct Place {
    /// `None`: the CPU, by `adyton-kernels`.
    device: Option<OnDevice>,
}

/// A device of the tensor library. What computes there holds one.
///
/// Without the feature there is none: the type has no value then, nor has what holds one, and the compiler leaves out what
/// would compute there. So the enclave's executable is no larger for it.
#[derive(Clone)]
pub(crate) struct OnDevice {
    device: Device,
    #[cfg(not(any(test, feature = "cuda")))]
    _never: Infallible,
}

impl OnDevice {
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// The library's CPU.
    #[cfg(test)]
    pub(crate) fn cpu() -> Self {
        Self { device: Device::Cpu }
    }
}

impl Place {
    /// The CPU, with this project's own kernels. The default.
    pub fn cpu() -> Self {
        Self::default()
    }

    /// The NVIDIA GPU of that number, with the operations of the tensor library.
    ///
    /// # Errors
    /// `device-missing`: no such GPU, or no driver for it.
    #[cfg(feature = "cuda")]
    pub fn cuda(number: usize) -> Result<Self, InferenceError> {
        let missing = |error: candle_core::Error| InferenceError::DeviceMissing {
            reason: words_of(&error),
        };
        // One stream for all threads: what one of them writes (weights, a cache's zeros) another one reads. The library's
        // other constructor gives each thread a stream of its own, and nothing would order them.
        Device::new_cuda_with_stream(number)
            .map(Self::on)
            .map_err(missing)
    }

    /// Any device of the tensor library, its CPU among them: so tests need no GPU.
    #[cfg(any(test, feature = "cuda"))]
    pub(crate) fn on(device: Device) -> Self {
        Self {
            device: Some(OnDevice { device }),
        }
    }

    /// The tensor library's device, where it computes.
    pub(crate) fn device(&self) -> Option<&OnDevice> {
        self.device.as_ref()
    }
}

/// Devices that tests compute on: the library's CPU always, and with the feature a GPU where there is one.
#[cfg(test)]
#[allow(clippy::print_stdout, reason = "it says what it did not run")]
pub(crate) fn test_places() -> Vec<Place> {
    #[cfg_attr(not(feature = "cuda"), allow(unused_mut, reason = "the feature adds one"))]
    let mut places = vec![Place::on(Device::Cpu)];
    #[cfg(feature = "cuda")]
    match Place::cuda(0) {
        Ok(place) => places.push(place),
        Err(error) => println!("NOT RUN: no CUDA device ({error})"),
    }
    places
}
