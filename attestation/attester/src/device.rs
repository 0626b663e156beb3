//! Evidence of devices that belong to the machine: a vTPM that the host runs, GPUs.

use attestation::{DeviceEvidence, PlatformTag, ReportData};

use crate::{Access, Attester, AttesterError, Collected};

/// Collects evidence of the devices of one kind.
pub trait Device: Send + Sync {
    /// Evidence of every device of the kind, made for `report_data`.
    ///
    /// A device that is there and does not answer is an error: leaving it out would hide it.
    fn evidence(&self, report_data: &ReportData) -> Result<Vec<DeviceEvidence>, AttesterError>;

    /// SHA-256 of each device's leaf certificate, in the order of the evidence: what the statement lists.
    fn digests(&self) -> Result<Vec<[u8; 32]>, AttesterError>;

    /// What of the system collecting touches.
    fn access(&self) -> Access {
        Access::default()
    }
}

/// An attester and the devices whose evidence travels with the platform's.
pub struct WithDevices {
    attester: Box<dyn Attester>,
    devices: Vec<Box<dyn Device>>,
}

impl WithDevices {
    /// `attester` with `devices`, asked in this order.
    pub fn new(attester: Box<dyn Attester>, devices: Vec<Box<dyn Device>>) -> Self {
        Self { attester, devices }
    }
}

impl Attester for WithDevices {
    fn platform(&self) -> PlatformTag {
        self.attester.platform()
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Collected, AttesterError> {
        let mut collected = self.attester.evidence(report_data)?;
        for device in &self.devices {
            collected.devices.extend(device.evidence(report_data)?);
        }
        Ok(collected)
    }

    fn device_digests(&self) -> Result<Vec<[u8; 32]>, AttesterError> {
        let mut digests = self.attester.device_digests()?;
        for device in &self.devices {
            digests.extend(device.digests()?);
        }
        Ok(digests)
    }

    fn brings_endorsements(&self) -> bool {
        self.attester.brings_endorsements()
    }

    fn access(&self) -> Access {
        let devices = self.devices.iter().map(|device| device.access());
        devices.fold(self.attester.access(), Access::and)
    }
}

#[cfg(test)]
mod tests {
    use attestation::{DeviceEvidence, DeviceKind, Endorsements, PlatformTag, ReportData};

    use super::{Device, WithDevices};
    use crate::{Attester, AttesterError, Collected};

    struct Platform;

    impl Attester for Platform {
        fn platform(&self) -> PlatformTag {
            PlatformTag::IntelTdx
        }

        fn evidence(&self, report_data: &ReportData) -> Result<Collected, AttesterError> {
            Ok(Collected {
                evidence: report_data.to_vec(),
                ..Collected::default()
            })
        }
    }

    struct Gpu(bool);

    impl Device for Gpu {
        fn evidence(&self, report_data: &ReportData) -> Result<Vec<DeviceEvidence>, AttesterError> {
            if !self.0 {
                return Err(AttesterError::Busy("the GPU"));
            }
            Ok(vec![DeviceEvidence {
                kind: DeviceKind::NvidiaGpu,
                evidence: report_data[..32].to_vec(),
                certificates: Vec::new(),
                endorsements: Endorsements::new(),
            }])
        }

        fn digests(&self) -> Result<Vec<[u8; 32]>, AttesterError> {
            Ok(vec![[u8::from(self.0); 32]])
        }
    }

    #[test]
    fn devices_travel_with_the_platform_and_one_that_fails_fails_the_whole() {
        let attester = WithDevices::new(Box::new(Platform), vec![Box::new(Gpu(true)), Box::new(Gpu(true))]);
        assert_eq!(attester.platform(), PlatformTag::IntelTdx);
        let collected = attester.evidence(&[7; 64]).expect("evidence");
        assert_eq!(collected.evidence, [7; 64]);
        assert_eq!(collected.devices.len(), 2);
        assert_eq!(attester.device_digests().expect("digests"), [[1; 32]; 2]);
        assert!(collected.devices.iter().all(|device| device.evidence == [7; 32]));

        let attester = WithDevices::new(
            Box::new(Platform),
            vec![Box::new(Gpu(true)), Box::new(Gpu(false))],
        );
        assert_eq!(
            attester.evidence(&[7; 64]).expect_err("one GPU is busy").code(),
            "attester-busy"
        );
    }
}
