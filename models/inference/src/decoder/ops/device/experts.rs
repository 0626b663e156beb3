//! Rows on their way to experts and back. Which expert a row goes to is decided on the CPU.

use candle_core::{Result, Tensor};

use crate::place::OnDevice;

/// See [`ExpertRows`](crate::decoder::ops::ExpertRows).
pub(crate) struct ExpertRows {
    x: Tensor,
    sum: Tensor,
    device: OnDevice,
}

impl ExpertRows {
    pub(crate) fn new(x: &Tensor, device: &OnDevice) -> Result<Self> {
        Ok(Self {
            x: x.clone(),
            sum: x.zeros_like()?,
            device: device.clone(),
        })
    }

    pub(crate) fn gather(&self, chosen: &[(usize, f32)]) -> Result<Tensor> {
        self.x.index_select(&self.numbers(chosen)?, 0)
    }

    pub(crate) fn add(&mut self, chosen: &[(usize, f32)], output: &Tensor) -> Result<()> {
        let shares: Vec<f32> = chosen.iter().map(|(_, share)| *share).collect();
        let shares = Tensor::from_vec(shares, (chosen.len(), 1), self.device.device())?;
        let output = output.broadcast_mul(&shares)?;
        self.sum = self.sum.index_add(&self.numbers(chosen)?, &output, 0)?;
        Ok(())
    }

    pub(crate) fn into_sum(self) -> Tensor {
        self.sum
    }

    fn numbers(&self, chosen: &[(usize, f32)]) -> Result<Tensor> {
        let numbers: Vec<u32> = chosen.iter().map(|(row, _)| *row as u32).collect();
        Tensor::from_vec(numbers, chosen.len(), self.device.device())
    }
}
