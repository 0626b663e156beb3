//! Bytes that are not an event log.

use thiserror::Error;

/// Why bytes are not an event log that can be replayed. Positions are offsets, or count events from 0.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EventLogError {
    /// More than is ever read.
    #[error("the event log exceeds its bound")]
    TooLarge,
    /// More events than are ever read.
    #[error("the event log has more than 4096 events")]
    TooManyEvents,
    /// Neither a TCG log nor a JSON array.
    #[error("not an event log: it begins with neither a Spec ID event nor a JSON array")]
    NotALog,
    /// A log of TPM 1.2, which has SHA-1 digests only.
    #[error("an event log of TPM 1.2 has no digests that can be relied upon")]
    NotCryptoAgile,
    /// The Spec ID event is malformed.
    #[error("the Spec ID event of the log is malformed")]
    Header,
    /// An event is malformed or cut off.
    #[error("the event at offset {0} is malformed or cut off")]
    Event(usize),
    /// Something other than padding follows the last event.
    #[error("something other than padding stands at offset {0}, after the last event")]
    Padding(usize),
    /// Not JSON of the documented shape.
    #[error("the JSON event log has another shape")]
    Json,
    /// An entry of a JSON log is outside its bounds.
    #[error("entry {0} of the JSON event log is malformed")]
    Entry(usize),
}

impl EventLogError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            EventLogError::TooLarge => "event-log-too-large",
            EventLogError::TooManyEvents => "event-log-too-many-events",
            EventLogError::NotALog => "event-log-unknown",
            EventLogError::NotCryptoAgile => "event-log-not-crypto-agile",
            EventLogError::Header => "event-log-header",
            EventLogError::Event(_) => "event-log-event",
            EventLogError::Padding(_) => "event-log-padding",
            EventLogError::Json => "event-log-json",
            EventLogError::Entry(_) => "event-log-entry",
        }
    }

    /// Exit code of a command: 20 malformed, 30 unsupported.
    pub fn exit_code(&self) -> u8 {
        match self {
            EventLogError::NotCryptoAgile => 30,
            _ => 20,
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            EventLogError::TooLarge | EventLogError::TooManyEvents => {
                "send the log without its padding; an honest boot logs far less"
            }
            EventLogError::NotALog => {
                "send the CCEL table's data area, the TPM's binary_bios_measurements or dstack's event log"
            }
            EventLogError::NotCryptoAgile => "use a machine with a TPM 2.0 or a confidential VM",
            EventLogError::Header
            | EventLogError::Event(_)
            | EventLogError::Padding(_)
            | EventLogError::Json
            | EventLogError::Entry(_) => {
                "fetch the log again; if it persists, the enclave or the host sends garbage"
            }
        }
    }
}
