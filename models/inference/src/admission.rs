//! How many requests there may be, and the wish to end one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::decoder::Interrupt;
use crate::error::InferenceError;

/// On whose account a request is computed. `None` is whoever owns the engine: the only one, or one beside tenants.
pub(crate) type Tenant = Option<Arc<str>>;

/// How busy an engine is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EngineLoad {
    /// Requests that hold a slot.
    pub active: usize,
    /// Requests that wait for one.
    pub waiting: usize,
}

/// Counts the requests inside.
pub(crate) struct Admission {
    places: Mutex<Places>,
    inside_max: usize,
}

#[derive(Default)]
struct Places {
    inside: usize,
    active: usize,
    of_tenants: HashMap<Arc<str>, usize>,
}

impl Admission {
    pub(crate) fn new(inside_max: usize) -> Arc<Self> {
        Arc::new(Self {
            places: Mutex::default(),
            inside_max,
        })
    }

    /// Takes places or refuses at once. A tenant gets no more places than it leaves free: one alone half of them, and
    /// whoever comes next finds some, however much the others want (the dynamic threshold of Choudhury and Hahne, "Dynamic
    /// queue length thresholds for shared-memory packet switches", 1998, with a factor of one).
    pub(crate) fn enter(
        self: &Arc<Self>,
        tenant: &Tenant,
        count: usize,
    ) -> Result<Vec<Permit>, InferenceError> {
        let mut places = self.lock();
        let free = self.inside_max - places.inside;
        let held = tenant.as_ref().and_then(|tenant| places.of_tenants.get(tenant));
        if held.copied().unwrap_or(0).saturating_add(count) > free {
            return Err(InferenceError::Overloaded);
        }
        places.inside += count;
        if let Some(tenant) = tenant {
            *places.of_tenants.entry(Arc::clone(tenant)).or_insert(0) += count;
        }
        drop(places);
        let permit = |_| Permit {
            admission: Arc::clone(self),
            tenant: tenant.clone(),
            active: false,
            left: false,
        };
        Ok((0..count).map(permit).collect())
    }

    pub(crate) fn load(&self) -> EngineLoad {
        let places = self.lock();
        EngineLoad {
            active: places.active,
            waiting: places.inside - places.active,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        // Nothing under the lock leaves the counts half changed.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place; given back when dropped.
pub(crate) struct Permit {
    admission: Arc<Admission>,
    tenant: Tenant,
    active: bool,
    left: bool,
}

impl Permit {
    /// Whether the request has a slot.
    pub(crate) fn set_active(&mut self, active: bool) {
        if self.active != active {
            self.active = active;
            let mut places = self.admission.lock();
            if active {
                places.active += 1;
            } else {
                places.active -= 1;
            }
        }
    }

    pub(crate) fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Gives the place back, before the rest of the request is dropped.
    pub(crate) fn leave(&mut self) {
        if std::mem::replace(&mut self.left, true) {
            return;
        }
        self.set_active(false);
        let mut places = self.admission.lock();
        places.inside -= 1;
        if let Some(tenant) = &self.tenant
            && let Some(count) = places.of_tenants.get_mut(tenant)
        {
            *count -= 1;
            if *count == 0 {
                places.of_tenants.remove(tenant);
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Set by the caller's end of a request, seen by the worker between layers and between turns.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> Tenant {
        Some(name.into())
    }

    #[test]
    fn a_tenant_leaves_places_for_whoever_comes_next() {
        let admission = Admission::new(16);
        let all = |name: &str| -> Vec<Permit> {
            std::iter::from_fn(|| admission.enter(&tenant(name), 1).ok())
                .flatten()
                .collect()
        };
        let first = all("first");
        let second = all("second");
        let third = all("third");
        assert_eq!((first.len(), second.len(), third.len()), (8, 4, 2));
        assert_eq!(
            admission.load(),
            EngineLoad {
                active: 0,
                waiting: 14
            }
        );
        drop(first);
        assert_eq!(all("second").len(), 3, "what one leaves, others may have");
        drop((second, third));
        assert_eq!(
            admission.load(),
            EngineLoad {
                active: 0,
                waiting: 0
            }
        );
        assert!(admission.lock().of_tenants.is_empty());
    }

    #[test]
    fn several_places_are_taken_together_or_not_at_all() {
        let admission = Admission::new(4);
        assert!(
            admission
                .enter(&tenant("one"), 3)
                .is_ok_and(|permits| permits.len() == 3)
        );
        let two = admission.enter(&tenant("one"), 2).expect("two and two");
        assert!(admission.enter(&tenant("one"), 1).is_err());
        assert!(admission.enter(&None, 3).is_err());
        assert!(admission.enter(&None, 2).is_ok());
        drop(two);
        assert_eq!(
            admission.load(),
            EngineLoad {
                active: 0,
                waiting: 0
            }
        );
    }
}
