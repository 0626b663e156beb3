//! An embedding model that tenants share: one text at a time, on all cores, tenants in turn.
//!
//! A request waits for each of its texts by itself, so that one of a thousand texts holds nobody up longer than one of a
//! single text does. The tenant whose last turn is longest ago is next; whoever comes begins as if it had just had one. So
//! between two turns of a tenant that waits, each other tenant has at most one.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Embedder, Embedding};
use crate::admission::{Admission, Permit};
use crate::error::InferenceError;

/// How often whoever waits for a turn looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(20);

/// See the module.
pub struct SharedEmbedder {
    embedder: Embedder,
    admission: Arc<Admission>,
    desk: Arc<Desk>,
}

/// A request's place among those inside; given back when dropped.
pub struct EmbeddingPlace {
    embedder: Embedder,
    desk: Arc<Desk>,
    tenant: Arc<str>,
    _permit: Vec<Permit>,
}

impl SharedEmbedder {
    /// With so many places for requests.
    pub fn new(embedder: Embedder, places: usize) -> Self {
        Self {
            embedder,
            admission: Admission::new(places),
            desk: Arc::default(),
        }
    }

    /// The model.
    pub fn embedder(&self) -> &Embedder {
        &self.embedder
    }

    /// Takes a place, or refuses at once: a tenant has no more of them than it leaves free.
    ///
    /// # Errors
    /// `overloaded`.
    pub fn enter(&self, tenant: &str) -> Result<EmbeddingPlace, InferenceError> {
        let tenant: Arc<str> = tenant.into();
        Ok(EmbeddingPlace {
            _permit: self.admission.enter(&Some(Arc::clone(&tenant)), 1)?,
            embedder: self.embedder.clone(),
            desk: Arc::clone(&self.desk),
            tenant,
        })
    }
}

impl EmbeddingPlace {
    /// As [`Embedder::embed_while`], when it is this tenant's turn; `wanted` is asked while it waits, too.
    ///
    /// # Errors
    /// Those of the model.
    pub fn embed_while(&self, text: &str, wanted: &dyn Fn() -> bool) -> Result<Embedding, InferenceError> {
        let tokens = self.embedder.tokens(text)?;
        self.embed_tokens(tokens.expose_tokens(), wanted)
    }

    /// As [`Embedder::embed_tokens`], likewise.
    ///
    /// # Errors
    /// Those of the model.
    pub fn embed_tokens(
        &self,
        tokens: &[u32],
        wanted: &dyn Fn() -> bool,
    ) -> Result<Embedding, InferenceError> {
        let _turn = self.desk.turn(&self.tenant, wanted)?;
        self.embedder.embed_tokens(tokens, wanted)
    }
}

/// Where texts wait.
#[derive(Default)]
struct Desk {
    turns: Mutex<Turns>,
    changed: Condvar,
}

/// A text's turn; over when dropped.
struct Turn<'a> {
    desk: &'a Desk,
    tenant: &'a Arc<str>,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Turns> {
        // Nothing under the lock leaves it half changed.
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn<'a>(
        &'a self,
        tenant: &'a Arc<str>,
        wanted: &dyn Fn() -> bool,
    ) -> Result<Turn<'a>, InferenceError> {
        let mut turns = self.lock();
        let ticket = turns.arrive(tenant);
        loop {
            if !wanted() {
                turns.leave(ticket);
                self.changed.notify_all();
                return Err(InferenceError::EngineStopped);
            }
            if turns.begin(ticket) {
                return Ok(Turn { desk: self, tenant });
            }
            let waited = self.changed.wait_timeout(turns, LOOK);
            turns = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.desk.lock().end(self.tenant);
        self.desk.changed.notify_all();
    }
}

/// Whose turn it is.
#[derive(Default)]
struct Turns {
    taken: bool,
    /// How many there were.
    count: u64,
    tickets: u64,
    waiting: Vec<Waiting>,
    /// Of each tenant that waits: the number of its last turn, or of the last one when it came.
    last: HashMap<Arc<str>, u64>,
}

struct Waiting {
    ticket: u64,
    tenant: Arc<str>,
}

