//! The crypto agile log (TCG PC Client Platform Firmware Profile, section 10; all numbers little-endian).
//!
//! | bytes | header (TCG_PCClientPCREvent) | | bytes | event (TCG_PCR_EVENT2) |
//! |---|---|---|---|---|
//! | 4 | register, 0 or (CCEL) 1 | | 4 | register |
//! | 4 | EV_NO_ACTION | | 4 | type |
//! | 20 | zero | | 4 | number of digests |
//! | 4 | size of what follows | | each: 2 + n | algorithm, digest of the header's size for it |
//! | 16 | `Spec ID Event03` and NUL | | 4 | size of the data |
//! | 4, 1, 1, 1, 1 | platform class, minor, major 2, errata, size of UINTN | | n | data |
//! | 4 | number of algorithms | | | |
//! | each: 2 + 2 | algorithm, digest size | | | |
//! | 1 + n | vendor's own | | | |
//!
//! After the last event an area may be filled with 0xff, or with zero; nothing else may stand there.

use alloc::string::String;
use alloc::vec::Vec;

use super::event::{Event, EventKind};
use super::{
    Agreement, Bank, EVENT_LOG_BYTES_MAX, EVENTS_MAX, EventLog, EventLogError, RegisterLayout, agreement,
};

const SPEC_ID_03: &[u8; 16] = b"Spec ID Event03\0";
const SPEC_MAJOR: u8 = 2;
const ALGORITHMS_MAX: u32 = 16;
const DIGEST_BYTES_MAX: u16 = 64;
/// Digest sizes of TPM_ALG_ID values (TCG Algorithm Registry): SHA-1, SHA-256, SHA-384, SHA-512, SM3.
const DIGEST_BYTES: [(u16, u16); 5] = [(0x4, 20), (SHA256, 32), (SHA384, 48), (0xd, 64), (0x12, 32)];
const SHA256: u16 = 0xb;
const SHA384: u16 = 0xc;
/// MRTD and four RTMRs.
const CONFIDENTIAL_REGISTERS: u32 = 5;

struct Cursor<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let end = self.offset.checked_add(bytes)?;
        let taken = self.bytes.get(self.offset..end)?;
        self.offset = end;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(|bytes| u16::from_le_bytes(*bytes))
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(|bytes| u32::from_le_bytes(*bytes))
    }

    /// A 32-bit size, and so many bytes.
    fn prefixed(&mut self) -> Option<&'a [u8]> {
        let bytes = usize::try_from(self.u32()?).ok()?;
        self.take(bytes)
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.offset..).unwrap_or_default()
    }
}

/// The digest sizes that the header names, in its order.
struct Algorithms(Vec<(u16, u16)>);

impl Algorithms {
    fn bytes(&self, algorithm: u16) -> Option<usize> {
        let (_, bytes) = self.0.iter().find(|(known, _)| *known == algorithm)?;
        Some(usize::from(*bytes))
    }

    fn has(&self, algorithm: u16) -> bool {
        self.bytes(algorithm).is_some()
    }
}

/// Reads a whole log.
pub(super) fn parse(bytes: &[u8]) -> Result<EventLog, EventLogError> {
    let mut cursor = Cursor { bytes, offset: 0 };
    let algorithms = header(&mut cursor)?;
    let mut events = Vec::new();
    while !is_padding(&cursor)? {
        let offset = cursor.offset;
        if events.len() == EVENTS_MAX {
            return Err(EventLogError::TooManyEvents);
        }
        events.push(event(&mut cursor, &algorithms).ok_or(EventLogError::Event(offset))?);
        if cursor.offset > EVENT_LOG_BYTES_MAX {
            return Err(EventLogError::TooLarge);
        }
    }
    let banks: Vec<Bank> = [(SHA256, Bank::Sha256), (SHA384, Bank::Sha384)]
        .into_iter()
        .filter(|(algorithm, _)| algorithms.has(*algorithm))
        .map(|(_, bank)| bank)
        .collect();
    // Only firmware of confidential VMs logs SHA-384 alone, and it has no registers above 4. The number in the
    // header cannot tell: it is 0 in some CCELs.
    let confidential = algorithms.0.len() == 1
        && algorithms.has(SHA384)
        && events
            .iter()
            .all(|event: &Event| event.register < CONFIDENTIAL_REGISTERS);
    Ok(EventLog {
        events,
        banks,
        layout: if confidential {
            RegisterLayout::Confidential
        } else {
            RegisterLayout::Pcr
        },
        bytes_used: cursor.offset,
    })
}

