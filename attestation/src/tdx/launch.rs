//! What was launched, and how: measurements, report data, attributes.

use alloc::format;
use alloc::string::{String, ToString as _};

use super::examine::Evidence;
use super::quote::{Quote, TUD_MASK};
use super::{log, rules};
use crate::endorsements::EndorsementKind;
use crate::event_log::EventLog;
use crate::examination::Examination;
use crate::policy::Machine;
use crate::{gce, statement};

/// Records the clauses; returns the event log if there is one that could be read.
pub(super) fn examine(
    examination: &mut Examination,
    quote: &Quote<'_>,
    evidence: &Evidence<'_>,
) -> Option<EventLog> {
    let (policy, body) = (evidence.policy, &quote.body);
    if let Some(report_data) = evidence.report_data {
        statement::check_report_data(examination, report_data, body.report_data());
    }
    firmware(examination, body.mrtd(), evidence);
    let log = log::examine(examination, body, evidence);
    for (rule, references, value) in [
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
    log
}

/// The firmware: listed, or endorsed by Google.
fn firmware(examination: &mut Examination, mrtd: &[u8; 48], evidence: &Evidence<'_>) {
    let policy = evidence.policy;
    let (holds, expected) = match (&policy.mrtd, &policy.gce_firmware) {
        (Some(references), None) => (references.contains(mrtd), references.to_string()),
        (None, Some(policy)) => {
            let endorsed = gce::examine(
                examination,
                &gce::Evidence {
                    document: evidence
                        .endorsements
                        .document(EndorsementKind::GceLaunchEndorsement),
                    policy,
                    machine: Machine::Tdx,
                    measurement: mrtd,
                },
            );
            (endorsed, String::from("endorsed by Google"))
        }
        // Reading a policy refuses both.
        _ => (false, String::from("one kind of reference")),
    };
    examination.check(&rules::MRTD, holds, expected, hex::encode(mrtd));
}
