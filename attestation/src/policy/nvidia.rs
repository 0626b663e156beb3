//! What is accepted of NVIDIA GPUs and switches.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Deserialize;

use super::values::EnrolledMachines;
use crate::error::PolicyError;
use crate::nvidia::{Architecture, DriverVersion, Mode, VbiosVersion};

const DEVICES_MAX: u32 = 64;

/// `[nvidia]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NvidiaPolicy {
    /// How many GPUs the machine has: exactly so many must give evidence.
    pub(crate) gpus: u32,
    /// How many switches; none unless set.
    #[serde(default)]
    pub(crate) switches: u32,
    /// Accepted architectures and what each must have at least.
    pub(crate) minimum_versions: Vec<MinimumVersions>,
    /// Accepted modes of confidential computing.
    pub(crate) modes: Vec<Mode>,
    /// `"any"` or a list of device ids.
    pub(crate) enrolled_devices: EnrolledMachines,
    /// Whether the first video decoder may be on; off unless set.
    #[serde(default)]
    pub(crate) video_decoder: bool,
    /// Measurements that need not equal the manifest's; none unless set.
    #[serde(default)]
    pub(crate) ignored_measurements: Vec<IgnoredMeasurement>,
    /// Accepted departures from the strict checks; none unless set.
    #[serde(default)]
    pub(crate) exceptions: Vec<NamedException>,
}

/// What devices of one architecture must have at least.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MinimumVersions {
    pub(crate) architecture: Architecture,
    /// GPUs only; switches have none of their own.
    #[serde(default)]
    pub(crate) driver: Option<DriverVersion>,
    pub(crate) vbios: VbiosVersion,
}

/// A measurement that is not compared, and why.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IgnoredMeasurement {
    /// As manifests count, from 0.
    pub(crate) index: u8,
    reason: String,
}

/// A departure from the strict checks, and why.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamedException {
    name: NvidiaException,
    reason: String,
}

/// A named departure from the strict checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum NvidiaException {
    /// Accept firmware and driver that no manifest was compared with. Nothing then shows that secure
    /// boot is on and debug is off. A manifest that is there must still hold.
    #[serde(rename = "no-reference-manifest")]
    AbsentManifest,
    /// Accept certificates whose revocation nobody asked about. Responses that are there must still hold.
    #[serde(rename = "no-revocation-check")]
    UncheckedRevocation,
    /// Accept GPUs that talk to switches which give no evidence.
    #[serde(rename = "no-switch-evidence")]
    UnattestedSwitches,
}

impl NvidiaPolicy {
    pub(crate) fn excepts(&self, exception: NvidiaException) -> bool {
        self.exceptions.iter().any(|named| named.name == exception)
    }

    pub(crate) fn ignores(&self, index: u8) -> bool {
        self.ignored_measurements
            .iter()
            .any(|ignored| ignored.index == index)
    }

    pub(crate) fn minimum(&self, architecture: Architecture) -> Option<&MinimumVersions> {
        self.minimum_versions
            .iter()
            .find(|minimum| minimum.architecture == architecture)
    }

    /// Checks what types cannot; `table` is for messages.
    pub(crate) fn check(&self, table: &str) -> Result<(), PolicyError> {
        let refuse = |key: &str, reason: &str| {
            Err(PolicyError::Value {
                key: [table, key].join("."),
                reason: reason.to_string(),
            })
        };
        if self.gpus > DEVICES_MAX || self.switches > DEVICES_MAX {
            return refuse("gpus, switches", "expected at most 64");
        }
        if self.gpus == 0 && self.switches == 0 {
            return refuse("gpus, switches", "no device is accepted");
        }
        if self.modes.is_empty() {
            return refuse("modes", "an empty list accepts nothing");
        }
        for (at, minimum) in self.minimum_versions.iter().enumerate() {
            if minimum.driver.is_some() == minimum.architecture.is_switch() {
                return refuse("minimum_versions.driver", "GPUs have it, and only GPUs");
            }
            let before = self.minimum_versions.iter().take(at);
            if before
                .into_iter()
                .any(|other| other.architecture == minimum.architecture)
            {
                return refuse("minimum_versions.architecture", "one entry for each");
            }
        }
        for (devices, switch) in [(self.gpus, false), (self.switches, true)] {
            let mut architectures = self.minimum_versions.iter();
            if devices > 0 && !architectures.any(|minimum| minimum.architecture.is_switch() == switch) {
                return refuse("minimum_versions", "no architecture is accepted");
            }
        }
        let reasons = self.exceptions.iter().map(|named| &named.reason);
        let mut reasons = reasons.chain(self.ignored_measurements.iter().map(|ignored| &ignored.reason));
        if reasons.any(|reason| reason.trim().is_empty()) {
            return refuse("reason", "say why");
        }
        Ok(())
    }
}
