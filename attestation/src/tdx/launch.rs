//! What was launched, and how: measurements, report data, attributes.

use alloc::format;
use alloc::string::{String, ToString as _};

use super::examine::Evidence;
use super::quote::{Quote, TUD_MASK};
use super::rules;
use crate::examination::Examination;
use crate::statement;

/// Records the clauses.
pub(super) fn examine(examination: &mut Examination, quote: &Quote<'_>, evidence: &Evidence<'_>) {
    let (policy, body) = (evidence.policy, &quote.body);
    if let Some(report_data) = evidence.report_data {
        statement::check_report_data(examination, report_data, body.report_data());
    }
    for (rule, references, value) in [
        (&rules::MRTD, &policy.mrtd, body.mrtd()),
        (&rules::RTMR0, &policy.rtmr0, body.rtmr(0)),
        (&rules::RTMR1, &policy.rtmr1, body.rtmr(1)),
        (&rules::RTMR2, &policy.rtmr2, body.rtmr(2)),
        (&rules::RTMR3, &policy.rtmr3, body.rtmr(3)),
        (&rules::MRCONFIGID, &policy.mrconfigid, body.mrconfigid()),
        (&rules::MROWNER, &policy.mrowner, body.mrowner()),
        (&rules::MROWNERCONFIG, &policy.mrownerconfig, body.mrownerconfig()),
    ] {
        examination.check(
            rule,
            references.contains(value),
            references.to_string(),
            hex::encode(value),
        );
    }
    let attributes = body.td_attributes();
    let tud = attributes & TUD_MASK;
    examination.check(&rules::DEBUG, tud == 0, "0", format!("{tud:#x}"));
    examination.check(
        &rules::ATTRIBUTES,
        policy.td_attributes.contains(attributes),
        policy.td_attributes.to_string(),
        format!("{attributes:#x}"),
    );
    let xfam = body.xfam();
    examination.check(
        &rules::XFAM,
        policy.xfam.contains(xfam),
        policy.xfam.to_string(),
        format!("{xfam:#x}"),
    );
    let service = body.mrservicetd().unwrap_or(&[0; 48]);
    let none = service.iter().all(|byte| *byte == 0);
    examination.check(
        &rules::SERVICE_TD,
        none,
        "none",
        if none {
            String::from("none")
        } else {
            hex::encode(service)
        },
    );
}
