//! Where a model is computed.

use candle_core::Device;

#[cfg(feature = "cuda")]
use crate::error::InferenceError;

/// Where the weights and the cache of a model are, and what computes with them.
#[derive(Clone, Default)]
pub struct Place {
    /// `None`: the CPU, by `adyton-kernels`.
    device: Option<Device>,
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
            reason: error.to_string().chars().take(200).collect(),
        };
        // One stream for all threads: what one of them writes (weights, a cache's zeros) another one reads. The library's
        // other constructor gives each thread a stream of its own, and nothing would order them.
        Device::new_cuda_with_stream(number)
            .map(Self::on)
            .map_err(missing)
    }

    /// Any device of the tensor library, the CPU's among them: so tests need no GPU.
    #[cfg_attr(
        not(any(test, feature = "cuda")),
        allow(dead_code, reason = "without the feature only tests choose it")
    )]
    pub(crate) fn on(device: Device) -> Self {
        Self { device: Some(device) }
    }

    /// The tensor library's device, where it computes.
    pub(crate) fn device(&self) -> Option<&Device> {
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
