//! Event logs: what was measured into run-time registers, entry by entry.
//!
//! A log comes from the host and is not signed. It is believed only as far as it explains a register that was
//! attested: replayed, it must give that register's value, and then each digest in it was extended, in that
//! order. What surrounds a digest (type, data, name) was not measured; it is believed only where the digest is
//! that of the data.
//!
//! 1. [`tcg`] reads the crypto agile log of the TCG PC Client Platform Firmware Profile. The CCEL of UEFI
//!    section 38.4 is the same format with registers counted otherwise: 1 is RTMR0. [`json`] reads dstack's.
//! 2. [`agreement`] compares every digest with the data beside it, where the type says what was measured.
//! 3. [`replay`] extends registers from the digests.
//! 4. [`order`] finds what cannot stand in an honest log of a register even though it replays.
//! 5. [`reading`] says what the log means to a person: secure boot, boot loaders, command line.

mod agreement;
mod error;
mod event;
mod json;
mod order;
mod reading;
mod replay;
mod tcg;
#[cfg(test)]
mod tests;
mod variable;

use alloc::vec::Vec;

pub use agreement::Agreement;
pub use error::EventLogError;
pub use event::{Event, EventKind};
pub use replay::Bank;

/// Bound of what a log may take up, padding after its last event included.
pub const EVENT_LOG_AREA_BYTES_MAX: usize = 1024 * 1024;
/// Bound of a log without its padding.
pub(crate) const EVENT_LOG_BYTES_MAX: usize = 256 * 1024;
/// Bound of the number of events.
pub(crate) const EVENTS_MAX: usize = 4096;

/// A log that was read. Nothing in it was compared with an attested register yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLog {
    events: Vec<Event>,
    banks: Vec<Bank>,
    layout: RegisterLayout,
    bytes_used: usize,
}

/// What the register numbers of a log count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegisterLayout {
    /// PCRs of a TPM.
    Pcr,
    /// Measurement registers of a confidential VM: 0 is MRTD, 1 to 4 are RTMR0 to RTMR3 (UEFI section 38.4.1).
    Confidential,
}

impl EventLog {
    /// Reads a TCG log, a CCEL or a JSON log, whichever it is.
    pub fn parse(bytes: &[u8]) -> Result<Self, EventLogError> {
        if bytes.len() > EVENT_LOG_AREA_BYTES_MAX {
            return Err(EventLogError::TooLarge);
        }
        match bytes.trim_ascii_start().first() {
            Some(b'[') => json::parse(bytes),
            _ => tcg::parse(bytes),
        }
    }

    /// The same log with its registers counted so, where the evidence beside it tells: a header could be made to
    /// mislead.
    pub(crate) fn counted_as(mut self, layout: RegisterLayout) -> Self {
        self.layout = layout;
        self
    }

    /// The events in their order. The header of a TCG log is none of them.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The banks that the log has digests for, of those that are replayed here.
    pub fn banks(&self) -> &[Bank] {
        &self.banks
    }

    /// What its register numbers count.
    pub fn layout(&self) -> RegisterLayout {
        self.layout
    }

    /// The bytes without the padding that firmware leaves after the last event.
    pub fn bytes_used(&self) -> usize {
        self.bytes_used
    }

    /// The log without the events of other registers, for whoever knows nothing of these.
    pub(crate) fn only(mut self, is_known: impl Fn(u32) -> bool) -> Self {
        self.events.retain(|event| is_known(event.register));
        self
    }

    /// The first event whose digest is not that of its data although its type says that it should be.
    pub(crate) fn disagreeing(&self) -> Option<(usize, &Event)> {
        self.events
            .iter()
            .enumerate()
            .find(|(_, event)| event.agreement() == Agreement::Mismatch)
    }

    /// The events that were extended into a register.
    pub(crate) fn extended(&self, register: u32) -> impl Iterator<Item = (usize, &Event)> {
        self.events
            .iter()
            .enumerate()
            .filter(move |(_, event)| event.register() == register && event.is_extended())
    }
}
