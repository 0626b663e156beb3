//! Event logs. What a log shows beside its digests is not measured, so a mutant may be read; but then either some
//! register is another, or the same digests went into the same registers in the same order.

use attestation::EventLog;

use super::{Fate, assert_none_accepted, fate, number, resize, swap};
use crate::random::Random;
use crate::real::manifest;

/// What is measured: which digests went into which register.
fn measured(log: &EventLog) -> Vec<(u32, Vec<u8>)> {
    let mut measured: Vec<_> = log
        .events()
        .iter()
        .filter(|event| event.is_extended())
        .map(|event| {
            (
                event.register(),
                event.sha384().map_or_else(Vec::new, |digest| digest.to_vec()),
            )
        })
        .collect();
    measured.sort_by_key(|(register, _)| *register);
    measured
}

fn registers(log: &EventLog) -> Vec<(u32, Option<[u8; 48]>)> {
    (0..32)
        .map(|register| (register, log.replay_sha384(register)))
        .collect()
}

/// Changes lengths, counts, types and digests; the fields are found by their values, little-endian or in JSON.
fn mutate(random: &mut Random, log: &mut Vec<u8>, used: usize) {
    let at = random.below(used);
    match random.below(8) {
        0 => number(random, log, at, 4),
        1 => number(random, log, at, 2),
        2 => {
            let other = random.below(used);
            swap(log, at, other, 1 + random.below(120));
        }
        3 => {
            let end = (at + random.below(400)).min(used);
            let again = log[at..end].to_vec();
            log.splice(at..at, again);
        }
        4 => drop(log.drain(at..(at + random.below(400)).min(used))),
        5 => resize(random, log),
        6 => log[at..(at + 48).min(used)].fill(random.byte()),
        _ => random.flip(log, 0, used),
    }
}

#[test]
fn no_mutant_of_a_real_log_shows_other_events_in_the_same_registers() {
    let Some((folder, _)) = manifest() else { return };
    let read = |name: &str| std::fs::read(folder.join(name)).expect("the file of a vector");
    let logs: Vec<_> = [
        "gcp/gcp-tdx-cos113-ccel/ccel.bin",
        "gcp/logs/gcp-log-ubuntu2404-amd-sevsnp.bin",
        "gcp/logs/gcp-log-sp800155.bin",
        "gcp/gcp-vtpm-cos85-nonce9009/eventlog.bin",
        "tdx/tdx-v4-dstack-event-log/event-log.json",
        "composite/composite-tdx-8xhopper-near/event-log.json",
    ]
    .into_iter()
    .map(|name| {
        let bytes = read(name);
        let log = EventLog::parse(&bytes).expect("it reads");
        let bytes = bytes[..log.bytes_used()].to_vec();
        let registers = registers(&log);
        let known = registers.iter().filter(|(_, value)| value.is_some()).count();
        assert!(known > 2, "{name}: {known} registers");
        (measured(&log), registers, bytes)
    })
    .collect();
    assert_none_accepted("event logs", 20_000, |random| -> Fate {
        let (events, values, bytes) = random.pick(&logs);
        let mut changed = bytes.clone();
        mutate(random, &mut changed, bytes.len());
        fate(changed == *bytes, bytes, &changed, || {
            let log = EventLog::parse(&changed);
            log.is_ok_and(|log| registers(&log) == *values && measured(&log) != *events)
        })
    });
}
