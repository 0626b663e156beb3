//! What the operator may count. The only label is [`Outcome`], a closed set: nothing a client sends can become a label.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicI64, AtomicU64},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// How a relayed request ended, as seen from outside the seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    /// The enclave ended its stream.
    Answered,
    /// The enclave answered with a problem document.
    Problem,
    /// The client went away before the end.
    Cancelled,
    /// The stream broke before its end.
    Cut,
    /// Too many requests at once.
    Overloaded,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: Outcome,
}

/// The host's counters.
pub struct Metrics {
    registry: Registry,
    requests: Family<OutcomeLabel, Counter<u64, AtomicU64>>,
    active: Gauge<i64, AtomicI64>,
    bytes_in: Counter<u64, AtomicU64>,
    bytes_out: Counter<u64, AtomicU64>,
    evidence: Counter<u64, AtomicU64>,
    restarts: Counter<u64, AtomicU64>,
    log_lines_dropped: Counter<u64, AtomicU64>,
}

impl Metrics {
    /// All counters at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("adyton_host");
        let metrics = Self {
            requests: Family::default(),
            active: Gauge::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            evidence: Counter::default(),
            restarts: Counter::default(),
            log_lines_dropped: Counter::default(),
            registry: Registry::default(),
        };
        registry.register(
            "requests",
            "Relayed requests by how they ended",
            metrics.requests.clone(),
        );
        registry.register(
            "requests_active",
            "Requests inside the enclave now",
            metrics.active.clone(),
        );
        registry.register(
            "relay_bytes_in",
            "Sealed bytes from clients",
            metrics.bytes_in.clone(),
        );
        registry.register(
            "relay_bytes_out",
            "Sealed bytes to clients",
            metrics.bytes_out.clone(),
        );
        registry.register("evidence", "Evidence bundles relayed", metrics.evidence.clone());
        registry.register(
            "enclave_restarts",
            "Times the enclave was started again",
            metrics.restarts.clone(),
        );
        registry.register(
            "log_lines_dropped",
            "Enclave log lines not kept",
            metrics.log_lines_dropped.clone(),
        );
        Self { registry, ..metrics }
    }

    /// Counts a request that enters; the guard counts its end.
    pub fn request_started(&self) {
        self.active.inc();
    }

    /// Counts the end of a request.
    pub fn request_ended(&self, outcome: Outcome) {
        self.active.dec();
        self.requests.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Counts a request refused before it entered.
    pub fn request_refused(&self) {
        self.requests
            .get_or_create(&OutcomeLabel {
                outcome: Outcome::Overloaded,
            })
            .inc();
    }

    /// Counts sealed bytes from a client.
    pub fn bytes_in(&self, bytes: usize) {
        self.bytes_in.inc_by(bytes as u64);
    }

    /// Counts sealed bytes to a client.
    pub fn bytes_out(&self, bytes: usize) {
        self.bytes_out.inc_by(bytes as u64);
    }

    /// Counts a relayed evidence bundle.
    pub fn evidence_relayed(&self) {
        self.evidence.inc();
    }

    /// Counts a restart of the enclave.
    pub fn enclave_restarted(&self) {
        self.restarts.inc();
    }

    /// Counts a log line that could not be kept.
    pub fn log_line_dropped(&self) {
        self.log_lines_dropped.inc();
    }

    /// The counters in OpenMetrics text, followed by the enclave's own allow-listed counters.
    pub fn encode(&self, enclave: Option<&wire::message::Status>) -> String {
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            return String::new(); // writing to a String does not fail
        }
        let Some(status) = enclave else { return text };
        let end = text.rfind("# EOF").unwrap_or(text.len());
        text.truncate(end);
        for (name, kind, value) in [
            ("epoch", "gauge", status.epoch),
            ("uptime_seconds", "gauge", status.uptime_seconds),
            ("requests_active", "gauge", status.requests_active),
            ("requests", "counter", status.requests_total),
            ("replays_refused", "counter", status.replays_refused_total),
            ("tokens_in", "counter", status.tokens_in_total),
            ("tokens_out", "counter", status.tokens_out_total),
        ] {
            let suffix = if kind == "counter" { "_total" } else { "" };
            // Writing to a String does not fail.
            let _ = writeln!(
                text,
                "# TYPE adyton_enclave_{name} {kind}\nadyton_enclave_{name}{suffix} {value}"
            );
        }
        text.push_str("# EOF\n");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
