//! The thread that decodes.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::schedule::Schedule;
use super::sequence::Sequence;
use super::turn::Turns;
use crate::error::InferenceError;

/// Requests that have arrived since the last turn. Its bound is the admission's.
pub(super) struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    arrived: VecDeque<Sequence>,
    /// What was kept of earlier requests is to go.
    forget: bool,
    closed: bool,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                arrived: VecDeque::new(),
                forget: false,
                closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    pub(super) fn push(&self, sequence: Sequence) -> Result<(), InferenceError> {
        let mut state = self.lock();
        if state.closed {
            return Err(InferenceError::EngineStopped);
        }
        state.arrived.push_back(sequence);
        self.changed.notify_one();
        Ok(())
    }

    pub(super) fn forget(&self) {
        self.lock().forget = true;
        self.changed.notify_one();
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the schedule what has arrived; waits while there is nothing to do at all. `false` once closed.
    fn deliver(&self, schedule: &mut Schedule, turns: &mut Turns) -> bool {
        let mut state = self.lock();
        loop {
            if state.closed {
                return false;
            }
            if std::mem::take(&mut state.forget) {
                turns.prefixes.forget();
            }
            state
                .arrived
                .drain(..)
                .for_each(|sequence| schedule.arrive(sequence));
            if !schedule.is_empty() {
                return true;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

pub(super) fn spawn(
    turns: Turns,
    schedule: Schedule,
    inbox: Arc<Inbox>,
) -> Result<JoinHandle<()>, InferenceError> {
    let closes = CloseOnDrop(inbox);
    std::thread::Builder::new()
        .name("inference".to_owned())
        .spawn(move || run(turns, schedule, &closes.0))
        .map_err(|_| InferenceError::EngineConfigInvalid {
            reason: "the system gives no thread",
        })
}

/// However the worker ends, nobody waits for it afterwards.
struct CloseOnDrop(Arc<Inbox>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        for sequence in state.arrived.drain(..) {
            sequence.fail(InferenceError::EngineStopped);
        }
    }
}

fn run(mut turns: Turns, mut schedule: Schedule, inbox: &Inbox) {
    while inbox.deliver(&mut schedule, &mut turns) {
        schedule.drop_cancelled();
        schedule.admit();
        schedule.take_turn(&mut turns);
    }
    for sequence in schedule.into_sequences() {
        sequence.fail(InferenceError::EngineStopped);
    }
}
