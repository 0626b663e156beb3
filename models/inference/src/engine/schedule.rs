//! Who is computed: requests wait in a line for each tenant, and tenants take turns.
//!
//! - A request is active when it has one of the slots and its worst case of cache blocks is set aside, so that no pass
//!   ever runs out of blocks.
//! - A free slot goes to the tenant with the fewest active requests, among equals to the one that waits longest for its
//!   turn; within a tenant in the order of arrival. Nobody overtakes who is next but does not fit yet.
//! - Where a tenant has two active requests more than one that waits, its newest is set back: it gives up slot and
//!   cache, and continues later where it was. Where there is no such difference, one that was active for
//!   [`TURNS_UNDISTURBED`] turns is set back for a tenant with fewer. So a tenant waits for a bounded number of turns,
//!   however many requests others have, and a request that is set back loses time only: computed again, its tokens
//!   have the same bits.

use std::collections::{HashMap, VecDeque};

use super::sequence::Sequence;
use super::turn::{self, Turns};
use crate::admission::Tenant;
use crate::error::InferenceError;

/// Turns that an active request has for sure while a tenant with fewer waits: as many as make computing it again a small
/// part of them.
pub(super) const TURNS_UNDISTURBED: usize = 256;

/// Who is active, and who waits.
pub(super) struct Schedule {
    /// In the order in which it is their turn; none is empty.
    lines: VecDeque<Line>,
    /// In the order in which they became active.
    active: Vec<Sequence>,
    slots: usize,
    blocks_max: usize,
}

/// The waiting requests of one tenant, the next one first.
struct Line {
    tenant: Tenant,
    waiting: VecDeque<Sequence>,
}

impl Schedule {
    pub(super) fn new(slots: usize, blocks_max: usize) -> Self {
        Self {
            lines: VecDeque::new(),
            active: Vec::with_capacity(slots),
            slots,
            blocks_max,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.active.is_empty() && self.lines.is_empty()
    }

    /// The last of its tenant's line.
    pub(super) fn arrive(&mut self, sequence: Sequence) {
        self.line(sequence.tenant().clone()).push_back(sequence);
    }

    fn line(&mut self, tenant: Tenant) -> &mut VecDeque<Sequence> {
        let index = match self.lines.iter().position(|line| line.tenant == tenant) {
            Some(index) => index,
            None => {
                self.lines.push_back(Line {
                    tenant,
                    waiting: VecDeque::new(),
                });
                self.lines.len() - 1
            }
        };
        &mut self.lines[index].waiting
    }

    /// Frees what is held for requests that nobody waits for.
    pub(super) fn drop_cancelled(&mut self) {
        self.active.retain(|sequence| !sequence.is_cancelled());
        for line in &mut self.lines {
            line.waiting.retain(|sequence| !sequence.is_cancelled());
        }
        self.lines.retain(|line| !line.waiting.is_empty());
    }

    /// Fills the slots.
    pub(super) fn admit(&mut self) {
        while let Some(index) = self.next_line()
            && let Some(mut line) = self.lines.remove(index)
        {
            let Some(mut next) = line.waiting.pop_front() else {
                continue;
            };
            match self.room_for(&next) {
                Some(set_back) => {
                    self.set_back(set_back);
                    next.activate();
                    self.active.push(next);
                }
                None if self.active.is_empty() => {
                    // It would wait for ever. The engine lets none like it in.
                    next.fail(InferenceError::Overloaded);
                }
                None => {
                    line.waiting.push_front(next);
                    self.lines.insert(index, line);
                    return;
                }
            }
            if !line.waiting.is_empty() {
                self.lines.push_back(line);
            }
        }
    }

    /// The line whose turn it is.
    fn next_line(&self) -> Option<usize> {
        let counts = self.active_of_tenants();
        let active = |line: &Line| counts.get(&line.tenant).copied().unwrap_or(0);
        (0..self.lines.len()).min_by_key(|index| active(&self.lines[*index]))
    }

    fn active_of_tenants(&self) -> HashMap<&Tenant, usize> {
        let mut counts = HashMap::new();
        for sequence in &self.active {
            *counts.entry(sequence.tenant()).or_insert(0) += 1;
        }
        counts
    }

    /// Which active requests have to be set back so that `next` becomes active; `None` where it has to wait.
    fn room_for(&self, next: &Sequence) -> Option<Vec<usize>> {
        let mut counts = self.active_of_tenants();
        let own = counts.get(next.tenant()).copied().unwrap_or(0);
        let blocks = self.active.iter().map(Sequence::blocks_max).sum::<usize>();
        let (mut slots, mut blocks) = (self.active.len() + 1, blocks.saturating_add(next.blocks_max()));
        let mut set_back = Vec::new();
        while slots > self.slots || blocks > self.blocks_max {
            let index = (0..self.active.len())
                .filter(|index| !set_back.contains(index))
                .filter(|index| {
                    let sequence = &self.active[*index];
                    let count = counts[sequence.tenant()];
                    count >= own + 2 || (count > own && sequence.turns() >= TURNS_UNDISTURBED)
                })
                .max_by_key(|index| (counts[self.active[*index].tenant()], *index))?;
            let sequence = &self.active[index];
            counts.entry(sequence.tenant()).and_modify(|count| *count -= 1);
            slots -= 1;
            blocks -= sequence.blocks_max();
            set_back.push(index);
        }
        Some(set_back)
    }

    /// They are the next of their tenants, in their order.
    fn set_back(&mut self, mut indices: Vec<usize>) {
        indices.sort_unstable();
        for index in indices.into_iter().rev() {
            let mut sequence = self.active.remove(index);
            sequence.set_back();
            let tenant = sequence.tenant().clone();
            self.line(tenant).push_front(sequence);
        }
    }

    /// One pass with those that are active.
    pub(super) fn take_turn(&mut self, turns: &mut Turns) {
        self.active = turn::take(std::mem::take(&mut self.active), turns);
    }

    /// Everybody, active or not.
    pub(super) fn into_sequences(self) -> impl Iterator<Item = Sequence> {
        let waiting = self.lines.into_iter().flat_map(|line| line.waiting);
        self.active.into_iter().chain(waiting)
    }
}
