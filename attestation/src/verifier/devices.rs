//! Devices of the same machine: those that the statement lists, no more and no fewer, each bound to the
//! processor's report data.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Verifier;
use crate::device::{DeviceEvidence, DeviceKind, device_nonce};
use crate::examination::{Examination, Rule, rules};
use crate::statement::{self, Statement};
use crate::{NvidiaDevice, ReportData, nvidia};

rules! {
    LISTED = "statement-devices", Expected, Mismatch, "Adyton statement v1, key 13",
        "a GPU of another machine; a device of which the enclave knows nothing";
    ACCEPTED = "devices-accepted", Expected, Refused, "policy: a table for the devices",
        "a device of a kind that nobody asked for, or none where one must be";
}

impl Verifier {
    /// Records [`RULES`], and the rules of the devices that the policy asks for.
    pub(super) fn examine_devices(
        &self,
        examination: &mut Examination,
        devices: &[DeviceEvidence],
        statement: Option<&Statement>,
        report_data: Option<&ReportData>,
    ) {
        if let Some(statement) = statement {
            let found = devices.iter().map(|device| device.digest().unwrap_or_default());
            let found: Vec<_> = found.collect();
            examination.check(
                &LISTED,
                found == statement.device_digests,
                statement::list(&statement.device_digests),
                statement::list(&found),
            );
        }
        let wanted = self.policy.nvidia.is_some();
        let others = devices.iter().filter(|device| !is_nvidia(device)).count();
        let of_nvidia = devices.len() - others;
        examination.check(
            &ACCEPTED,
            others == 0 && (of_nvidia > 0) == wanted,
            if wanted { "NVIDIA devices" } else { "no device" },
            format!("{of_nvidia} of NVIDIA, {others} of another kind"),
        );
        let Some(report_data) = report_data.filter(|_| wanted) else {
            return;
        };
        let names = names(devices);
        let parts = nvidia_devices(devices, &names);
        self.examine_nvidia(examination, &parts, &device_nonce(report_data));
    }

    /// The rules on devices under this policy.
    pub(super) fn device_rules(&self) -> Vec<&'static [&'static Rule]> {
        let mut rules = alloc::vec![RULES];
        if self.policy.nvidia.is_some() {
            rules.extend([nvidia::RULES, nvidia::MANIFEST_RULES, nvidia::SET_RULES]);
        }
        rules
    }
}

pub(super) const fn is_nvidia(device: &DeviceEvidence) -> bool {
    match device.kind {
        DeviceKind::NvidiaGpu | DeviceKind::NvidiaSwitch => true,
        DeviceKind::GceVtpm => false,
    }
}

/// What clauses call each device: its place in the bundle.
pub(super) fn names(devices: &[DeviceEvidence]) -> Vec<String> {
    (0..devices.len())
        .map(|number| format!("device {number}"))
        .collect()
}

/// Those of NVIDIA, under their names.
pub(super) fn nvidia_devices<'a>(
    devices: &'a [DeviceEvidence],
    names: &'a [String],
) -> Vec<NvidiaDevice<'a>> {
    devices
        .iter()
        .zip(names)
        .filter(|(device, _)| is_nvidia(device))
        .map(|(device, name)| NvidiaDevice {
            name,
            kind: device.kind,
            evidence: &device.evidence,
            chain: &device.certificates,
            endorsements: &device.endorsements,
        })
        .collect()
}
