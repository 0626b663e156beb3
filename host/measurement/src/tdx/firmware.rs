//! TDVF's metadata and MRTD (Intel, "TDX Virtual Firmware Design Guide", chapter 11; TDX module 1.5 ABI,
//! TDH.MEM.PAGE.ADD and TDH.MR.EXTEND).
//!
//! | offset | field of the metadata |
//! |---|---|
//! | 0 | "TDVF" |
//! | 4 | length of header and sections |
//! | 8 | version, 1 |
//! | 12 | number of sections |
//! | 16 | sections of 32 bytes: offset and length in the image (32 bits each), address and length in memory (64 bits each), type, attributes |

use sha2::{Digest, Sha384};

use crate::{
    PAGE_BYTES,
    bytes::{index_at, slice, u32_at, u64_at},
    error::{MeasureError, Part},
    footer::{FooterTable, Guid, guid},
};

/// e47a6535-984a-4798-865e-4685a7bf8ec2
const TDX_METADATA: Guid = guid(0xe47a_6535, 0x984a, 0x4798, 0x865e_4685_a7bf_8ec2);

const HEADER_BYTES: usize = 16;
const SECTION_BYTES: usize = 32;
const SECTIONS_MAX: usize = 64;
/// Bound of the memory that is added at launch.
const ADDED_BYTES_MAX: u64 = 256 << 20;

/// Attributes of a section.
const MR_EXTEND: u32 = 1;
const PAGE_AUG: u32 = 2;

/// TDH.MR.EXTEND measures 256 bytes at a time.
const CHUNK_BYTES: usize = 256;

/// A TDVF image.
#[derive(Debug)]
pub struct Firmware<'a> {
    image: &'a [u8],
    /// Sections of its metadata, in the order of the table.
    pub sections: Vec<Section>,
}

/// A section of TDVF's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// Offset of its data in the image.
    pub data_offset: usize,
    /// Bytes of its data in the image.
    pub data_bytes: usize,
    /// Guest-physical address.
    pub address: u64,
    /// Bytes in memory.
    pub memory_bytes: u64,
    /// What it holds.
    pub kind: SectionKind,
    /// Attributes: bit 0 its contents are measured, bit 1 it is not added at launch.
    pub attributes: u32,
}

/// What a section holds; the numbers are the design guide's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionKind {
    /// BFV: the code.
    BootFirmware = 0,
    /// CFV: the variables that the image ships.
    Configuration = 1,
    /// The hand-off block that the VMM writes.
    HandOff = 2,
    /// Stack and heap before memory is accepted.
    TemporaryMemory = 3,
    /// Memory that stays.
    PermanentMemory = 4,
    /// A payload in place of a boot loader.
    Payload = 5,
    /// Parameters of that payload.
    PayloadParameters = 6,
}

impl<'a> Firmware<'a> {
    /// Reads the metadata of `image`.
    ///
    /// # Errors
    /// [`MeasureError`] when the image is not OVMF with TDX metadata.
    pub fn parse(image: &'a [u8]) -> Result<Self, MeasureError> {
        let metadata = FooterTable::parse(image)?.pointed_to(TDX_METADATA, Part::TdxMetadata)?;
        let malformed = |reason| MeasureError::malformed(Part::TdxMetadata, reason);
        let cut = || malformed("cut");
        if slice(metadata, 0, 4).ok_or_else(cut)? != b"TDVF" {
            return Err(malformed("does not begin with TDVF"));
        }
        let bytes = index_at(metadata, 4).ok_or_else(cut)?;
        if u32_at(metadata, 8).ok_or_else(cut)? != 1 {
            return Err(malformed("its version is not 1"));
        }
        let count = index_at(metadata, 12).ok_or_else(cut)?;
        if count == 0 || count > SECTIONS_MAX {
            return Err(malformed("an impossible number of sections"));
        }
        if bytes != HEADER_BYTES + count * SECTION_BYTES {
            return Err(malformed("its length is not that of its sections"));
        }
        let sections = (0..count)
            .map(|index| {
                let at = HEADER_BYTES + index * SECTION_BYTES;
                section(slice(metadata, at, SECTION_BYTES).ok_or_else(cut)?, image)
            })
            .collect::<Result<Vec<_>, _>>()?;
        check(&sections)?;
        Ok(Self { image, sections })
    }

