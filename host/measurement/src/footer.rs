//! OVMF's table of GUIDed entries (edk2, `OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm`): it ends 32 bytes before the
//! end of the image and is read backwards.
//!
//! | from the end of an entry | field |
//! |---|---|
//! | -16 | GUID, mixed-endian |
//! | -18 | length of the entry, these 18 bytes included |
//! | before | data |
//!
//! The last entry is the footer; its length is that of the whole table.

use crate::{
    FIRMWARE_BYTES_MAX, PAGE_BYTES,
    bytes::{array, index_at, slice, u16_at},
    error::{MeasureError, Part},
};

/// A GUID as it stands in memory.
pub(crate) type Guid = [u8; 16];

/// 96b582de-1fb2-45f7-baea-a366c55a082d
const FOOTER: Guid = guid(0x96b5_82de, 0x1fb2, 0x45f7, 0xbaea_a366_c55a_082d);
/// Bytes between the table and the end of the image: the reset vector.
const AFTER_TABLE_BYTES: usize = 32;
/// Length and GUID.
const ENTRY_HEADER_BYTES: usize = 18;
/// Entries of OVMF builds are fewer than ten.
const ENTRIES_MAX: usize = 64;

/// The bytes of `a-b-c-d`, where `d` holds the last two groups.
pub(crate) const fn guid(a: u32, b: u16, c: u16, d: u64) -> Guid {
    let (a, b, c, d) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes(), d.to_be_bytes());
    [
        a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7],
    ]
}

/// The entries of an image that was checked for its size.
#[derive(Debug)]
pub(crate) struct FooterTable<'a> {
    image: &'a [u8],
    entries: Vec<(Guid, &'a [u8])>,
}

impl<'a> FooterTable<'a> {
    /// Reads the table of `image`.
    pub(crate) fn parse(image: &'a [u8]) -> Result<Self, MeasureError> {
        MeasureError::bound(Part::Firmware, image.len(), FIRMWARE_BYTES_MAX)?;
        if image.is_empty() || !image.len().is_multiple_of(PAGE_BYTES) {
            return Err(MeasureError::malformed(
                Part::Firmware,
                "not a whole number of pages",
            ));
        }
        let malformed = |reason| MeasureError::malformed(Part::FooterTable, reason);
        let footer_at = image.len() - AFTER_TABLE_BYTES - ENTRY_HEADER_BYTES; // an image is a page at least
        if array(image, footer_at + 2) != Some(FOOTER) {
            return Err(malformed("its footer is not there: not an OVMF image, or cut"));
        }
        let table_bytes = u16_at(image, footer_at)
            .map(usize::from)
            .and_then(|bytes| bytes.checked_sub(ENTRY_HEADER_BYTES))
            .ok_or_else(|| malformed("shorter than its footer"))?;
        let mut rest = footer_at
            .checked_sub(table_bytes)
            .and_then(|start| slice(image, start, table_bytes))
            .ok_or_else(|| malformed("longer than the image"))?;
        let mut entries: Vec<(Guid, &[u8])> = Vec::new();
        while !rest.is_empty() {
            if entries.len() == ENTRIES_MAX {
                return Err(malformed("too many entries"));
            }
            let entry = rest
                .len()
                .checked_sub(ENTRY_HEADER_BYTES)
                .and_then(|header| Some((header, u16_at(rest, header)?, array(rest, header + 2)?)));
            let (header, bytes, guid) = entry.ok_or_else(|| malformed("an entry is cut"))?;
            let bytes = usize::from(bytes);
            let start = rest
                .len()
                .checked_sub(bytes)
                .filter(|_| bytes >= ENTRY_HEADER_BYTES);
            let start = start.ok_or_else(|| malformed("an entry has an impossible length"))?;
            if entries.iter().any(|(known, _)| *known == guid) {
                return Err(malformed("an entry stands twice"));
            }
            let data = rest.get(start..header).unwrap_or_default(); // start <= header by the filter
            entries.push((guid, data));
            rest = rest.get(..start).unwrap_or_default();
        }
        Ok(Self { image, entries })
    }

    /// The data of an entry.
    pub(crate) fn entry(&self, guid: Guid) -> Option<&'a [u8]> {
        self.entries
            .iter()
            .find(|(known, _)| *known == guid)
            .map(|(_, data)| *data)
    }

    /// What an entry points to by an offset from the end of the image, up to that end.
    pub(crate) fn pointed_to(&self, guid: Guid, part: Part) -> Result<&'a [u8], MeasureError> {
        let data = self.entry(guid).ok_or(MeasureError::Missing(part))?;
        index_at(data, 0)
            .filter(|_| data.len() == 4)
            .and_then(|from_end| self.image.len().checked_sub(from_end))
            .and_then(|start| self.image.get(start..))
            .ok_or_else(|| MeasureError::malformed(part, "the table points outside of the image"))
    }
}
