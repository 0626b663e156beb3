//! Prometheus metrics. A label's value is a variant of an enum in this crate, so that no name of a model, tenant or peer
//! can become one.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64},
    },
    time::Duration,
};

use attestation::Assurance;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::refusal::RefusalCode;

/// The listener of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Listener {
    /// Enclaves.
    Release,
    /// Owners.
    Admin,
}

/// What the evidence of a release rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AssuranceLabel {
    /// A hardware root.
    Hardware,
    /// Software: development only.
    Simulated,
}

impl From<Assurance> for AssuranceLabel {
    fn from(assurance: Assurance) -> Self {
        match assurance {
            Assurance::Hardware => Self::Hardware,
            Assurance::Simulated => Self::Simulated,
        }
    }
}

macro_rules! label_value {
    ($name:ident { $($variant:ident => $text:literal),* $(,)? }) => {
        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
                encoder.write_str(match self { $(Self::$variant => $text),* })
            }
        }
    };
}
label_value!(Listener { Release => "release", Admin => "admin" });
label_value!(AssuranceLabel { Hardware => "hardware", Simulated => "simulated" });

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabels {
    listener: Listener,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AssuranceLabels {
    assurance: AssuranceLabel,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    code: RefusalCode,
}

/// The broker's counters; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    releases: Family<AssuranceLabels, Counter<u64, AtomicU64>>,
    refusals: Family<CodeLabels, Counter<u64, AtomicU64>>,
    unrecorded_refusals: Counter<u64, AtomicU64>,
    failed_connections: Family<ListenerLabels, Counter<u64, AtomicU64>>,
    open_connections: Family<ListenerLabels, Gauge<i64, AtomicI64>>,
    release_seconds: Histogram,
    audit_entries: Gauge<i64, AtomicI64>,
    audit_failures: Counter<u64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All counters at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("adyton_broker");
        let seconds = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0];
        let mut metrics = Self {
            registry: Arc::default(),
            releases: Family::default(),
            refusals: Family::default(),
            unrecorded_refusals: Counter::default(),
            failed_connections: Family::default(),
            open_connections: Family::default(),
            release_seconds: Histogram::new(seconds),
            audit_entries: Gauge::default(),
            audit_failures: Counter::default(),
        };
        registry.register("releases", "Keys released", metrics.releases.clone());
        registry.register("refusals", "Requests that got no key", metrics.refusals.clone());
        registry.register(
            "unrecorded_refusals",
            "Refusals over the bound of records per minute",
            metrics.unrecorded_refusals.clone(),
        );
        registry.register(
            "failed_connections",
            "Connections that ended before a request",
            metrics.failed_connections.clone(),
        );
        registry.register(
            "open_connections",
            "Connections open now",
            metrics.open_connections.clone(),
        );
        registry.register(
            "release_seconds",
            "From the accepted connection to the written answer",
            metrics.release_seconds.clone(),
        );
        registry.register(
            "audit_entries",
            "Entries in the audit log",
            metrics.audit_entries.clone(),
        );
        registry.register(
            "audit_failures",
            "Records that could not be written",
            metrics.audit_failures.clone(),
        );
        metrics.registry = Arc::new(registry);
        metrics
    }

    /// A key was released.
    pub fn released(&self, assurance: Assurance, took: Duration) {
        self.releases
            .get_or_create(&AssuranceLabels {
                assurance: assurance.into(),
            })
            .inc();
        self.release_seconds.observe(took.as_secs_f64());
    }

    /// A request got no key.
    pub fn refused(&self, code: RefusalCode) {
        self.refusals.get_or_create(&CodeLabels { code }).inc();
    }

    /// A refusal was counted here only.
    pub fn unrecorded_refusal(&self) {
        self.unrecorded_refusals.inc();
    }

    /// A connection ended before it was a request.
    pub fn connection_failed(&self, listener: Listener) {
        self.failed_connections
            .get_or_create(&ListenerLabels { listener })
            .inc();
    }

    /// A connection is open for as long as the value lives.
    pub fn connection(&self, listener: Listener) -> OpenConnection {
        let gauge = self
            .open_connections
            .get_or_create_owned(&ListenerLabels { listener });
        gauge.inc();
        OpenConnection(gauge)
    }

    /// The log has `entries` entries.
    pub fn audit_size(&self, entries: u64) {
        self.audit_entries.set(entries.try_into().unwrap_or(i64::MAX));
    }

    /// A record could not be written.
    pub fn audit_failed(&self) {
        self.audit_failures.inc();
    }

    /// The text that Prometheus scrapes (OpenMetrics 1.0).
    pub fn render(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a String does not fail");
        text
    }
}

/// Counts one open connection until it is dropped.
pub struct OpenConnection(Gauge<i64, AtomicI64>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}
