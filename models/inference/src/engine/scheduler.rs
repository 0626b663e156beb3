//! Whose turn it is. The one place that continuous batching will replace: it will answer with several
//! sequences at once, and the worker will step them together.

use std::collections::VecDeque;

use super::sequence::Sequence;

/// Slots in turn: every active sequence gets one step before any gets a second.
pub(super) struct Scheduler {
    turns: VecDeque<Sequence>,
    slots: usize,
}

impl Scheduler {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            turns: VecDeque::with_capacity(slots),
            slots,
        }
    }

    pub(super) fn has_free_slot(&self) -> bool {
        self.turns.len() < self.slots
    }

    pub(super) fn is_idle(&self) -> bool {
        self.turns.is_empty()
    }

    /// Gives a slot; the new sequence steps after those that are here.
    pub(super) fn admit(&mut self, mut sequence: Sequence) {
        sequence.activate();
        self.turns.push_back(sequence);
    }

    /// The sequence that steps next. It comes back through [`Self::resume`] unless it is done.
    pub(super) fn next(&mut self) -> Option<Sequence> {
        self.turns.pop_front()
    }

    pub(super) fn resume(&mut self, sequence: Sequence) {
        self.turns.push_back(sequence);
    }

    /// Frees the slots of requests that nobody waits for.
    pub(super) fn drop_cancelled(&mut self) {
        self.turns.retain(|sequence| !sequence.is_cancelled());
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Sequence> {
        self.turns.drain(..)
    }
}
