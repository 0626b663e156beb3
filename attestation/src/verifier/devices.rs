//! Devices of the same machine: those that the statement lists, no more and no fewer, each bound to the
//! processor's report data.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Verifier;
use crate::device::{DeviceEvidence, DeviceKind, device_nonce};
use crate::examination::{Examination, Rule, rules};
use crate::statement::{self, Statement};
use crate::{
    EndorsementKind, GceVtpmPolicy, NvidiaDevice, ReportData, gce, nvidia, roots, vtpm_qualifying_data,
};

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
        let of_nvidia = devices.iter().filter(|device| is_nvidia(device)).count();
        let vtpms = devices.iter().filter(|device| device.kind == DeviceKind::GceVtpm);
        let of_vtpm = vtpms.count();
        // One machine has one.
        let vtpms = usize::from(self.policy.gce_vtpm.is_some());
        examination.check(
            &ACCEPTED,
            (of_nvidia > 0) == wanted && of_vtpm == vtpms,
            format!("{} of NVIDIA, {vtpms} vTPM", if wanted { "some" } else { "none" }),
            format!("{of_nvidia} of NVIDIA, {of_vtpm} vTPM"),
        );
        let Some(report_data) = report_data else {
            return;
        };
        let vtpm = devices.iter().find(|device| device.kind == DeviceKind::GceVtpm);
        if let (Some(policy), Some(vtpm)) = (&self.policy.gce_vtpm, vtpm) {
            examine_vtpm(examination, policy, vtpm, report_data);
        }
        if !wanted {
            return;
        }
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
        if self.policy.gce_vtpm.is_some() {
            rules.extend(gce::vtpm::RULES);
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

/// The vTPM holds the certificate of its own key; those above it come as endorsements.
fn examine_vtpm(
    examination: &mut Examination,
    policy: &GceVtpmPolicy,
    vtpm: &DeviceEvidence,
    report_data: &ReportData,
) {
    let above = vtpm.endorsements.document(EndorsementKind::VtpmAkChain);
    let certificates = [&vtpm.certificates[..], above.unwrap_or_default()].concat();
    gce::vtpm::examine(
        examination,
        &gce::vtpm::VtpmEvidence {
            evidence: &vtpm.evidence,
            certificates: &certificates,
            // Devices travel without a log.
            event_log: None,
            policy,
            anchor: &roots::google_vtpm(),
            qualifying_data: Some(&vtpm_qualifying_data(report_data)),
        },
    );
}
