//! One turn: who takes part in a forward pass, with how many tokens, and what becomes of it.
//!
//! 1. Every sequence that decodes takes part with its one new token. Those that have more of a prompt to compute
//!    share a bounded number of tokens ([`shares`]), so that nobody who decodes waits long for a long prompt.
//! 2. One pass over all of them: the weights are read once. Each attends to its own cache only, and a row's result
//!    does not depend on the rows beside it.
//! 3. Each gets its logits, chooses a token, and sends what can be shown.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use candle_core::Tensor;

use super::prefix::PrefixCache;
use super::sequence::{Progress, Sequence};
use crate::admission::{Cancellation, Tenant};
use crate::decoder::Interrupt;
use crate::decoder::batch::Part;
use crate::decoder::block_pool::BlockPool;
use crate::error::InferenceError;
use crate::model::Model;

/// What every turn needs.
pub(super) struct Turns {
    pub(super) model: Model,
    pub(super) pool: BlockPool,
    pub(super) prefixes: PrefixCache,
    /// Tokens of prompts in one turn.
    pub(super) prefill_tokens_max: usize,
}

/// Advances the sequences by one pass and returns those that go on, in their order.
pub(super) fn take(mut sequences: Vec<Sequence>, turns: &mut Turns) -> Vec<Sequence> {
    let Turns {
        model,
        pool,
        prefixes,
        prefill_tokens_max,
    } = turns;
    let model = &*model;
    let begun = sequences
        .iter_mut()
        .map(|sequence| guarded(|| sequence.begin(model, pool, prefixes)))
        .collect();
    let mut sequences = going_on(sequences, begun);
    let pending: Vec<(usize, usize)> = sequences
        .iter()
        .map(|sequence| {
            (
                number_of_tenant(&sequences, sequence.tenant()),
                sequence.pending(),
            )
        })
        .collect();
    let shares = shares(&pending, *prefill_tokens_max);
    let computed = compute(&mut sequences, &shares, model);
    for (sequence, computed) in sequences.iter_mut().zip(&computed) {
        // What a fault has left half computed is nobody's.
        if computed.is_ok() && !sequence.is_cancelled() {
            sequence.keep(prefixes);
        }
    }
    let received = sequences
        .iter_mut()
        .zip(computed)
        .map(|(sequence, computed)| match computed? {
            Some(logits) => guarded(|| sequence.receive(&logits, model)),
            None => Ok(Progress::More),
        })
        .collect();
    going_on(sequences, received)
}

fn number_of_tenant(sequences: &[Sequence], tenant: &Tenant) -> usize {
    let of_tenant = |sequence: &Sequence| sequence.tenant() == tenant;
    sequences.iter().position(of_tenant).unwrap_or_default()
}

/// How many tokens of each sequence a turn computes, where `pending` are its tenant and the tokens that it could. One that
/// has no more than its next token is always there. The prompts share `prefill_tokens_max`: each tenant as much as another
/// before one gets more than that, so that a short prompt does not wait for a long one of somebody else. A tenant's own
/// prompts are computed in the order in which they came.
fn shares(pending: &[(usize, usize)], prefill_tokens_max: usize) -> Vec<usize> {
    let mut shares: Vec<usize> = pending.iter().map(|(_, tokens)| (*tokens).min(1)).collect();
    let prompts = || pending.iter().enumerate().filter(|(_, (_, tokens))| *tokens > 1);
    let mut of_tenants: BTreeMap<usize, usize> = BTreeMap::new();
    for (_, (tenant, tokens)) in prompts() {
        *of_tenants.entry(*tenant).or_default() += tokens;
    }
    // From the least to the most wanted: what one does not need is the others'.
    let mut wanted: Vec<(usize, &mut usize)> =
        of_tenants.values_mut().map(|tokens| (*tokens, tokens)).collect();
    wanted.sort_by_key(|(tokens, _)| *tokens);
    let (mut left, mut tenants) = (prefill_tokens_max, wanted.len());
    for (tokens, share) in wanted {
        *share = tokens.min(left.div_ceil(tenants));
        left -= *share;
        tenants -= 1;
    }
    for (index, (tenant, tokens)) in prompts() {
        let left = of_tenants.entry(*tenant).or_default();
        shares[index] = (*tokens).min(*left);
        *left -= shares[index];
    }
    shares
}

/// Logits for those that have computed all their tokens, `None` for those that have not.
type Computed = Result<Option<Tensor>, InferenceError>;

