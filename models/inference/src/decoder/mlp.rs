//! The second half of a layer: one gated MLP, or a mixture of them.

use candle_core::{Result, Tensor, bail};

use super::linear::Linear;
use super::ops::{ExpertRows, gated, values_of};
use crate::checkpoint::Checkpoint;
use crate::config::{Activation, DecoderConfig, ExpertsConfig, ExpertsLayout, MlpConfig, Shares};
use crate::error::InferenceError;
use crate::place::Place;

pub(super) enum Mlp {
    Dense(Gated),
    Experts(Experts),
}

/// `down(activation(gate x) * up x)`; gate and up are one product.
pub(super) struct Gated {
    gate_up: Linear,
    down: Linear,
    activation: Activation,
    place: Place,
}

/// A router and the experts it chooses from.
pub(super) struct Experts {
    router: Linear,
    experts: Vec<Gated>,
    per_token: usize,
    shares: Shares,
    place: Place,
}

impl Mlp {
    pub(super) fn load(
        config: &DecoderConfig,
        mlp: &MlpConfig,
        checkpoint: &mut Checkpoint<'_>,
        prefix: &str,
    ) -> std::result::Result<Self, InferenceError> {
        match mlp {
            MlpConfig::Dense { intermediate } => {
                Gated::load(config, *intermediate, config.mlp_bias, checkpoint, prefix).map(Self::Dense)
            }
            MlpConfig::Experts(experts) => {
                Experts::load(config, experts, checkpoint, prefix).map(Self::Experts)
            }
        }
    }

    /// `x` is (rows, hidden).
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Dense(gated) => gated.forward(x),
            Self::Experts(experts) => experts.forward(x),
        }
    }
}

impl Gated {
    fn load(
        config: &DecoderConfig,
        intermediate: usize,
        bias: bool,
        checkpoint: &mut Checkpoint<'_>,
        prefix: &str,
    ) -> std::result::Result<Self, InferenceError> {
        let names =
            ["gate_proj", "up_proj", "down_proj", "gate_up_proj"].map(|name| format!("{prefix}.{name}"));
        let [gate, up, down, gate_up] = names.each_ref().map(String::as_str);
        let parts: &[(&str, usize)] = if checkpoint.has(&format!("{gate_up}.weight")) {
            &[(gate_up, 2 * intermediate)]
        } else {
            &[(gate, intermediate), (up, intermediate)]
        };
        Ok(Self {
            gate_up: Linear::load(checkpoint, parts, config.hidden, bias)?,
            down: Linear::load(checkpoint, &[(down, config.hidden)], intermediate, bias)?,
            activation: config.activation,
            place: checkpoint.place().clone(),
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let inner = gated(&self.gate_up.forward(x)?, self.activation, &self.place)?;
        self.down.forward(&inner)
    }
}

impl Experts {
    fn load(
        config: &DecoderConfig,
        experts: &ExpertsConfig,
        checkpoint: &mut Checkpoint<'_>,
        prefix: &str,
    ) -> std::result::Result<Self, InferenceError> {
        let (router, biased) = match experts.layout {
            ExpertsLayout::PerExpert => {
                checkpoint.split_experts(prefix, experts, config.hidden)?;
                ("gate", false)
            }
            ExpertsLayout::Transposed => {
                checkpoint.split_transposed_experts(prefix, experts, config.hidden)?;
                ("router", true)
            }
        };
        let router = format!("{prefix}.{router}");
        let router = Linear::load(checkpoint, &[(&router, experts.count)], config.hidden, biased)?;
        let load = |expert| {
            let prefix = format!("{prefix}.experts.{expert}");
            Gated::load(config, experts.intermediate, biased, checkpoint, &prefix)
        };
        Ok(Self {
            router,
            experts: (0..experts.count)
                .map(load)
                .collect::<std::result::Result<_, _>>()?,
            per_token: experts.per_token,
            shares: experts.shares,
            place: checkpoint.place().clone(),
        })
    }

    /// Each expert computes its rows together. A row's sum goes through its experts in their order, whatever
    /// other rows there are.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let logits = values_of(&self.router.forward(x)?)?;
        let mut chosen: Vec<Vec<(usize, f32)>> = vec![Vec::new(); self.experts.len()];
        for (row, logits) in logits.chunks_exact(self.experts.len()).enumerate() {
            if logits.iter().any(|logit| logit.is_nan()) {
                bail!("the router gave no number");
            }
            for (expert, share) in choose(logits, self.per_token, self.shares) {
                chosen[expert].push((row, share));
            }
        }
        let mut rows = ExpertRows::new(x, &self.place)?;
        for (expert, chosen) in self.experts.iter().zip(&chosen) {
            if !chosen.is_empty() {
                let output = expert.forward(&rows.gather(chosen)?)?;
                rows.add(chosen, &output)?;
            }
        }
        rows.into_sum()
    }
}

/// The experts of one row with their shares. Ties go to the smaller number.
fn choose(logits: &[f32], per_token: usize, shares: Shares) -> Vec<(usize, f32)> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
    let largest = logits[order[0]];
    let weight = |expert: usize| (logits[expert] - largest).exp();
    let total_of_all: f32 = (0..logits.len()).map(weight).sum();
    order.truncate(per_token);
    let total_of_chosen: f32 = order.iter().map(|expert| weight(*expert)).sum();
    let share = |expert: usize| match shares {
        Shares::Kept => weight(expert) / total_of_all,
        Shares::Normalised | Shares::Chosen => weight(expert) / total_of_chosen,
    };
    order.iter().map(|expert| (*expert, share(*expert))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_all_or_of_the_chosen() {
        let logits = [0.0, 2.0_f32.ln(), 0.0, 3.0_f32.ln()];
        let close = |found: Vec<(usize, f32)>, expected: [(usize, f32); 2]| {
            assert_eq!(found.len(), 2);
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    found.0 == expected.0 && (found.1 - expected.1).abs() < 1e-6,
                    "{found:?}"
                );
            }
        };
        close(choose(&logits, 2, Shares::Kept), [(3, 3.0 / 7.0), (1, 2.0 / 7.0)]);
        close(choose(&logits, 2, Shares::Chosen), [(3, 0.6), (1, 0.4)]);
        close(choose(&logits, 2, Shares::Normalised), [(3, 0.6), (1, 0.4)]);
    }

    #[test]
    fn equals_go_to_the_smaller_number() {
        let chosen = choose(&[1.0; 5], 2, Shares::Chosen);
        assert_eq!(
            chosen.iter().map(|(expert, _)| *expert).collect::<Vec<_>>(),
            [0, 1]
        );
    }
}