impl Turns {
    fn arrive(&mut self, tenant: &Arc<str>) -> u64 {
        self.tickets += 1;
        self.last.entry(Arc::clone(tenant)).or_insert(self.count);
        self.waiting.push(Waiting {
            ticket: self.tickets,
            tenant: Arc::clone(tenant),
        });
        self.tickets
    }

    fn next(&self) -> Option<u64> {
        let rank = |waiting: &&Waiting| (self.last.get(&waiting.tenant).copied(), waiting.ticket);
        self.waiting.iter().min_by_key(rank).map(|waiting| waiting.ticket)
    }

    /// Whether the turn is this one's, which it then has.
    fn begin(&mut self, ticket: u64) -> bool {
        if self.taken || self.next() != Some(ticket) {
            return false;
        }
        self.count += 1;
        let tenant = self.waiting.iter().find(|waiting| waiting.ticket == ticket);
        if let Some(last) = tenant.and_then(|waiting| self.last.get_mut(&waiting.tenant)) {
            *last = self.count;
        }
        self.waiting.retain(|waiting| waiting.ticket != ticket);
        self.taken = true;
        true
    }

    fn end(&mut self, tenant: &Arc<str>) {
        self.taken = false;
        self.forget(tenant);
    }

    fn leave(&mut self, ticket: u64) {
        let place = self.waiting.iter().position(|waiting| waiting.ticket == ticket);
        if let Some(place) = place {
            let tenant = self.waiting.remove(place).tenant;
            self.forget(&tenant);
        }
    }

    /// Of who does not wait nothing is kept: who comes again begins as if the last turn had been theirs.
    fn forget(&mut self, tenant: &Arc<str>) {
        if !self.waiting.iter().any(|waiting| waiting.tenant == *tenant) {
            self.last.remove(tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes every turn until none waits; the tenants in their order.
    fn run(turns: &mut Turns) -> Vec<String> {
        let mut order = Vec::new();
        while let Some(ticket) = turns.next() {
            let tenant = turns.waiting.iter().find(|waiting| waiting.ticket == ticket);
            let tenant = Arc::clone(&tenant.expect("it waits").tenant);
            assert!(turns.begin(ticket) && !turns.begin(ticket));
            turns.end(&tenant);
            order.push(tenant.to_string());
        }
        order
    }

    #[test]
    fn a_thousand_texts_of_one_tenant_delay_another_by_one_each_turn() {
        let (many, few): (Arc<str>, Arc<str>) = ("many".into(), "few".into());
        let mut turns = Turns::default();
        for _ in 0..1000 {
            turns.arrive(&many);
        }
        for _ in 0..3 {
            turns.arrive(&few);
        }
        let order = run(&mut turns);
        assert_eq!(order[..6], ["many", "few", "many", "few", "many", "few"]);
        assert_eq!(order.len(), 1003);
        assert!(turns.last.is_empty() && turns.waiting.is_empty());
    }

    #[test]
    fn who_comes_again_and_again_is_not_before_who_waits() {
        let tenants: Vec<Arc<str>> = ["a", "b", "c"].map(Arc::from).into();
        let mut turns = Turns::default();
        for tenant in &tenants {
            turns.arrive(tenant);
        }
        let mut order = String::new();
        for _ in 0..9 {
            let ticket = turns.next().expect("somebody waits");
            let tenant = turns.waiting.iter().find(|waiting| waiting.ticket == ticket);
            let tenant = Arc::clone(&tenant.expect("it waits").tenant);
            assert!(turns.begin(ticket));
            turns.end(&tenant);
            turns.arrive(&tenant);
            order.push_str(&tenant);
        }
        assert_eq!(order, "abcabcabc");
    }

    #[test]
    fn who_is_not_wanted_any_more_leaves_and_the_next_is_served() {
        let desk = Desk::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let turn = desk.turn(&a, &|| true).expect("nobody waits");
        std::thread::scope(|scope| {
            let gone = scope.spawn(|| desk.turn(&b, &|| false).err());
            let waits = scope.spawn(|| desk.turn(&b, &|| true).map(|_| ()));
            assert!(matches!(gone.join(), Ok(Some(InferenceError::EngineStopped))));
            assert!(!waits.is_finished());
            drop(turn);
            assert!(matches!(waits.join(), Ok(Ok(()))));
        });
        let turns = desk.lock();
        assert!(turns.last.is_empty() && turns.waiting.is_empty() && !turns.taken);
    }
}