/// One pass. Should it fail as a whole, each takes its tokens alone: a fault ends the sequence that has it, and no other.
fn compute(sequences: &mut [Sequence], shares: &[usize], model: &Model) -> Vec<Computed> {
    let before: Vec<usize> = sequences.iter().map(Sequence::computed).collect();
    if let Ok(computed) = pass(sequences, shares, model) {
        return computed.into_iter().map(Ok).collect();
    }
    let alone = |((sequence, share), before): ((&mut Sequence, &usize), usize)| {
        // A cache that has let go of tokens to compute them again cannot go back.
        if sequence.computed() != before {
            return Err(InferenceError::ComputeFailed);
        }
        let mut computed = pass(std::slice::from_mut(sequence), &[*share], model)?;
        Ok(computed.pop().flatten())
    };
    sequences.iter_mut().zip(shares).zip(before).map(alone).collect()
}

fn pass(
    sequences: &mut [Sequence],
    shares: &[usize],
    model: &Model,
) -> Result<Vec<Option<Tensor>>, InferenceError> {
    let taking_part = sequences.iter().zip(shares).filter(|(_, share)| **share > 0);
    let everybody = Everybody(taking_part.map(|(sequence, _)| sequence.cancellation()).collect());
    let mut indices = Vec::with_capacity(sequences.len());
    let mut parts: Vec<Part<'_>> = Vec::with_capacity(sequences.len());
    let mut computed: Vec<Option<Tensor>> = sequences.iter().map(|_| None).collect();
    for (index, (sequence, share)) in sequences.iter_mut().zip(shares).enumerate() {
        if *share > 0 {
            indices.push(index);
            parts.push(sequence.part(*share)?);
        }
    }
    if parts.is_empty() {
        return Ok(computed);
    }
    let forward = || {
        model
            .decoder()
            .forward(&mut parts, &everybody)
            .map_err(|_| InferenceError::ComputeFailed)
    };
    // Interrupted: all of them are cancelled, and leave before the next turn.
    for (index, logits) in indices.into_iter().zip(guarded(forward)?.into_iter().flatten()) {
        computed[index] = logits;
    }
    Ok(computed)
}

/// Nobody wants the pass any more when everybody in it is cancelled. Were one enough, a tenant could stop the others.
struct Everybody(Vec<Cancellation>);

impl Interrupt for Everybody {
    fn is_interrupted(&self) -> bool {
        self.0.iter().all(Interrupt::is_interrupted)
    }
}

/// A panic in a library ends what panicked and no other: what it may have left half changed is dropped.
fn guarded<T>(work: impl FnOnce() -> Result<T, InferenceError>) -> Result<T, InferenceError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(InferenceError::ComputeFailed))
}

/// Tells those that failed, drops those that are done.
fn going_on(sequences: Vec<Sequence>, progress: Vec<Result<Progress, InferenceError>>) -> Vec<Sequence> {
    let goes_on = |(sequence, progress): (Sequence, Result<Progress, InferenceError>)| match progress {
        Ok(Progress::More) => Some(sequence),
        Ok(Progress::Done) => None,
        Err(error) => {
            sequence.fail(error);
            None
        }
    };
    sequences.into_iter().zip(progress).filter_map(goes_on).collect()
}

#[cfg(test)]
mod tests {
    use super::shares;

    #[test]
    fn who_decodes_is_always_there_and_tenants_share_what_there_is_for_prompts() {
        assert_eq!(shares(&[(0, 1), (0, 1), (2, 1)], 512), [1, 1, 1]);
        assert_eq!(shares(&[(0, 4096), (1, 1), (2, 20)], 512), [492, 1, 20]);
        assert_eq!(shares(&[(0, 4096), (1, 4096), (2, 4096)], 512), [171, 171, 170]);
        assert_eq!(shares(&[(0, 4096), (0, 4096), (2, 4096)], 512), [256, 0, 256]);
        assert_eq!(shares(&[(0, 100), (0, 4096), (2, 4096)], 512), [100, 156, 256]);
        assert_eq!(shares(&[(0, 100)], 512), [100]);
        assert_eq!(shares(&[], 512), [0; 0]);
    }

    #[test]
    fn no_turn_computes_more_of_prompts_than_its_bound_and_every_turn_some() {
        for prefill in 1..40 {
            let mut pending = [(0, 70), (1, 2), (0, 33), (3, 1), (1, 9), (5, 9)];
            while pending.iter().any(|(_, tokens)| *tokens > 1) {
                let shares = shares(&pending, prefill);
                let of_prompts = shares.iter().zip(&pending).filter(|(_, (_, tokens))| *tokens > 1);
                let total: usize = of_prompts.map(|(share, _)| share).sum();
                assert!((1..=prefill).contains(&total), "{shares:?} of {pending:?}");
                for ((_, tokens), share) in pending.iter_mut().zip(&shares) {
                    assert!(*share <= *tokens);
                    // Who has computed all of it decodes from now on.
                    *tokens = (*tokens - share).max(1);
                }
            }
        }
    }
}
