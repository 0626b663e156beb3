//! What people read of an HCL report.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::hcl::{HclReport, ReportType};
use super::runtime::RuntimeData;
use super::td_report::TdReport;
use crate::snp::Report;

/// Name and value of each field of an HCL report; `None` if it is none. Settings have the names that
/// the paravisor gives them. Nothing has been verified.
pub fn hcl_report_fields(hcl_report: &[u8]) -> Option<Vec<(String, String)>> {
    let hcl = HclReport::parse(hcl_report)?;
    let mut fields = Vec::new();
    let mut field = |name: &str, value: String| fields.push((String::from(name), value));
    field("hcl-version", hcl.version.to_string());
    field("data-version", hcl.data_version.to_string());
    field("report-type", hcl.report_type.to_string());
    let hash = hcl.hash_type();
    let hash = hash.map_or_else(|number| number.to_string(), |hash| hash.to_string());
    field("hash-type", hash);
    match hcl.report_type {
        ReportType::Snp => {
            if let Some(report) = Report::parse(hcl.hardware_report) {
                field("measurement", hex::encode(report.measurement()));
                field("report-data", hex::encode(report.report_data()));
            }
        }
        ReportType::Tdx => {
            let report = TdReport::new(hcl.hardware_report);
            field("mrtd", hex::encode(report.mrtd()));
            field("report-data", hex::encode(report.report_data()));
        }
        ReportType::Other(_) => {}
    }
    let Some(runtime) = RuntimeData::parse(hcl.runtime_data) else {
        field("runtime-data", String::from("not readable"));
        return Some(fields);
    };
    field("keys", runtime.key_names());
    if let Some(key) = runtime.attestation_key() {
        field("HCLAkPub", hex::encode(key.modulus));
    }
    for (name, value) in &runtime.settings {
        field(name, value.to_string());
    }
    field(
        "user-data",
        runtime.user_data.unwrap_or_else(|| String::from("none")),
    );
    Some(fields)
}
