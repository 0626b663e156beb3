//! The thread that decodes.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::EngineConfig;
use super::scheduler::Scheduler;
use super::sequence::{Progress, Sequence};
use crate::error::InferenceError;
use crate::model::Model;

/// Requests that wait for a slot. Its bound is the admission's.
pub(super) struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    waiting: VecDeque<Sequence>,
    closed: bool,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
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
        state.waiting.push_back(sequence);
        self.changed.notify_one();
        Ok(())
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fills free slots; waits while there is nothing to do at all. `false` once closed.
    fn serve(&self, scheduler: &mut Scheduler) -> bool {
        let mut state = self.lock();
        loop {
            if state.closed {
                return false;
            }
            state.waiting.retain(|sequence| !sequence.is_cancelled());
            while scheduler.has_free_slot()
                && let Some(sequence) = state.waiting.pop_front()
            {
                scheduler.admit(sequence);
            }
            if !scheduler.is_idle() {
                return true;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

pub(super) fn spawn(
    model: Model,
    config: &EngineConfig,
    inbox: Arc<Inbox>,
) -> Result<JoinHandle<()>, InferenceError> {
    let scheduler = Scheduler::new(config.max_concurrent);
    let closes = CloseOnDrop(inbox);
    std::thread::Builder::new()
        .name("inference".to_owned())
        .spawn(move || run(&model, scheduler, &closes.0))
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
        for sequence in state.waiting.drain(..) {
            sequence.fail(InferenceError::EngineStopped);
        }
    }
}

fn run(model: &Model, mut scheduler: Scheduler, inbox: &Inbox) {
    while inbox.serve(&mut scheduler) {
        scheduler.drop_cancelled();
        if let Some(sequence) = scheduler.next() {
            step(sequence, model, &mut scheduler);
        }
    }
    for sequence in scheduler.drain() {
        sequence.fail(InferenceError::EngineStopped);
    }
}

/// One step. A panic in the tensor library ends this request and no other: what it may have left half
/// changed is this sequence, which is dropped.
fn step(mut sequence: Sequence, model: &Model, scheduler: &mut Scheduler) {
    match catch_unwind(AssertUnwindSafe(|| sequence.step(model))) {
        Ok(Ok(Progress::More)) => scheduler.resume(sequence),
        Ok(Ok(Progress::Done)) => {}
        Ok(Err(error)) => sequence.fail(error),
        Err(_) => sequence.fail(InferenceError::ComputeFailed),
    }
}

#[cfg(test)]
mod tests {
    use super::super::admission::{Admission, Cancellation};
    use super::super::sequence::{Event, SequenceParts};
    use super::*;
    use crate::model::ModelFiles;
    use crate::request::Sampling;
    use crate::sampler::Sampler;
    use crate::secret::SecretTokens;
    use crate::text::StopStrings;

    fn model() -> Model {
        let files: ModelFiles<'_> = [
            (
                "config.json",
                &include_bytes!("../../tests/fixtures/bias-f32/config.json")[..],
            ),
            (
                "tokenizer.json",
                include_bytes!("../../tests/fixtures/bias-f32/tokenizer.json"),
            ),
            (
                "model.safetensors",
                include_bytes!("../../tests/fixtures/bias-f32/model.safetensors"),
            ),
        ]
        .into_iter()
        .collect();
        Model::load(&files).expect("the fixture loads")
    }

    #[test]
    fn a_panic_ends_its_request_and_no_other() {
        let admission = Admission::new(4);
        let inbox = Arc::new(Inbox::new());
        let worker = spawn(model(), &EngineConfig::default(), Arc::clone(&inbox)).expect("a thread");
        let request = |completion_tokens_max| {
            let (events, receiver) = std::sync::mpsc::channel();
            let parts = SequenceParts {
                choice: 0,
                prompt: Arc::new(SecretTokens::new(vec![1, 2, 3])),
                completion_tokens_max,
                sampler: Sampler::new(&Sampling::greedy(), &[], &[], 266, 0).expect("in range"),
                stops: StopStrings::new(&[]).expect("none"),
                matching: None,
                special: crate::text::Special::LeftOut,
                log_probabilities: None,
                events,
                cancellation: Cancellation::default(),
                permit: admission.enter().expect("there is room"),
                prefill_tokens_per_turn: 8,
            };
            inbox.push(Sequence::new(parts)).expect("it is open");
            receiver
        };
        // The engine admits no such limit; here the sum of the lengths overflows, which panics.
        let panics = request(usize::MAX);
        let serves = request(6);
        assert!(matches!(
            panics.recv(),
            Ok(Event::Failed(InferenceError::ComputeFailed))
        ));
        assert!(panics.recv().is_err());
        assert!(
            serves
                .iter()
                .any(|event| matches!(event, Event::Piece(piece) if piece.finish.is_some()))
        );
        inbox.close();
        worker.join().expect("the worker outlives the panic");
        assert_eq!(admission.load().active, 0);
    }
}
