//! How new platform and firmware are: TCB versions against certificate, each other and the policy.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::endorsed::Endorsed;
use super::generation::Generation;
use super::report::Report;
use super::rules;
use super::tcb::TcbVersion;
use crate::examination::Examination;
use crate::policy::{MinimumTcb, SnpPolicy};

/// Records the clauses.
pub(super) fn examine(
    examination: &mut Examination,
    report: &Report<'_>,
    endorsed: &Endorsed,
    policy: &SnpPolicy,
) {
    let generation = endorsed.generation;
    let parse = |bytes| TcbVersion::parse(generation, bytes);
    let versions = (
        parse(report.reported_tcb()),
        parse(report.committed_tcb()),
        parse(report.current_tcb()),
        parse(report.launch_tcb()),
    );
    let versions = match versions {
        (Some(reported), Some(committed), Some(current), Some(launch)) => {
            Some([reported, committed, current, launch])
        }
        _ => None,
    };
    let expected = format!("the layout of {generation}");
    let Some([reported, committed, current, launch]) =
        examination.require(&rules::TCB_LAYOUT, versions, &expected, "reserved bytes not zero")
    else {
        return;
    };
    let certified = endorsed.leaf.tcb;
    examination.check(
        &rules::TCB_CERTIFIED,
        reported == certified,
        certified.to_string(),
        reported.to_string(),
    );
    let ordered =
        committed.is_at_least(&reported) && current.is_at_least(&committed) && current.is_at_least(&launch);
    examination.check(
        &rules::TCB_ORDER,
        ordered,
        "reported <= committed <= current, launch <= current",
        format!("reported {reported}; committed {committed}; current {current}; launch {launch}"),
    );
    let (firmware, current_firmware) = (report.committed_firmware(), report.current_firmware());
    examination.check(
        &rules::FIRMWARE_ORDER,
        firmware <= current_firmware,
        format!("at most {current_firmware}"),
        firmware.to_string(),
    );

    let minima = minima(report, generation, policy);
    let processor = report
        .processor()
        .map_or(String::from("not named"), |[family, model, stepping]| {
            format!("{family:02x}/{model:02x}/{stepping:x}")
        });
    let known = !minima.is_empty();
    examination.check(
        &rules::PROCESSOR,
        known,
        "an entry of minimum_tcb",
        format!("{generation} {processor}"),
    );
    for minimum in minima {
        let floor = minimum.tcb();
        for (rule, tcb) in [
            (&rules::TCB_REPORTED, reported),
            (&rules::TCB_COMMITTED, committed),
            (&rules::TCB_LAUNCH, launch),
        ] {
            examination.check(
                rule,
                tcb.is_at_least(&floor),
                format!("at least {floor}"),
                tcb.to_string(),
            );
        }
        examination.check(
            &rules::FIRMWARE,
            firmware >= minimum.firmware,
            format!("at least {}", minimum.firmware),
            firmware.to_string(),
        );
        let mitigations = report.launch_mitigations() & report.current_mitigations();
        examination.check(
            &rules::MITIGATIONS,
            mitigations & minimum.mitigations == minimum.mitigations,
            format!("at least {:#x}", minimum.mitigations),
            format!("{mitigations:#x}"),
        );
    }
}

/// The policy's entries for this processor. A version 2 report names none: every entry of its
/// generation must hold.
fn minima<'a>(report: &Report<'_>, generation: Generation, policy: &'a SnpPolicy) -> Vec<&'a MinimumTcb> {
    let of_generation = policy
        .minimum_tcb
        .iter()
        .filter(|entry| entry.generation == generation);
    match report.processor() {
        None => of_generation.collect(),
        Some([_, model, stepping]) => of_generation
            .filter(|entry| entry.models.contains(model.into()) && entry.steppings.contains(stepping.into()))
            .collect(),
    }
}
