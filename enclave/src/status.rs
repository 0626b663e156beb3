//! Phase and counters: everything that the host may know of what goes on inside.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use wire::message::{Phase, Status};

/// Shared by the lifecycle, which writes the phase, and the requests, which count.
pub(crate) struct StatusBoard {
    started: Instant,
    phase: Mutex<(Phase, &'static str)>,
    requests_total: AtomicU64,
    requests_active: AtomicU64,
    tokens_in_total: AtomicU64,
    tokens_out_total: AtomicU64,
}

impl StatusBoard {
    /// A board at [`Phase::Booted`], with nothing counted.
    pub(crate) fn new(started: Instant) -> Self {
        Self {
            started,
            phase: Mutex::new((Phase::Booted, "")),
            requests_total: AtomicU64::new(0),
            requests_active: AtomicU64::new(0),
            tokens_in_total: AtomicU64::new(0),
            tokens_out_total: AtomicU64::new(0),
        }
    }

    /// Writes the phase and why the next one is not reached (a code from the source, or nothing).
    pub(crate) fn set_phase(&self, phase: Phase, detail_code: &'static str) {
        *self
            .phase
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = (phase, detail_code);
    }

    /// Counts a request as active until the guard is dropped.
    pub(crate) fn active(&self) -> ActiveRequest<'_> {
        self.requests_active.fetch_add(1, Relaxed);
        ActiveRequest(self)
    }

    /// Counts a request that was opened.
    pub(crate) fn count_request(&self) {
        self.requests_total.fetch_add(1, Relaxed);
    }

    /// Counts the tokens of a prompt.
    pub(crate) fn count_prompt_tokens(&self, tokens: usize) {
        self.tokens_in_total.fetch_add(tokens as u64, Relaxed);
    }

    /// Counts the tokens of a completion, when it is complete.
    pub(crate) fn count_completion_tokens(&self, tokens: usize) {
        self.tokens_out_total.fetch_add(tokens as u64, Relaxed);
    }

    /// Requests being answered.
    pub(crate) fn requests_active(&self) -> u64 {
        self.requests_active.load(Relaxed)
    }

    /// Milliseconds since the start.
    pub(crate) fn uptime_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// What the host is told, with the key epoch and the replays that the request gateway counts.
    pub(crate) fn status(&self, epoch: u64, replays_refused_total: u64) -> Status {
        let (phase, detail_code) = *self
            .phase
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        Status {
            phase,
            detail_code: detail_code.to_owned(),
            epoch,
            uptime_seconds: self.started.elapsed().as_secs(),
            requests_total: self.requests_total.load(Relaxed),
            requests_active: self.requests_active.load(Relaxed),
            replays_refused_total,
            tokens_in_total: self.tokens_in_total.load(Relaxed),
            tokens_out_total: self.tokens_out_total.load(Relaxed),
        }
    }
}

/// One request being answered.
pub(crate) struct ActiveRequest<'a>(&'a StatusBoard);

impl Drop for ActiveRequest<'_> {
    fn drop(&mut self) {
        self.0.requests_active.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_active_request_counts_until_it_is_dropped() {
        let board = StatusBoard::new(Instant::now());
        let active = board.active();
        assert_eq!(board.status(0, 0).requests_active, 1);
        drop(active);
        assert_eq!(board.status(0, 0).requests_active, 0);
    }

    #[test]
    fn the_phase_carries_its_reason() {
        let board = StatusBoard::new(Instant::now());
        board.set_phase(Phase::Attested, "waiting-for-broker");
        let status = board.status(1, 0);
        assert_eq!(
            (status.phase, status.detail_code.as_str()),
            (Phase::Attested, "waiting-for-broker")
        );
    }
}
