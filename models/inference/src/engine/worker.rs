//! The thread that decodes.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::EngineConfig;
use super::sequence::Sequence;
use super::turn;
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
    fn serve(&self, active: &mut Vec<Sequence>, slots: usize) -> bool {
        // Before the lock: a cache takes its time to be wiped.
        active.retain(|sequence| !sequence.is_cancelled());
        let mut state = self.lock();
        loop {
            if state.closed {
                return false;
            }
            state.waiting.retain(|sequence| !sequence.is_cancelled());
            while active.len() < slots
                && let Some(mut sequence) = state.waiting.pop_front()
            {
                sequence.activate();
                active.push(sequence);
            }
            if !active.is_empty() {
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
    let config = config.clone();
    let closes = CloseOnDrop(inbox);
    std::thread::Builder::new()
        .name("inference".to_owned())
        .spawn(move || run(&model, &config, &closes.0))
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

fn run(model: &Model, config: &EngineConfig, inbox: &Inbox) {
    let mut active = Vec::with_capacity(config.max_concurrent);
    while inbox.serve(&mut active, config.max_concurrent) {
        active = turn::take(active, model, config.prefill_tokens_per_turn);
    }
    for sequence in active {
        sequence.fail(InferenceError::EngineStopped);
    }
}

#[cfg(test)]
mod tests {
    use super::super::admission::{Admission, Cancellation};
    use std::sync::mpsc::Receiver;

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

    /// Requests that the engine would not admit.
    struct Desk {
        admission: Arc<Admission>,
        inbox: Arc<Inbox>,
    }

    impl Desk {
        fn request(&self, prompt: &[u32], completion_tokens_max: usize) -> Receiver<Event> {
            let (events, receiver) = std::sync::mpsc::channel();
            let parts = SequenceParts {
                choice: 0,
                prompt: Arc::new(SecretTokens::new(prompt.to_vec())),
                completion_tokens_max,
                sampler: Sampler::new(&Sampling::greedy(), &[], &[], 266, 0).expect("in range"),
                stops: StopStrings::new(&[]).expect("none"),
                matching: None,
                special: crate::text::Special::LeftOut,
                log_probabilities: None,
                events,
                cancellation: Cancellation::default(),
                permit: self.admission.enter().expect("there is room"),
            };
            self.inbox.push(Sequence::new(parts)).expect("it is open");
            receiver
        }
    }

    fn serves(receiver: &Receiver<Event>) -> bool {
        receiver
            .iter()
            .any(|event| matches!(event, Event::Piece(piece) if piece.finish.is_some()))
    }

    #[test]
    fn a_fault_ends_its_request_and_no_other() {
        let desk = Desk {
            admission: Admission::new(4),
            inbox: Arc::new(Inbox::new()),
        };
        let worker = spawn(model(), &EngineConfig::default(), Arc::clone(&desk.inbox)).expect("a thread");
        let before = desk.request(&[1, 2, 3], 40);
        // The sum of the lengths overflows, which panics before the pass.
        let panics = desk.request(&[1, 2, 3], usize::MAX);
        // There is no such token, which fails the pass of all.
        let fails = desk.request(&[1, 1_000_000], 6);
        let after = desk.request(&[1, 2, 3], 6);
        for receiver in [panics, fails] {
            assert!(matches!(
                receiver.recv(),
                Ok(Event::Failed(InferenceError::ComputeFailed))
            ));
            assert!(receiver.recv().is_err());
        }
        assert!(serves(&before) && serves(&after));
        desk.inbox.close();
        worker.join().expect("the worker outlives the panic");
        assert_eq!(desk.admission.load().active, 0);
    }
}
