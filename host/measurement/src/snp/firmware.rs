//! What an OVMF image says about its launch (edk2, `OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm`).
//!
//! | offset | field of the SEV metadata |
//! |---|---|
//! | 0 | "ASEV" |
//! | 4 | length of header and sections |
//! | 8 | version, 1 |
//! | 12 | number of sections |
//! | 16 | sections: address, length, type; 32 bits each |

use crate::{
    PAGE_BYTES,
    bytes::{slice, u32_at},
    error::{MeasureError, Part},
    footer::{FooterTable, Guid, guid},
    snp::{kernel_hashes::TABLE_BYTES, launch},
};

/// dc886566-984a-4798-a75e-5585a7bf67cc
const SEV_METADATA: Guid = guid(0xdc88_6566, 0x984a, 0x4798, 0xa75e_5585_a7bf_67cc);
/// 7255371f-3a3b-4b04-927b-1da6efa8d454
const KERNEL_HASHES: Guid = guid(0x7255_371f, 0x3a3b, 0x4b04, 0x927b_1da6_efa8_d454);
/// 00f771de-1a7e-4fcb-890e-68c77e2fb44e
const RESET_BLOCK: Guid = guid(0x00f7_71de, 0x1a7e, 0x4fcb, 0x890e_68c7_7e2f_b44e);

const HEADER_BYTES: usize = 16;
const SECTION_BYTES: usize = 12;
const SECTIONS_MAX: usize = 64;
/// OVMF's sections are a quarter of a megabyte together.
const MEMORY_BYTES_MAX: u64 = 64 << 20;

/// An OVMF image, as far as its launch digest depends on it.
#[derive(Debug, Clone)]
pub struct Firmware {
    /// Launch digest after the pages of the image alone.
    pub pages_digest: [u8; 48],
    /// Guest-physical address of its first byte; it ends at 4 GiB.
    pub address: u64,
    /// Sections of its SEV metadata, in table order, which is the order of measurement.
    pub sections: Vec<Section>,
    /// Guest-physical address of the kernel hashes table, where there is one.
    pub kernel_hashes_address: Option<u32>,
    /// Where application processors start; zero where the image does not say.
    pub reset_eip: u32,
}

/// A range of guest memory that the VMM prepares before the launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// Guest-physical address of its first byte.
    pub address: u32,
    /// Its length in bytes.
    pub bytes: u32,
    /// What it holds.
    pub kind: SectionKind,
}

/// What a section holds; the numbers are OVMF's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionKind {
    /// Zeroed memory.
    Memory = 1,
    /// The secrets page that the security processor fills.
    Secrets = 2,
    /// The CPUID page that the security processor checks.
    Cpuid = 3,
    /// The calling area of a secure VM service module.
    SvsmCallingArea = 4,
    /// The page with the hashes of kernel, initrd and command line.
    KernelHashes = 0x10,
}

impl SectionKind {
    /// The kind of a type number.
    pub fn from_number(number: u32) -> Option<Self> {
        [
            Self::Memory,
            Self::Secrets,
            Self::Cpuid,
            Self::SvsmCallingArea,
            Self::KernelHashes,
        ]
        .into_iter()
        .find(|kind| *kind as u32 == number)
    }
}

