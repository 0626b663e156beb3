//! RTMR 1 and 2 by their events: the part of a draft for a machine whose firmware measures more than the image.

use std::fmt::Write as _;

use attestation::{Event, EventLog, RegisterLayout};

use crate::error::ClientError;

/// The characters of an event's data that a comment shows.
const SHOWN_CHARACTERS: usize = 60;

/// Digests of the events of RTMR 1 and 2, each with what the log says of it.
#[derive(Debug)]
pub struct Events(Vec<(String, String)>);

impl Events {
    /// Reads a log. Registers of measurement count from 1, which is RTMR 0.
    pub fn of(log: &[u8]) -> Result<Self, ClientError> {
        let malformed = |problem: String| ClientError::Malformed {
            what: "the event log",
            problem,
        };
        let log = EventLog::parse(log).map_err(|error| malformed(error.to_string()))?;
        if log.layout() != RegisterLayout::Confidential {
            return Err(malformed("it counts the PCRs of a TPM".to_owned()));
        }
        let mut events: Vec<(String, String)> = Vec::new();
        for event in log.events() {
            if !(2..=3).contains(&event.register()) || !event.is_extended() {
                continue;
            }
            let digest = event
                .sha384()
                .ok_or_else(|| malformed("an event without SHA-384".to_owned()))?;
            let digest = hex::encode(digest);
            if !events.iter().any(|(known, _)| *known == digest) {
                events.push((digest, meaning(event)));
            }
        }
        if events.is_empty() {
            return Err(malformed("no event of RTMR 1 or 2".to_owned()));
        }
        Ok(Self(events))
    }

    /// The key `event_digests`.
    pub(super) fn write(&self, text: &mut String) {
        text.push_str(
            "# The events of RTMR 1 and 2, by digest. The comments are the log's own words, which nobody measured: a digest that\n\
             # neither your image nor firmware that you know explains does not belong here.\n\
             event_digests = [\n",
        );
        for (digest, meaning) in &self.0 {
            let _ = writeln!(text, "    \"{digest}\", # {meaning}");
        }
        text.push_str("]\n");
    }
}

/// Register, type and data, as far as they are plain text: a comment ends with its line.
fn meaning(event: &Event) -> String {
    let data: String = event
        .data()
        .iter()
        .filter(|byte| byte.is_ascii_graphic() || **byte == b' ')
        .map(|byte| char::from(*byte))
        .take(SHOWN_CHARACTERS)
        .collect();
    format!("RTMR {}, {} {data}", event.register() - 1, event.kind())
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_without_events_is_refused() {
        assert!(matches!(Events::of(b"[]"), Err(ClientError::Malformed { .. })));
        assert!(matches!(
            Events::of(b"no log"),
            Err(ClientError::Malformed { .. })
        ));
    }
}
