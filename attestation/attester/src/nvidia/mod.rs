//! Reports of NVIDIA GPUs in confidential-computing mode, through NVIDIA's management library (NVML).
//!
//! 1. Confidential computing is on. Whether developers' tools are too, the report says to whoever verifies.
//! 2. Each GPU gives the certificates of its attestation key and an SPDM measurement report that
//!    carries our nonce, `SHA-256("adyton gpu v1" || report_data)`.
//! 3. Every GPU that the library counts must answer: one that is left out could hold weights unseen.
//!
//! The library is loaded at run time; where there is none, there are no GPUs to ask.

mod nvml;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;

use attestation::ReportData;
use sha2::{Digest as _, Sha256};

use self::nvml::Nvml;
use crate::{AttesterError, Device, DeviceEvidence, DeviceKind};

/// The name under which the driver installs it.
const LIBRARY: &str = "libnvidia-ml.so.1";
/// An HGX board has eight; two boards in one machine are not known.
const GPUS_MAX: u32 = 16;
const DOMAIN: &[u8] = b"adyton gpu v1";

/// Collects reports of all GPUs of the machine.
pub struct Gpus {
    nvml: Nvml,
}

impl Gpus {
    /// Finds the library where the driver installs it.
    pub fn open() -> Result<Self, AttesterError> {
        Self::open_with(OsStr::new(LIBRARY))
    }

    /// Finds the library at `path`.
    pub fn open_with(path: &OsStr) -> Result<Self, AttesterError> {
        let nvml = Nvml::load(path)?;
        if !nvml.is_confidential()? {
            return Err(AttesterError::Nvml {
                call: "nvmlSystemGetConfComputeState",
                reason: "confidential computing is off".to_owned(),
            });
        }
        Ok(Self { nvml })
    }

    /// A report of each GPU that carries `nonce`.
    pub fn reports(&self, nonce: &[u8; 32]) -> Result<Vec<DeviceEvidence>, AttesterError> {
        let count = self.nvml.count()?;
        if count == 0 || count > GPUS_MAX {
            return Err(AttesterError::Nvml {
                call: "nvmlDeviceGetCount_v2",
                reason: format!("{count} GPUs, of 1 to {GPUS_MAX}"),
            });
        }
        let report = |index| {
            let gpu = self.nvml.gpu(index)?;
            Ok(DeviceEvidence {
                kind: DeviceKind::NvidiaGpu,
                evidence: gpu.report(nonce)?,
                certificates: gpu.certificates()?,
                event_log: None,
            })
        };
        (0..count).map(report).collect()
    }
}

impl Device for Gpus {
    fn evidence(&self, report_data: &ReportData) -> Result<Vec<DeviceEvidence>, AttesterError> {
        let nonce = Sha256::new()
            .chain_update(DOMAIN)
            .chain_update(report_data)
            .finalize();
        self.reports(&nonce.into())
    }
}