impl Firmware {
    /// Reads and hashes `image`.
    ///
    /// # Errors
    /// [`MeasureError`] when the image is not OVMF with SEV metadata.
    pub fn parse(image: &[u8]) -> Result<Self, MeasureError> {
        let table = FooterTable::parse(image)?;
        let sections = sections(table.pointed_to(SEV_METADATA, Part::SevMetadata)?)?;
        let address = (1u64 << 32) - image.len() as u64;
        let malformed = |part| MeasureError::malformed(part, "its entry in the table is cut or wrong");
        let kernel_hashes_address = match table.entry(KERNEL_HASHES) {
            None => None,
            Some(entry) => {
                let base = u32_at(entry, 0).ok_or_else(|| malformed(Part::KernelHashes))?;
                // QEMU (target/i386/sev.c) refuses a smaller place, and takes address zero as "none".
                let bytes = u32_at(entry, 4).ok_or_else(|| malformed(Part::KernelHashes))?;
                if base != 0 && (bytes as usize) < TABLE_BYTES {
                    return Err(malformed(Part::KernelHashes));
                }
                Some(base).filter(|base| *base != 0)
            }
        };
        let reset_eip = match table.entry(RESET_BLOCK) {
            None => 0,
            Some(entry) => u32_at(entry, 0).ok_or_else(|| malformed(Part::ResetBlock))?,
        };
        let firmware = Self {
            pages_digest: [0; 48],
            address,
            sections,
            kernel_hashes_address,
            reset_eip,
        };
        firmware.check()?;
        Ok(Self {
            pages_digest: launch::pages_digest(address, image),
            ..firmware
        })
    }

    /// Checks what a security processor would refuse: ranges that are not pages, too large, or that overlap.
    pub(crate) fn check(&self) -> Result<(), MeasureError> {
        let malformed = |reason| MeasureError::malformed(Part::SevMetadata, reason);
        let page = PAGE_BYTES as u32;
        let mut total = 0u64;
        let mut ranges: Vec<(u64, u64)> = vec![(self.address, 1 << 32)];
        for section in &self.sections {
            if section.bytes == 0
                || !section.bytes.is_multiple_of(page)
                || !section.address.is_multiple_of(page)
            {
                return Err(malformed("a section is not made of whole pages"));
            }
            if section.kind != SectionKind::Memory
                && section.kind != SectionKind::SvsmCallingArea
                && section.bytes != page
            {
                return Err(malformed("a section that is one page has another size"));
            }
            total = total.saturating_add(u64::from(section.bytes));
            let start = u64::from(section.address);
            ranges.push((start, start.saturating_add(u64::from(section.bytes))));
        }
        if total > MEMORY_BYTES_MAX {
            return Err(malformed("its sections are larger than 64 MiB"));
        }
        ranges.sort_unstable();
        let overlap = ranges
            .iter()
            .zip(ranges.iter().skip(1))
            .any(|((_, end), (next, _))| end > next);
        if overlap {
            return Err(malformed("two ranges of memory overlap"));
        }
        let hashes = self
            .sections
            .iter()
            .filter(|section| section.kind == SectionKind::KernelHashes)
            .count();
        if hashes > 1 {
            return Err(malformed("two sections for kernel hashes"));
        }
        Ok(())
    }
}

fn sections(metadata: &[u8]) -> Result<Vec<Section>, MeasureError> {
    let malformed = |reason| MeasureError::malformed(Part::SevMetadata, reason);
    let cut = || malformed("cut");
    if slice(metadata, 0, 4).ok_or_else(cut)? != b"ASEV" {
        return Err(malformed("does not begin with ASEV"));
    }
    let bytes = u32_at(metadata, 4).ok_or_else(cut)? as usize;
    if u32_at(metadata, 8).ok_or_else(cut)? != 1 {
        return Err(malformed("its version is not 1"));
    }
    let count = u32_at(metadata, 12).ok_or_else(cut)? as usize;
    if count > SECTIONS_MAX {
        return Err(malformed("too many sections"));
    }
    if bytes != HEADER_BYTES + count * SECTION_BYTES {
        return Err(malformed("its length is not that of its sections"));
    }
    (0..count)
        .map(|index| {
            let at = HEADER_BYTES + index * SECTION_BYTES;
            let field = |offset| u32_at(metadata, at + offset).ok_or_else(cut);
            Ok(Section {
                address: field(0)?,
                bytes: field(4)?,
                kind: SectionKind::from_number(field(8)?)
                    .ok_or_else(|| malformed("a section of unknown type"))?,
            })
        })
        .collect()
}
