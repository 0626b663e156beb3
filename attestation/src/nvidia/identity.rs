//! Which device reports, of which kind, with which firmware.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::device::{self, Architecture, DeviceChain, Firmware};
use super::examine::{DeviceClaims, Evidence};
use super::opaque::{self, OpaqueData};
use super::rules;
use crate::examination::Examination;

/// Which device this is; `None` if it does not say.
pub(super) fn examine(
    examination: &mut Examination,
    opaque: &OpaqueData<'_>,
    chain: &DeviceChain<'_>,
    evidence: &Evidence<'_>,
) -> Option<DeviceClaims> {
    let policy = evidence.policy;
    let (chip, architecture) = (chain.chip(), chain.architecture());
    let agrees = chip.zip(architecture).is_some_and(|(chip, architecture)| {
        architecture.kind() == evidence.kind && device::report_agrees(opaque, chip, architecture)
    });
    examination.check(
        &rules::ARCHITECTURE,
        agrees,
        format!("one chip in certificates and report, {}", evidence.kind.as_str()),
        match chip {
            Some(chip) if agrees => chip.to_owned(),
            Some(chip) => format!("{chip} in the certificates, another in the report, or none of this kind"),
            None => "certificates that name different chips".to_owned(),
        },
    );
    firmware(examination, opaque, chain);
    let device_id = chain.device_id();
    let own = opaque.get(opaque::PDI);
    let switch = architecture.is_some_and(Architecture::is_switch);
    // A switch states its identifier itself; a GPU states those of its switches.
    let same = device_id
        .as_deref()
        .is_some_and(|id| !switch || own.is_some_and(|own| own.len() == 8 && id.ends_with(own)));
    examination.check(
        &rules::DEVICE_IDENTITY,
        same,
        "a serial number in the device's certificate",
        match &device_id {
            Some(id) if same => hex::encode(id),
            Some(id) => format!("{}, and another in the report", hex::encode(id)),
            None => "none".to_owned(),
        },
    );
    let (architecture, device_id) = architecture.zip(device_id)?;
    let accepted = policy.minimum(architecture).is_some();
    let names: Vec<_> = policy
        .minimum_versions
        .iter()
        .map(|minimum| minimum.architecture.name())
        .collect();
    examination.check(
        &rules::ACCEPTED_ARCHITECTURE,
        accepted,
        names.join(" or "),
        architecture.name(),
    );
    let devices = &policy.enrolled_devices;
    examination.check(
        &rules::ENROLLED,
        devices.contains(&device_id),
        devices.to_string(),
        hex::encode(&device_id),
    );
    Some(DeviceClaims {
        architecture,
        device_id,
        leaf_digest: [0; 32],
        driver: None,
        vbios: None,
        mode: None,
        peers: Vec::new(),
    })
}

/// Whether the leaf is of the firmware that reports, and what it says of that firmware.
fn firmware(examination: &mut Examination, opaque: &OpaqueData<'_>, chain: &DeviceChain<'_>) {
    let firmware = Firmware::parse(chain.leaf()).ok();
    let stated = opaque.get(opaque::FWID);
    let certified = firmware.as_ref().map(|firmware| firmware.fwid.as_slice());
    let of_device = firmware
        .as_ref()
        .is_some_and(|firmware| firmware.device_key.is_none_or(|key| key == chain.device().spki));
    // Switches and drivers before R570 state none. The report is signed: nobody took it out.
    let same = of_device && stated.is_none_or(|stated| Some(stated) == certified);
    examination.check(
        &rules::FWID,
        same,
        certified.map_or_else(|| "an FWID in the leaf".to_owned(), hex::encode),
        match (stated, of_device) {
            (_, false) => "none in the leaf, or of another device".to_owned(),
            (Some(stated), true) => hex::encode(stated),
            (None, true) => "the leaf's; the report states none".to_owned(),
        },
    );
    let Some(firmware) = firmware else { return };
    let weakened = firmware.is_weakened();
    examination.check(
        &rules::FIRMWARE_STATE,
        weakened != Some(true),
        "secure, no recovery, no debug",
        match weakened {
            Some(true) => "not so",
            Some(false) => "so",
            None => "not stated by this leaf: measurements show it",
        },
    );
}
