//! What a GPU's memory can do, measured by copies within it.

use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};
use inference::InferenceError;

use crate::report::Card;

/// Larger than any cache of a GPU.
const BYTES: usize = 1 << 30;
/// Copies that are started together, so that starting them does not count.
const COPIES: usize = 8;
const BUDGET: Duration = Duration::from_millis(1500);

/// Takes about two seconds, and twice [`BYTES`] of its memory.
pub(crate) fn measure(number: usize) -> Result<Card, InferenceError> {
    let missing = |error: candle_core::Error| InferenceError::DeviceMissing {
        reason: words_of(&error),
    };
    let device = Device::new_cuda_with_stream(number).map_err(missing)?;
    let name = device
        .as_cuda_device()
        .map_err(missing)?
        .cuda_stream()
        .context()
        .name();
    let refused = |error: candle_core::Error| InferenceError::DeviceRefused {
        bytes: 2 * BYTES,
        reason: words_of(&error),
    };
    Ok(Card {
        name: name.unwrap_or_else(|_| "unknown GPU".to_owned()),
        copying: copying(&device).map_err(refused)?,
    })
}

/// The first line: a backtrace may follow.
fn words_of(error: &candle_core::Error) -> String {
    let words = error.to_string();
    words
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(200)
        .collect()
}

/// GB/s of the best of several rounds. A copy reads each byte and writes it.
fn copying(device: &Device) -> candle_core::Result<f64> {
    let source = Tensor::zeros(BYTES, DType::U8, device)?;
    // The first round takes memory, too.
    drop(source.copy()?);
    device.synchronize()?;
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    while begin.elapsed() < BUDGET {
        let start = Instant::now();
        for _ in 0..COPIES {
            drop(source.copy()?);
        }
        device.synchronize()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok((2 * COPIES * BYTES) as f64 / best / 1e9)
}