    #[cfg(test)]
    pub(super) fn of_sections(sections: Vec<Section>) -> Firmware<'static> {
        Firmware { image: &[], sections }
    }

    /// MRTD: SHA-384 over a record for each page that is added, and for each chunk that is measured.
    pub fn mrtd(&self, order: PageOrder) -> [u8; 48] {
        let mut hash = Sha384::new();
        for section in &self.sections {
            let pages = section.memory_bytes / PAGE_BYTES as u64;
            let add = section.attributes & PAGE_AUG == 0;
            let measure = section.attributes & MR_EXTEND != 0;
            if order == PageOrder::TwoPass && add {
                (0..pages).for_each(|page| add_page(&mut hash, section, page));
            }
            // A section that is neither added nor measured may be terabytes: nothing is walked for it.
            let walked = if measure || (add && order == PageOrder::SinglePass) {
                pages
            } else {
                0
            };
            for page in 0..walked {
                if order == PageOrder::SinglePass && add {
                    add_page(&mut hash, section, page);
                }
                if measure {
                    self.measure_page(&mut hash, section, page);
                }
            }
        }
        hash.finalize().into()
    }

    /// The bytes of the one section of a kind.
    ///
    /// # Errors
    /// [`MeasureError::Missing`] when there is none.
    pub(super) fn data(&self, kind: SectionKind, part: Part) -> Result<&'a [u8], MeasureError> {
        let section = self.section(kind, part)?;
        slice(self.image, section.data_offset, section.data_bytes).ok_or(MeasureError::Missing(part))
    }

    pub(super) fn section(&self, kind: SectionKind, part: Part) -> Result<&Section, MeasureError> {
        self.sections
            .iter()
            .find(|section| section.kind == kind)
            .ok_or(MeasureError::Missing(part))
    }

    fn measure_page(&self, hash: &mut Sha384, section: &Section, page: u64) {
        let data = slice(self.image, section.data_offset, section.data_bytes).unwrap_or_default();
        let from = page as usize * PAGE_BYTES; // within the bound of what is added or of the image
        let mut contents = [0; PAGE_BYTES]; // memory beyond the data is zero
        if let Some(rest) = data.get(from..) {
            for (to, from) in contents.iter_mut().zip(rest) {
                *to = *from;
            }
        }
        let address = section.address + page * PAGE_BYTES as u64; // checked when read
        for (chunk, at) in contents.chunks(CHUNK_BYTES).zip((address..).step_by(CHUNK_BYTES)) {
            hash.update(record(b"MR.EXTEND", at));
            hash.update(chunk);
        }
    }
}

/// The order in which the VMM adds and measures pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageOrder {
    /// Each page is added and measured before the next: Linux since 6.16 and QEMU since 9.
    SinglePass,
    /// All pages of a section are added, then measured: QEMU 8 with Intel's patches.
    TwoPass,
}

fn add_page(hash: &mut Sha384, section: &Section, page: u64) {
    hash.update(record(
        b"MEM.PAGE.ADD",
        section.address + page * PAGE_BYTES as u64,
    )); // checked when read
}

/// 128 bytes: the operation, NUL-padded to 16, and the address.
fn record(operation: &[u8], address: u64) -> [u8; 128] {
    let mut record = [0; 128];
    record[..operation.len()].copy_from_slice(operation); // 9 or 12 bytes
    record[16..24].copy_from_slice(&address.to_le_bytes());
    record
}

fn section(bytes: &[u8], image: &[u8]) -> Result<Section, MeasureError> {
    let malformed = |reason| MeasureError::malformed(Part::TdxMetadata, reason);
    let cut = || malformed("cut");
    let kind = match u32_at(bytes, 24).ok_or_else(cut)? {
        0 => SectionKind::BootFirmware,
        1 => SectionKind::Configuration,
        2 => SectionKind::HandOff,
        3 => SectionKind::TemporaryMemory,
        4 => SectionKind::PermanentMemory,
        5 => SectionKind::Payload,
        6 => SectionKind::PayloadParameters,
        _ => return Err(malformed("a section of unknown type")),
    };
    let section = Section {
        data_offset: index_at(bytes, 0).ok_or_else(cut)?,
        data_bytes: index_at(bytes, 4).ok_or_else(cut)?,
        address: u64_at(bytes, 8).ok_or_else(cut)?,
        memory_bytes: u64_at(bytes, 16).ok_or_else(cut)?,
        kind,
        attributes: u32_at(bytes, 28).ok_or_else(cut)?,
    };
    let page = PAGE_BYTES as u64;
    if !section.address.is_multiple_of(page)
        || !section.memory_bytes.is_multiple_of(page)
        || section.memory_bytes == 0
        || section.address.checked_add(section.memory_bytes).is_none()
    {
        return Err(malformed("a section is not made of whole pages"));
    }
    if section.attributes & !(MR_EXTEND | PAGE_AUG) != 0 {
        return Err(malformed("a section has unknown attributes"));
    }
    if section.data_bytes as u64 > section.memory_bytes
        || slice(image, section.data_offset, section.data_bytes).is_none()
    {
        return Err(malformed("a section's data is outside of the image"));
    }
    let shipped = matches!(kind, SectionKind::BootFirmware | SectionKind::Configuration);
    if shipped != (section.data_bytes != 0) && kind != SectionKind::Payload {
        return Err(malformed(
            "a section has data that it should not have, or lacks it",
        ));
    }
    if section.attributes == MR_EXTEND | PAGE_AUG {
        return Err(malformed("a section is measured but not added"));
    }
    Ok(section)
}

fn check(sections: &[Section]) -> Result<(), MeasureError> {
    let malformed = |reason| MeasureError::malformed(Part::TdxMetadata, reason);
    let added = sections
        .iter()
        .filter(|section| section.attributes & PAGE_AUG == 0)
        .fold(0u64, |sum, section| sum.saturating_add(section.memory_bytes));
    if added > ADDED_BYTES_MAX {
        return Err(malformed("more than 256 MiB are added at launch"));
    }
    let mut ranges: Vec<_> = sections
        .iter()
        .map(|section| {
            (
                section.address,
                section.address.saturating_add(section.memory_bytes),
            )
        })
        .collect();
    ranges.sort_unstable();
    if ranges
        .iter()
        .zip(ranges.iter().skip(1))
        .any(|((_, end), (next, _))| end > next)
    {
        return Err(malformed("two sections overlap in memory"));
    }
    let count = |kind| sections.iter().filter(|section| section.kind == kind).count();
    if count(SectionKind::BootFirmware) == 0 {
        return Err(malformed("no boot firmware volume"));
    }
    if count(SectionKind::Configuration) > 1 || count(SectionKind::HandOff) > 1 {
        return Err(malformed("two sections of a kind that stands once"));
    }
    Ok(())
}
