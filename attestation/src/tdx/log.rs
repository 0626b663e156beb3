//! Run-time measurement registers: compared with whole values, or explained by the event log.

use alloc::format;
use alloc::string::{String, ToString as _};

use super::examine::Evidence;
use super::quote::Body;
use super::rules;
use crate::event_log::{EventLog, RegisterLayout};
use crate::examination::{Examination, Rule};
use crate::policy::RegisterReference;

static REGISTERS: [(&Rule, &Rule); 4] = [
    (&rules::RTMR0, &rules::RTMR0_REPLAY),
    (&rules::RTMR1, &rules::RTMR1_REPLAY),
    (&rules::RTMR2, &rules::RTMR2_REPLAY),
    (&rules::RTMR3, &rules::RTMR3_REPLAY),
];
const NOT_ASKED: &str = "none; registers are compared";

/// Records the clauses on registers and log. A log that is there must hold, whether or not it is asked for.
/// Returns it if it could be read.
pub(super) fn examine(
    examination: &mut Examination,
    body: &Body<'_>,
    evidence: &Evidence<'_>,
) -> Option<EventLog> {
    let asked = evidence.policy.rtmrs().contains(&&RegisterReference::Events);
    let log = match evidence.event_log.map(EventLog::parse) {
        None => {
            let expected = if asked { "an event log" } else { NOT_ASKED };
            examination.check(&rules::EVENT_LOG, !asked, expected, "none");
            None
        }
        Some(Ok(log)) => {
            let found = format!("{} events", log.events().len());
            examination.check(&rules::EVENT_LOG, true, "an event log", found);
            Some(log.counted_as(RegisterLayout::Confidential))
        }
        Some(Err(error)) => {
            examination.check(&rules::EVENT_LOG, false, "an event log", error.to_string());
            for ((rule, _), (number, reference)) in REGISTERS.into_iter().zip(references(evidence)) {
                if let RegisterReference::Values(_) = reference {
                    value(examination, rule, reference, body.rtmr(number));
                }
            }
            return None;
        }
    };
    events(examination, log.as_ref(), evidence);
    for ((rule, replay_rule), (number, reference)) in REGISTERS.into_iter().zip(references(evidence)) {
        let quoted = body.rtmr(number);
        replay(examination, replay_rule, log.as_ref(), number, reference, quoted);
        match reference {
            RegisterReference::Values(_) => value(examination, rule, reference, quoted),
            RegisterReference::Events => listed(examination, rule, log.as_ref(), number, evidence),
        }
    }
    log
}

fn references<'a>(evidence: &Evidence<'a>) -> impl Iterator<Item = (usize, &'a RegisterReference)> {
    evidence.policy.rtmrs().into_iter().enumerate()
}

/// The register of a log that is RTMR `number`.
fn register(number: usize) -> u32 {
    u32::try_from(number).map_or(u32::MAX, |number| number.saturating_add(1))
}

fn value(
    examination: &mut Examination,
    rule: &'static Rule,
    reference: &RegisterReference,
    quoted: &[u8; 48],
) {
    let holds = matches!(reference, RegisterReference::Values(values) if values.contains(quoted));
    examination.check(rule, holds, reference.to_string(), hex::encode(quoted));
}

/// Digests against data, and the order of what a register is judged by.
fn events(examination: &mut Examination, log: Option<&EventLog>, evidence: &Evidence<'_>) {
    let disagreeing = log.and_then(EventLog::disagreeing);
    examination.check(
        &rules::EVENT_DIGESTS,
        disagreeing.is_none(),
        "digests of what the log tells",
        match (log, disagreeing) {
            (None, _) => String::from(NOT_ASKED),
            (Some(_), None) => String::from("digests of what the log tells"),
            (Some(_), Some((at, event))) => format!("event {at}, {}: another digest", event.kind()),
        },
    );
    let strangers = log.and_then(|log| {
        let foreign = |register: &u32| !(1..=4).contains(register);
        log.registers().into_iter().find(foreign)
    });
    let fault = match strangers {
        Some(register) => Some(format!("events of register {register}, which is no RTMR")),
        None => references(evidence)
            .filter(|(_, reference)| **reference == RegisterReference::Events)
            .find_map(|(number, _)| log?.order_fault(register(number))),
    };
    examination.check(
        &rules::EVENT_ORDER,
        fault.is_none(),
        "firmware, one separator, boot loader, system",
        fault.unwrap_or_else(|| {
            let found = if log.is_some() {
                "nothing out of order"
            } else {
                NOT_ASKED
            };
            String::from(found)
        }),
    );
}

fn replay(
    examination: &mut Examination,
    rule: &'static Rule,
    log: Option<&EventLog>,
    number: usize,
    reference: &RegisterReference,
    quoted: &[u8; 48],
) {
    let Some(log) = log else {
        let compared = matches!(reference, RegisterReference::Values(_));
        let found = if compared { NOT_ASKED } else { "no event log" };
        examination.check(rule, compared, hex::encode(quoted), found);
        return;
    };
    let replayed = log.replay_sha384(register(number));
    examination.check(
        rule,
        replayed.as_ref() == Some(quoted),
        hex::encode(quoted),
        replayed.map_or_else(|| String::from("digests are missing"), hex::encode),
    );
}

/// Whether every event of the register is one that the policy lists. A register into which nothing was measured
/// has nothing to be judged by.
fn listed(
    examination: &mut Examination,
    rule: &'static Rule,
    log: Option<&EventLog>,
    number: usize,
    evidence: &Evidence<'_>,
) {
    let digests = evidence.policy.event_digests.as_ref();
    let is_listed = |digest: Option<&[u8; 48]>| {
        digest
            .zip(digests)
            .is_some_and(|(digest, digests)| digests.contains(digest))
    };
    let mut count = 0;
    let mut stranger = None;
    for (at, event) in log.iter().flat_map(|log| log.extended(register(number))) {
        count += 1;
        if stranger.is_none() && !is_listed(event.sha384()) {
            let digest = event.sha384().map_or_else(String::new, hex::encode);
            stranger = Some(format!("event {at}, {}: {digest}", event.kind()));
        }
    }
    let found = match (&stranger, count) {
        (Some(stranger), _) => stranger.clone(),
        (None, 0) => String::from("no events"),
        (None, count) => format!("{count} events, all listed"),
    };
    examination.check(
        rule,
        stranger.is_none() && count > 0,
        RegisterReference::Events.to_string(),
        found,
    );
}
