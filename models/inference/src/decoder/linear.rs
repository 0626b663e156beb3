//! A matrix product with weights.

use candle_core::{Result, Tensor};

use super::ops::Weights;
use crate::checkpoint::Checkpoint;
use crate::error::InferenceError;

/// `x W^T + b`; the weight is stored as checkpoints have it, one row per output.
pub(crate) struct Linear {
    weights: Weights,
    bias: Option<Tensor>,
}

impl Linear {
    pub(crate) fn new(weights: Weights) -> Self {
        Self { weights, bias: None }
    }

    /// Loads `NAME.weight` (and `NAME.bias`) of each part, stacked so that one product computes all.
    pub(crate) fn load(
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
        let weights = checkpoint.weights(&borrowed(&named("weight")), inputs)?;
        let bias = if bias {
            Some(checkpoint.vectors(&borrowed(&named("bias")))?)
        } else {
            None
        };
        Ok(Self { weights, bias })
    }

    /// `x` is (rows, inputs).
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let product = self.weights.product(x)?;
        match &self.bias {
            Some(bias) => product.broadcast_add(bias),
            None => Ok(product),
        }
    }
}
