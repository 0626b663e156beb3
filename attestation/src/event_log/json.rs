//! dstack's event log: a JSON array of `{imr, event_type, digest, event, event_payload}`.
//!
//! `imr` counts from RTMR0. Entries of the boot are those of the CCEL; payloads may be left out. Runtime events
//! (RTMR3) have a digest of their own:
//!
//! | version | SHA-384 of |
//! |---|---|
//! | 1, or none | type (32 bits, little-endian) `:` name `:` payload |
//! | 2 | `{"name":…,"payload":…,"type":134217729}` in canonical form (RFC 8785) |
//!
//! In version 1 a name with a colon could be cut elsewhere, so such an event is not read as anything.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use sha2::{Digest as _, Sha384};

use super::event::{Event, EventKind};
use super::{
    Agreement, Bank, EVENT_LOG_BYTES_MAX, EVENTS_MAX, EventLog, EventLogError, RegisterLayout, agreement,
};

const RTMRS: u32 = 4;
const NAME_BYTES_MAX: usize = 256;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    imr: u32,
    event_type: u32,
    /// Runtime events may leave it out: it follows from the rest.
    #[serde(default)]
    digest: String,
    event: String,
    event_payload: String,
    /// Of runtime events.
    #[serde(default)]
    version: Option<u32>,
    /// What was hashed, in hexadecimal digits; must be what follows from the rest.
    #[serde(default)]
    preimage: Option<String>,
}

/// Reads a whole log.
pub(super) fn parse(bytes: &[u8]) -> Result<EventLog, EventLogError> {
    if bytes.len() > EVENT_LOG_BYTES_MAX {
        return Err(EventLogError::TooLarge);
    }
    let entries: Vec<Entry> = serde_json::from_slice(bytes).map_err(|_| EventLogError::Json)?;
    if entries.len() > EVENTS_MAX {
        return Err(EventLogError::TooManyEvents);
    }
    let events = entries
        .into_iter()
        .enumerate()
        .map(|(at, entry)| entry.event().ok_or(EventLogError::Entry(at)))
        .collect::<Result<_, _>>()?;
    Ok(EventLog {
        events,
        banks: alloc::vec![Bank::Sha384],
        layout: RegisterLayout::Confidential,
        bytes_used: bytes.len(),
    })
}

impl Entry {
    fn event(self) -> Option<Event> {
        if self.imr >= RTMRS || self.event.len() > NAME_BYTES_MAX {
            return None;
        }
        let kind = EventKind(self.event_type);
        let data = hex::decode(&self.event_payload).ok()?;
        let preimage = match (kind, self.version) {
            (EventKind::APPLICATION, None | Some(1)) => Some(preimage_1(&self.event, &data)),
            (EventKind::APPLICATION, Some(2)) => Some(preimage_2(&self.event, &data)?),
            // Events of the boot have neither version nor preimage: one that is told is refused below.
            (_, None | Some(1)) => None,
            _ => return None,
        };
        let told = self.preimage.as_ref().map(hex::decode).transpose().ok()?;
        if told.is_some() && told != preimage {
            return None;
        }
        let expected: Option<[u8; 48]> = preimage.as_ref().map(|preimage| Sha384::digest(preimage).into());
        let digest = match (self.digest.as_str(), expected) {
            ("", Some(expected)) => expected,
            ("", None) => return None,
            (text, _) => {
                let mut digest = [0; 48];
                hex::decode_to_slice(text, &mut digest).ok()?;
                digest
            }
        };
        let mut event = Event {
            register: self.imr.checked_add(1)?,
            kind,
            sha256: None,
            sha384: Some(digest),
            name: self.event,
            data,
            agreement: Agreement::NotExtended,
        };
        event.agreement = match expected {
            Some(expected) if digest != expected => Agreement::Mismatch,
            Some(_) if self.version != Some(2) && event.name.contains(':') => Agreement::Unknown,
            Some(_) => Agreement::Recomputed,
            None => of_boot(&event),
        };
        Some(event)
    }
}

/// An event of the boot: as in a TCG log, unless its payload was left out.
fn of_boot(event: &Event) -> Agreement {
    if !event.data.is_empty() || !event.is_extended() {
        return agreement::of(event);
    }
    if event.kind == EventKind::SEPARATOR && !agreement::is_separator(event) {
        Agreement::Mismatch
    } else {
        Agreement::Withheld
    }
}

fn preimage_1(name: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = EventKind::APPLICATION.0.to_le_bytes().to_vec();
    bytes.push(b':');
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(b':');
    bytes.extend_from_slice(payload);
    bytes
}

/// Keys in order, no white space; a string is escaped as `serde_json` does it, which RFC 8785 section 3.2.2.2
/// asks for.
fn preimage_2(name: &str, payload: &[u8]) -> Option<Vec<u8>> {
    let name = serde_json::to_string(name).ok()?;
    let kind = EventKind::APPLICATION.0;
    Some(
        format!(
            "{{\"name\":{name},\"payload\":\"{}\",\"type\":{kind}}}",
            hex::encode(payload)
        )
        .into_bytes(),
    )
}
