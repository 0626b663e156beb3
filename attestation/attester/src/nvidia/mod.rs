//! Reports of NVIDIA GPUs in confidential-computing mode, through NVIDIA's management library (NVML).
//!
//! 1. Confidential computing is on. Whether developers' tools are too, the report says to whoever verifies.
//! 2. Each GPU gives the certificates of its attestation key and an SPDM measurement report that
//!    carries our nonce, [`attestation::device_nonce`] of the report data.
//! 3. Every GPU that the library counts must answer: one that is left out could hold weights unseen.
//!
//! The library is loaded at run time; where there is none, there are no GPUs to ask.

mod nvml;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;

use attestation::{DeviceEvidence, DeviceKind, Endorsements, ReportData, certificates_in_pem, device_nonce};
use sha2::{Digest as _, Sha256};

use self::nvml::Nvml;
use crate::{Access, AttesterError, Device};

/// The name under which the driver installs it.
const LIBRARY: &str = "libnvidia-ml.so.1";
/// An HGX board has eight; two boards in one machine are not known.
const GPUS_MAX: u32 = 16;

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

    fn count(&self) -> Result<u32, AttesterError> {
        let count = self.nvml.count()?;
        if count == 0 || count > GPUS_MAX {
            return Err(AttesterError::Nvml {
                call: "nvmlDeviceGetCount_v2",
                reason: format!("{count} GPUs, of 1 to {GPUS_MAX}"),
            });
        }
        Ok(count)
    }

    /// A report of each GPU that carries `nonce`.
    pub fn reports(&self, nonce: &[u8; 32]) -> Result<Vec<DeviceEvidence>, AttesterError> {
        let report = |index| {
            let gpu = self.nvml.gpu(index)?;
            Ok(DeviceEvidence {
                kind: DeviceKind::NvidiaGpu,
                evidence: gpu.report(nonce)?,
                certificates: gpu.certificates()?,
                endorsements: Endorsements::new(),
            })
        };
        (0..self.count()?).map(report).collect()
    }
}

impl Device for Gpus {
    fn evidence(&self, report_data: &ReportData) -> Result<Vec<DeviceEvidence>, AttesterError> {
        self.reports(&device_nonce(report_data))
    }

    fn digests(&self) -> Result<Vec<[u8; 32]>, AttesterError> {
        let digest = |index| {
            let certificates = self.nvml.gpu(index)?.certificates()?;
            let leaf = certificates_in_pem(&certificates).and_then(|chain| chain.into_iter().next());
            let leaf = leaf.ok_or_else(|| AttesterError::Nvml {
                call: "nvmlDeviceGetConfComputeGpuCertificate",
                reason: "no certificates in PEM".to_owned(),
            })?;
            Ok(Sha256::digest(leaf).into())
        };
        (0..self.count()?).map(digest).collect()
    }

    /// The driver's device files as they are now, and where it tells about its GPUs. Not tried on a machine with GPUs.
    fn access(&self) -> Access {
        let devices = std::fs::read_dir("/dev").into_iter().flatten().flatten();
        let of_driver =
            |entry: &std::fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(b"nvidia");
        Access {
            devices: devices.filter(of_driver).map(|entry| entry.path()).collect(),
            files: ["/proc/driver/nvidia", "/sys/bus/pci", "/sys/devices"]
                .map(Into::into)
                .to_vec(),
            ..Access::default()
        }
    }
}
