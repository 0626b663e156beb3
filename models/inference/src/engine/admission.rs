//! How many requests there may be, and the wish to end one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::EngineLoad;
use crate::decoder::Interrupt;
use crate::error::InferenceError;

/// Counts the requests inside.
pub(super) struct Admission {
    inside: AtomicUsize,
    active: AtomicUsize,
    inside_max: usize,
}

impl Admission {
    pub(super) fn new(inside_max: usize) -> Arc<Self> {
        Arc::new(Self {
            inside: AtomicUsize::new(0),
            active: AtomicUsize::new(0),
            inside_max,
        })
    }

    /// Takes a place or refuses at once.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Permit, InferenceError> {
        let next = |inside: usize| (inside < self.inside_max).then_some(inside + 1);
        match self
            .inside
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next)
        {
            Ok(_) => Ok(Permit {
                admission: Arc::clone(self),
                active: false,
            }),
            Err(_) => Err(InferenceError::Overloaded),
        }
    }

    pub(super) fn load(&self) -> EngineLoad {
        let active = self.active.load(Ordering::Acquire);
        EngineLoad {
            active,
            waiting: self.inside.load(Ordering::Acquire).saturating_sub(active),
        }
    }
}

/// A place; given back when dropped.
pub(super) struct Permit {
    admission: Arc<Admission>,
    active: bool,
}

impl Permit {
    /// The request has a slot now.
    pub(super) fn activate(&mut self) {
        if !self.active {
            self.active = true;
            self.admission.active.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.active {
            self.admission.active.fetch_sub(1, Ordering::AcqRel);
        }
        self.admission.inside.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Set by the caller's end of a request, seen by the worker between layers and between steps.
#[derive(Clone, Default)]
pub(crate) struct Cancellation(Arc<AtomicBool>);

impl Cancellation {
    pub(crate) fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Interrupt for Cancellation {
    fn is_interrupted(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
