//! The fields of an HCL report; settings have the names that the paravisor gives them.

use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::hcl::{HclReport, ReportType};
use super::runtime::RuntimeData;
use super::td_report::TdReport;
use crate::fields::{Field, Fields};
use crate::snp::{self, Report};

/// Every field of header, hardware report and runtime data.
pub(crate) fn fields(hcl: &HclReport<'_>) -> Vec<Field> {
    let mut fields = Fields::default();
    let hash = hcl.hash_type();
    let hash = hash.map_or_else(|number| number.to_string(), |hash| hash.to_string());
    fields
        .number("version", 4, hcl.version.into(), "")
        .number("data version", 1220, hcl.data_version.into(), "")
        .text("report type", Some(1224), hcl.report_type)
        .text("hash type", Some(1228), hash);
    let hardware = match hcl.report_type {
        ReportType::Snp => Report::parse(hcl.hardware_report).map(|report| snp::fields(&report, None)),
        ReportType::Tdx => Some(TdReport::new(hcl.hardware_report).fields()),
        ReportType::Other(_) => None,
    };
    // Offsets are those inside the hardware report, which begins at 32.
    let mut all = fields.into_vec();
    all.extend(hardware.into_iter().flatten());
    let mut fields = Fields::default();
    match RuntimeData::parse(hcl.runtime_data) {
        Some(runtime) => runtime_data(&mut fields, &runtime),
        None => {
            fields.text("runtime data", None, "not readable");
        }
    }
    all.extend(fields.into_vec());
    all
}

fn runtime_data(fields: &mut Fields, runtime: &RuntimeData) {
    fields.text("keys", None, runtime.key_names());
    if let Some(key) = runtime.attestation_key() {
        fields.text("HCLAkPub", None, hex::encode(key.modulus));
    }
    for (name, value) in &runtime.settings {
        fields.text(name.clone(), None, value);
    }
    fields.text("user-data", None, runtime.user_data.as_deref().unwrap_or("none"));
    for name in &runtime.others {
        fields.text(name.clone(), None, "not read");
    }
}
