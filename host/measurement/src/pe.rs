//! PE/COFF images and their Authenticode digest, as firmware measures them (TCG PC Client Platform Firmware Profile,
//! section 10.4.4; Microsoft, "Windows Authenticode Portable Executable Signature Format").
//!
//! 1. The header, without its checksum and the entry of the certificate table.
//! 2. The sections, in the order of their place in the file.
//! 3. What follows them, without the certificate table.
//!
//! Only PE32+ for x86-64, the kind that UEFI boots there. Files whose digest differs between implementations are
//! refused: lengths that are not multiples of eight, which some pad and some do not, and sections that overlap.

use sha2::Digest;

use crate::{
    KERNEL_BYTES_MAX,
    bytes::{array, index_at, slice, u16_at, u32_at},
    error::{MeasureError, Part},
};

const MACHINE_X86_64: u16 = 0x8664;
const PE32_PLUS: u16 = 0x20b;
/// "PE\0\0" and the COFF header.
const COFF_BYTES: usize = 24;
const CHECKSUM_AT: usize = 64;
const DIRECTORIES_AT: usize = 112;
const CERTIFICATE_DIRECTORY: usize = 4;
const SECTION_BYTES: usize = 40;
const SECTIONS_MAX: usize = 96; // Windows' loader has the same bound

/// A PE image, checked for its structure.
#[derive(Debug)]
pub struct Image<'a> {
    bytes: &'a [u8],
    /// Where the checksum stands.
    checksum: usize,
    /// Where the entry of the certificate table stands, when the header has one.
    certificate_entry: Option<usize>,
    header_bytes: usize,
    certificate_bytes: usize,
    sections: Vec<Section<'a>>,
}

/// A section of an image.
#[derive(Debug, Clone)]
pub struct Section<'a> {
    /// Its name, padded with NULs.
    pub name: [u8; 8],
    /// Bytes it takes in memory.
    pub virtual_bytes: usize,
    /// Where it stands in the file.
    at: usize,
    /// Its bytes in the file.
    pub raw: &'a [u8],
}

impl Section<'_> {
    /// Whether this is the section called `name`.
    pub fn is(&self, name: &str) -> bool {
        self.name
            .iter()
            .copied()
            .eq(name.bytes().chain(core::iter::repeat(0)).take(8))
    }
}

impl<'a> Image<'a> {
    /// Reads the headers of `bytes`.
    ///
    /// # Errors
    /// [`MeasureError::Malformed`] or [`MeasureError::Unsupported`], see the module.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, MeasureError> {
        let malformed = |reason| MeasureError::malformed(Part::PortableExecutable, reason);
        let unsupported = |reason| MeasureError::unsupported(Part::PortableExecutable, reason);
        let cut = || malformed("cut");
        MeasureError::bound(Part::PortableExecutable, bytes.len(), KERNEL_BYTES_MAX)?;
        if !bytes.len().is_multiple_of(8) {
            return Err(unsupported("its length is not a multiple of eight"));
        }
        if slice(bytes, 0, 2) != Some(b"MZ") {
            return Err(malformed("does not begin with MZ"));
        }
        let coff = index_at(bytes, 0x3c).ok_or_else(cut)?;
        if slice(bytes, coff, 4) != Some(b"PE\0\0") {
            return Err(malformed("has no PE signature"));
        }
        if u16_at(bytes, coff + 4) != Some(MACHINE_X86_64) {
            return Err(unsupported("not for x86-64"));
        }
        let count = usize::from(u16_at(bytes, coff + 6).ok_or_else(cut)?);
        let optional_bytes = usize::from(u16_at(bytes, coff + 20).ok_or_else(cut)?);
        let optional = slice(bytes, coff + COFF_BYTES, optional_bytes).ok_or_else(cut)?;
        if u16_at(optional, 0) != Some(PE32_PLUS) {
            return Err(unsupported("not PE32+"));
        }
        if count == 0 || count > SECTIONS_MAX {
            return Err(malformed("an impossible number of sections"));
        }
        let header_bytes = index_at(optional, 60).ok_or_else(cut)?;
        let directories = index_at(optional, 108).ok_or_else(cut)?;
        let table = coff + COFF_BYTES + optional_bytes;
        if directories > optional_bytes.saturating_sub(DIRECTORIES_AT) / 8
            || header_bytes < table + count * SECTION_BYTES
            || header_bytes > bytes.len()
        {
            return Err(malformed("its header has an impossible length"));
        }
        let entry = DIRECTORIES_AT + 8 * CERTIFICATE_DIRECTORY;
        let (certificate_entry, certificate_bytes) = if directories > CERTIFICATE_DIRECTORY {
            let at = index_at(optional, entry).ok_or_else(cut)?;
            let size = index_at(optional, entry + 4).ok_or_else(cut)?;
            // The table is the end of the file, or there is none.
            if (at == 0) != (size == 0) || (size != 0 && at.checked_add(size) != Some(bytes.len())) {
                return Err(malformed("its certificate table is not the end of the file"));
            }
            (Some(coff + COFF_BYTES + entry), size)
        } else {
            (None, 0)
        };
        let mut sections = (0..count)
            .map(|index| section(bytes, table + index * SECTION_BYTES).ok_or_else(cut))
            .collect::<Result<Vec<_>, _>>()?;
        sections.sort_by_key(|section| section.at);
        let mut end = header_bytes;
        for section in sections.iter().filter(|section| !section.raw.is_empty()) {
            if section.at < end {
                return Err(unsupported("its sections overlap"));
            }
            end = section.at + section.raw.len();
        }
        if end > bytes.len() - certificate_bytes {
            return Err(malformed("a section reaches into the certificate table"));
        }
        Ok(Self {
            bytes,
            checksum: coff + COFF_BYTES + CHECKSUM_AT,
            certificate_entry,
            header_bytes,
            certificate_bytes,
            sections,
        })
    }

    /// Its sections, in the order of their place in the file.
    pub fn sections(&self) -> &[Section<'a>] {
        &self.sections
    }

    /// The Authenticode digest, with SHA-256 for a TPM and SHA-384 for TDX.
    pub fn authenticode<H: Digest>(&self) -> Vec<u8> {
        let mut hash = H::new();
        let part = |from: usize, to: usize| self.bytes.get(from..to).unwrap_or_default(); // checked by parse
        hash.update(part(0, self.checksum));
        match self.certificate_entry {
            Some(entry) => {
                hash.update(part(self.checksum + 4, entry));
                hash.update(part(entry + 8, self.header_bytes));
            }
            None => hash.update(part(self.checksum + 4, self.header_bytes)),
        }
        // Firmware counts what it has hashed, so that bytes between sections shift what it takes for the rest.
        let mut hashed = self.header_bytes;
        for section in &self.sections {
            hash.update(section.raw);
            hashed += section.raw.len();
        }
        hash.update(part(hashed, self.bytes.len() - self.certificate_bytes));
        hash.finalize().to_vec()
    }
}

fn section(bytes: &[u8], at: usize) -> Option<Section<'_>> {
    let raw_bytes = index_at(bytes, at + 16)?;
    let raw_at = index_at(bytes, at + 20)?;
    let raw = if raw_bytes == 0 {
        &[]
    } else {
        slice(bytes, raw_at, raw_bytes)?
    };
    Some(Section {
        name: array(bytes, at)?,
        virtual_bytes: u32_at(bytes, at + 8).and_then(|size| usize::try_from(size).ok())?,
        at: raw_at,
        raw,
    })
}
