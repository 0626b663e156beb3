//! A matrix product with weights. The one place that kernels for other weight formats will replace.

use candle_core::{Result, Tensor};

use super::ops::product;
use crate::checkpoint::Checkpoint;
use crate::error::InferenceError;

/// `x W^T + b`; the weight is stored as checkpoints have it, one row per output.
pub(super) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    pub(super) fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    /// Loads `NAME.weight` (and `NAME.bias`) of each part, stacked so that one product computes all.
    pub(super) fn load(
        checkpoint: &mut Checkpoint<'_>,
        parts: &[(&str, usize)],
        inputs: usize,
        bias: bool,
    ) -> std::result::Result<Self, InferenceError> {
        let named = |suffix: &str| -> Vec<(String, usize)> {
            parts
                .iter()
                .map(|(name, rows)| (format!("{name}.{suffix}"), *rows))
                .collect()
        };
        fn borrowed(parts: &[(String, usize)]) -> Vec<(&str, usize)> {
            parts.iter().map(|(name, rows)| (name.as_str(), *rows)).collect()
        }
        let weight = checkpoint.matrices(&borrowed(&named("weight")), inputs)?;
        let bias = if bias {
            Some(checkpoint.vectors(&borrowed(&named("bias")))?)
        } else {
            None
        };
        Ok(Self { weight, bias })
    }

    /// `x` is (rows, inputs).
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let product = product(x, &self.weight)?;
        match &self.bias {
            Some(bias) => product.broadcast_add(bias),
            None => Ok(product),
        }
    }
}
