//! How probable the model itself held a token, and which it held more probable.

use zeroize::Zeroizing;

/// What is said of a token that has no share at all; OpenAI writes the same.
const LEAST: f32 = -9999.0;

/// Natural logarithms of probabilities, of the logits as the model gave them: before biases, penalties, constraint,
/// temperature and filters.
pub(crate) struct LogProbabilities {
    /// Of the chosen token.
    pub(crate) chosen: f32,
    /// The most probable tokens, most probable first.
    pub(crate) top: Zeroizing<Vec<(u32, f32)>>,
}

impl LogProbabilities {
    /// Those of `chosen` and of the `top` most probable; equal ones by identifier.
    pub(crate) fn of(logits: &[f32], chosen: u32, top: usize) -> Self {
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|logit| f64::from(logit - max).exp()).sum();
        let of = |logit: f32| ((f64::from(logit - max) - sum.ln()) as f32).max(LEAST);
        let mut best: Zeroizing<Vec<(u32, f32)>> = Zeroizing::new(Vec::with_capacity(top + 1));
        if top > 0 {
            for (token, logit) in (0_u32..).zip(logits) {
                if best.len() == top && best.last().is_some_and(|(_, least)| logit <= least) {
                    continue;
                }
                let place = best.partition_point(|(_, better)| better >= logit);
                best.insert(place, (token, *logit));
                best.truncate(top);
            }
        }
        for (_, logit) in best.iter_mut() {
            *logit = of(*logit);
        }
        let chosen = logits.get(chosen as usize).map_or(LEAST, |logit| of(*logit));
        Self { chosen, top: best }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_the_softmax_in_order() {
        let logits = [1.0, 3.0, f32::NEG_INFINITY, 3.0, 0.0];
        let found = LogProbabilities::of(&logits, 2, 3);
        assert_eq!(found.chosen, LEAST);
        let tokens: Vec<u32> = found.top.iter().map(|(token, _)| *token).collect();
        assert_eq!(tokens, [1, 3, 0], "equal ones by identifier");
        let total: f64 = [1.0_f64, 3.0, 3.0, 0.0].iter().map(|logit| logit.exp()).sum();
        assert!((f64::from(found.top[0].1) - (3.0 - total.ln())).abs() < 1e-6);
        assert!(LogProbabilities::of(&logits, 1, 0).top.is_empty());
        assert_eq!(LogProbabilities::of(&logits, 1, 9).top.len(), 5);
    }
}
