//! The event log behind quoted PCRs.
//!
//! Whoever sends it wrote it. It counts for as much as the PCRs that it explains: each PCR into which it
//! measures, if it was quoted, must come out of it; what it says of others is left aside, unread.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::rules;
use super::selection::HashAlgorithm;
use crate::event_log::{EventLog, RegisterLayout};
use crate::examination::Examination;
use crate::fields::{Field, Fields};

/// Records the clause; what the log says of the boot, if it holds. `values` are PCRs and their quoted values.
pub(super) fn examine(
    examination: &mut Examination,
    log: Option<&[u8]>,
    bank: HashAlgorithm,
    values: &[(u8, &[u8])],
) -> Vec<Field> {
    let mut boot = Fields::default();
    let (holds, found) = match log.map(|log| explained(log, bank, values)) {
        None => (true, String::from("none; PCRs are compared")),
        Some(Ok(log)) => {
            log.boot_fields(&mut boot);
            (true, format!("{} events", log.events().len()))
        }
        Some(Err(fault)) => (false, fault),
    };
    let expected = "a log that replays to the quoted PCRs, or none";
    examination.check(&rules::EVENT_LOG, holds, expected, found);
    boot.into_vec()
}

/// The log's events of quoted PCRs, or what is wrong with it.
fn explained(log: &[u8], bank: HashAlgorithm, values: &[(u8, &[u8])]) -> Result<EventLog, String> {
    let log = EventLog::parse(log).map_err(|error| error.to_string())?;
    if log.layout() != RegisterLayout::Pcr {
        return Err(String::from("a log of other registers than PCRs"));
    }
    let measured = log.registers();
    for (pcr, value) in values {
        let pcr = u32::from(*pcr);
        let replayed = match bank {
            HashAlgorithm::Sha256 => log.replay_sha256(pcr).map(Vec::from),
            HashAlgorithm::Sha384 => log.replay_sha384(pcr).map(Vec::from),
            _ => None,
        };
        if measured.contains(&pcr) && replayed.as_deref() != Some(*value) {
            let replayed = replayed.map_or_else(|| String::from("digests are missing"), hex::encode);
            return Err(format!("PCR {pcr}: {replayed}"));
        }
    }
    let log = log.only(|register| values.iter().any(|(pcr, _)| u32::from(*pcr) == register));
    match log.disagreeing() {
        Some((at, event)) => Err(format!("event {at}, {}: another digest", event.kind())),
        None => Ok(log),
    }
}
