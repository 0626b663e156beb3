//! Rows on their way to experts and back.

use candle_core::{Device, Result, Tensor};

use super::values_of;

/// See [`ExpertRows`](crate::decoder::ops::ExpertRows).
pub(crate) struct ExpertRows {
    x: Vec<f32>,
    sum: Vec<f32>,
    hidden: usize,
}

impl ExpertRows {
    pub(crate) fn new(x: &Tensor) -> Result<Self> {
        let (rows, hidden) = x.dims2()?;
        Ok(Self {
            x: values_of(x)?,
            sum: vec![0.0; rows * hidden],
            hidden,
        })
    }

    pub(crate) fn gather(&self, chosen: &[(usize, f32)]) -> Result<Tensor> {
        let gathered: Vec<f32> = chosen
            .iter()
            .flat_map(|(row, _)| &self.x[row * self.hidden..][..self.hidden])
            .copied()
            .collect();
        Tensor::from_vec(gathered, (chosen.len(), self.hidden), &Device::Cpu)
    }

    pub(crate) fn add(&mut self, chosen: &[(usize, f32)], output: &Tensor) -> Result<()> {
        let output = values_of(output)?;
        for ((row, share), output) in chosen.iter().zip(output.chunks_exact(self.hidden)) {
            let sum = &mut self.sum[row * self.hidden..][..self.hidden];
            sum.iter_mut()
                .zip(output)
                .for_each(|(sum, output)| *sum += output * share);
        }
        Ok(())
    }

    pub(crate) fn into_sum(self) -> Result<Tensor> {
        let rows = self.sum.len() / self.hidden;
        Tensor::from_vec(self.sum, (rows, self.hidden), &Device::Cpu)
    }
}
