//! Devices appraised by the enclave itself, before it gives them weights.

use alloc::vec::Vec;

use serde::Deserialize;

use super::devices::{is_nvidia, names, nvidia_devices};
use crate::device::{DeviceEvidence, device_nonce};
use crate::examination::Examination;
use crate::policy::NvidiaPolicy;
use crate::{AppraisalError, ReportData, UnixTime, nvidia, roots};

/// What an enclave accepts of the devices that will hold weights and prompts. It is part of the measured
/// configuration: whoever trusts the enclave trusts it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DevicePolicy {
    /// How old OCSP responses may be, in seconds.
    collateral_age_seconds_max: u64,
    /// NVIDIA's devices, with the keys of an appraisal policy's `[nvidia]`.
    nvidia: CheckedNvidia,
}

/// The table, refused at reading where it would accept nothing, or more than is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CheckedNvidia(NvidiaPolicy);

impl<'de> Deserialize<'de> for CheckedNvidia {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let policy = NvidiaPolicy::deserialize(deserializer)?;
        policy.check("nvidia").map_err(serde::de::Error::custom)?;
        Ok(Self(policy))
    }
}

/// Devices of which every clause passed. Built only by [`DevicePolicy::appraise`].
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedDevices {
    digests: Vec<[u8; 32]>,
}

impl VerifiedDevices {
    /// SHA-256 of each device's leaf certificate, as the statement lists them.
    pub fn digests(&self) -> &[[u8; 32]] {
        &self.digests
    }
}

impl DevicePolicy {
    /// Appraises every device of the machine as of `now`; they must have answered for `report_data`, which must be
    /// fresh and the caller's own.
    pub fn appraise(
        &self,
        devices: &[DeviceEvidence],
        report_data: &ReportData,
        now: UnixTime,
    ) -> Result<VerifiedDevices, AppraisalError> {
        self.appraise_under(&roots::nvidia(), devices, report_data, now)
    }

    /// The same under given roots: NVIDIA's, or a test's own.
    pub(crate) fn appraise_under(
        &self,
        anchors: &nvidia::Anchors,
        devices: &[DeviceEvidence],
        report_data: &ReportData,
        now: UnixTime,
    ) -> Result<VerifiedDevices, AppraisalError> {
        let mut examination = Examination::new(now);
        let names = names(devices);
        let parts = nvidia_devices(devices, &names);
        nvidia::examine_all(
            &mut examination,
            &self.nvidia.0,
            self.collateral_age_seconds_max,
            &parts,
            &device_nonce(report_data),
            anchors,
        );
        let conclusion = examination.conclude(&[nvidia::RULES, nvidia::MANIFEST_RULES, nvidia::SET_RULES]);
        match conclusion.error {
            Some(error) => Err(error),
            None => Ok(VerifiedDevices {
                digests: devices
                    .iter()
                    .filter(|device| is_nvidia(device))
                    .map(|device| device.digest().unwrap_or_default())
                    .collect(),
            }),
        }
    }
}