fn header(cursor: &mut Cursor<'_>) -> Result<Algorithms, EventLogError> {
    let mut first = || {
        Some((
            cursor.u32()?,
            cursor.u32()?,
            cursor.array::<20>()?,
            cursor.prefixed()?,
        ))
    };
    let (register, kind, digest, data) = first().ok_or(EventLogError::NotALog)?;
    if !data.starts_with(SPEC_ID_03) {
        // TPM 1.2: either its own Spec ID, or no header at all.
        let known = EventKind(kind).name().is_some() && register < 24;
        return Err(if known {
            EventLogError::NotCryptoAgile
        } else {
            EventLogError::NotALog
        });
    }
    if register > 1 || EventKind(kind) != EventKind::NO_ACTION || digest != &[0; 20] {
        return Err(EventLogError::Header);
    }
    algorithms(data).ok_or(EventLogError::Header)
}

fn algorithms(data: &[u8]) -> Option<Algorithms> {
    let mut cursor = Cursor {
        bytes: data,
        offset: SPEC_ID_03.len(),
    };
    let _platform_class = cursor.u32()?;
    let [_minor, major, _errata, uintn_words] = *cursor.array()?;
    let count = cursor.u32()?;
    if major != SPEC_MAJOR || !matches!(uintn_words, 1 | 2) || !(1..=ALGORITHMS_MAX).contains(&count) {
        return None;
    }
    let mut algorithms = Algorithms(Vec::new());
    for _ in 0..count {
        let (algorithm, bytes) = (cursor.u16()?, cursor.u16()?);
        let known = DIGEST_BYTES.iter().find(|(known, _)| *known == algorithm);
        let fits = known.map_or((1..=DIGEST_BYTES_MAX).contains(&bytes), |(_, known)| {
            *known == bytes
        });
        if !fits || algorithms.has(algorithm) {
            return None;
        }
        algorithms.0.push((algorithm, bytes));
    }
    let vendor_bytes = usize::from(cursor.u8()?);
    cursor.take(vendor_bytes)?;
    cursor.rest().is_empty().then_some(algorithms)
}

/// Whether only padding is left. No event has register and type 0xffffffff, and none register and type 0
/// (EV_PREBOOT_CERT, which the profile deprecates): where that stands, nothing but padding may follow.
fn is_padding(cursor: &Cursor<'_>) -> Result<bool, EventLogError> {
    let rest = cursor.rest();
    let uniform = |byte: u8| rest.iter().all(|other| *other == byte);
    match rest.first_chunk::<8>() {
        Some([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]) if uniform(0xff) => Ok(true),
        Some([0, 0, 0, 0, 0, 0, 0, 0]) if uniform(0) => Ok(true),
        Some([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff] | [0, 0, 0, 0, 0, 0, 0, 0]) => {
            Err(EventLogError::Padding(cursor.offset))
        }
        Some(_) => Ok(false),
        None => Ok(uniform(0xff) || uniform(0)),
    }
}

fn event(cursor: &mut Cursor<'_>, algorithms: &Algorithms) -> Option<Event> {
    let (register, kind, count) = (cursor.u32()?, EventKind(cursor.u32()?), cursor.u32()?);
    if count == 0 || usize::try_from(count).ok()? > algorithms.0.len() {
        return None;
    }
    let (mut sha256, mut sha384) = (None, None);
    let mut seen: Vec<u16> = Vec::new();
    for _ in 0..count {
        let algorithm = cursor.u16()?;
        let digest = cursor.take(algorithms.bytes(algorithm)?)?;
        if seen.contains(&algorithm) {
            return None;
        }
        seen.push(algorithm);
        match algorithm {
            SHA256 => sha256 = Some(digest.try_into().ok()?),
            SHA384 => sha384 = Some(digest.try_into().ok()?),
            _ => {}
        }
    }
    let mut event = Event {
        register,
        kind,
        sha256,
        sha384,
        name: String::new(),
        data: cursor.prefixed()?.to_vec(),
        agreement: Agreement::NotExtended,
    };
    event.agreement = agreement::of(&event);
    Some(event)
}
