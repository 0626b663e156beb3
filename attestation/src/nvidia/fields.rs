//! The fields of a report in the words of SPDM and of NVIDIA's tools.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::opaque::{self, OpaqueData};
use super::report::Report;
use super::version::VbiosVersion;
use super::{Mode, mode};
use crate::fields::{Field, Fields};

/// Header, every measurement, every record of the opaque data, and what the records mean.
pub(crate) fn fields(report: &Report<'_>) -> Vec<Field> {
    let mut fields = Fields::default();
    let request = report.request;
    fields
        .bytes("request header", 0, &request.header)
        .bytes("nonce", 4, request.nonce)
        .number("slot", 36, request.slot.into(), "")
        .bytes("response header", 37, &report.response_header)
        .number("measurement blocks", 41, report.measurements.len() as u64, "");
    for measurement in &report.measurements {
        let kind = if measurement.digest().is_some() {
            "SHA-384"
        } else {
            "raw"
        };
        fields.text(
            format!("measurement {}", measurement.index),
            None,
            format!("{kind} {}", hex::encode(measurement.value())),
        );
    }
    fields.text("device nonce", None, hex::encode(report.responder_nonce));
    match OpaqueData::parse(report.opaque) {
        Some(data) => opaque_data(&mut fields, &data),
        None => {
            fields.text("opaque data", None, hex::encode(report.opaque));
        }
    }
    fields.text("signature", None, hex::encode(report.signature));
    fields.text("bytes after the signature", None, report.trailing.len());
    fields.into_vec()
}

/// The names under which NVIDIA publishes the manifests of a GPU's driver and of its VBIOS.
pub(crate) fn manifests(report: &Report<'_>) -> Option<(String, String)> {
    let data = OpaqueData::parse(report.opaque)?;
    Some((driver_manifest(&data)?, vbios_manifest(&data)?))
}

fn opaque_data(fields: &mut Fields, data: &OpaqueData<'_>) {
    for (name, value) in data.iter() {
        fields.text(name, None, hex::encode(value));
    }
    let text = |kind| data.text(kind).map(String::from);
    let vbios = data
        .array(opaque::VBIOS_VERSION)
        .and_then(VbiosVersion::from_report)
        .map(|version| format!("{version}"))
        .or_else(|| text(opaque::VBIOS_VERSION));
    let switch = data.get(opaque::DRIVER_VERSION).is_none();
    let meanings = [
        ("driver", text(opaque::DRIVER_VERSION)),
        ("VBIOS", vbios),
        (
            "mode",
            Mode::of_gpu(data)
                .filter(|_| !switch)
                .map(|mode| format!("{mode}")),
        ),
        (
            "locked",
            switch.then(|| String::from(if mode::is_locked(data) { "yes" } else { "no" })),
        ),
        ("chip name", text(opaque::CHIP_INFO)),
        ("driver manifest", driver_manifest(data)),
        ("VBIOS manifest", vbios_manifest(data)),
    ];
    for (name, meaning) in meanings {
        if let Some(meaning) = meaning {
            fields.text(name, None, meaning);
        }
    }
}

/// The name under which NVIDIA publishes the manifest of a GPU's driver.
fn driver_manifest(data: &OpaqueData<'_>) -> Option<String> {
    let version = data.text(opaque::DRIVER_VERSION)?;
    let architecture = data.array::<8>(opaque::GPU_INFO)?;
    Some(match (architecture, data.text(opaque::CHIP_INFO)) {
        ([0x80, 0x01, ..], _) => format!("NV_GPU_DRIVER_GH100_{version}"),
        (_, chip) => format!("NV_GPU_CC_DRIVER_{}_{version}", chip.unwrap_or("GB100")),
    })
}

/// The name under which NVIDIA publishes the manifest of a GPU's VBIOS: board and version.
fn vbios_manifest(data: &OpaqueData<'_>) -> Option<String> {
    let version = VbiosVersion::from_report(data.array(opaque::VBIOS_VERSION)?)?;
    let part = |kind| data.text(kind);
    let (project, sku) = (part(opaque::PROJECT)?, part(opaque::PROJECT_SKU)?);
    let chip = part(opaque::CHIP_SKU)?;
    let version = format!("{version}").replace('.', "");
    Some(format!("NV_GPU_VBIOS_{project}_{sku}_{chip}_{version}"))
}
