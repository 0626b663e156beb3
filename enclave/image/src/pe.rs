//! Sections added to EFI programs (PE/COFF specification, sections 3 and 4): to systemd's stub for the unified kernel image
//! (UAPI.5), to the kernel for what runs before it ([`entry`](crate::entry)).
//!
//! Only what these two files need: the header has room for the entries, and its sections stand in ascending order. What
//! measures the result is `host/measurement`, which shares no code with this.

/// A section to add.
pub struct Section<'a> {
    /// Its name, at most eight bytes.
    pub name: &'a str,
    /// Its contents.
    pub contents: &'a [u8],
    /// What firmware may do with it: [`READ_ONLY_DATA`] or [`READ_AND_EXECUTE`].
    pub characteristics: u32,
}

/// IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ
pub const READ_ONLY_DATA: u32 = 0x4000_0040;
/// IMAGE_SCN_CNT_CODE | IMAGE_SCN_MEM_EXECUTE | IMAGE_SCN_MEM_READ
pub const READ_AND_EXECUTE: u32 = 0x6000_0020;
const COFF_BYTES: usize = 24;
/// Bytes of an entry in the table of sections.
pub(crate) const SECTION_BYTES: usize = 40;
/// Of the optional header's directories: the one of signatures (section 3.4.3).
const SIGNATURE_DIRECTORY: usize = 112 + 4 * 8;

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?).into())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?)).ok()
}

fn put(bytes: &mut [u8], at: usize, value: usize) -> Option<()> {
    let value = u32::try_from(value).ok()?;
    bytes.get_mut(at..at + 4)?.copy_from_slice(&value.to_le_bytes());
    Some(())
}

/// Where the parts of a program's header stand in its file.
pub(crate) struct Header {
    coff: usize,
    optional: usize,
    table: usize,
    sections: usize,
    /// Where the table of sections ends.
    pub(crate) table_end: usize,
}

impl Header {
    pub(crate) fn read(program: &[u8]) -> Option<Self> {
        let coff = u32_at(program, 0x3c)?;
        (program.get(..2)? == b"MZ" && program.get(coff..coff + 4)? == b"PE\0\0").then_some(())?;
        let sections = u16_at(program, coff + 6)?;
        let optional = coff + COFF_BYTES;
        let table = optional + u16_at(program, coff + 20)?;
        Some(Self {
            coff,
            optional,
            table,
            sections,
            table_end: table + sections * SECTION_BYTES,
        })
    }

    /// Address at which the program begins.
    pub(crate) fn entry(&self, program: &[u8]) -> Option<usize> {
        u32_at(program, self.optional + 16)
    }

    pub(crate) fn set_entry(&self, program: &mut [u8], address: usize) -> Option<()> {
        put(program, self.optional + 16, address)
    }

    /// Where its signature stands and how long it is; `Some(None)` where it has none.
    pub(crate) fn signature(&self, program: &[u8]) -> Option<Option<(usize, usize)>> {
        let directory = self.optional + SIGNATURE_DIRECTORY;
        if directory + 8 > self.table {
            return Some(None);
        }
        let (at, bytes) = (u32_at(program, directory)?, u32_at(program, directory + 4)?);
        Some((bytes > 0).then_some((at, bytes)))
    }

    pub(crate) fn remove_signature(&self, program: &mut [u8]) -> Option<()> {
        let directory = self.optional + SIGNATURE_DIRECTORY;
        put(program, directory, 0)?;
        put(program, directory + 4, 0)
    }

    /// Address, length and place in the file of the last section, if it is called so.
    pub(crate) fn last(&self, program: &[u8], name: &str) -> Option<(usize, usize, usize)> {
        let entry = self.table_end.checked_sub(SECTION_BYTES)?;
        let called = program.get(entry..entry + 8)?;
        (called
            .strip_prefix(name.as_bytes())?
            .iter()
            .all(|byte| *byte == 0))
        .then_some(())?;
        let field = |at| u32_at(program, entry + at);
        Some((field(12)?, field(8)?, field(20)?))
    }
}

/// `program` with `sections` added, in this order.
///
/// # Errors
/// When it is not a PE image with room for the sections, or they are together over 4 GiB.
pub fn join(program: &[u8], sections: &[Section<'_>]) -> Result<Vec<u8>, &'static str> {
    joined(program, sections).ok_or("not a PE image with room for more sections")
}

fn joined(program: &[u8], sections: &[Section<'_>]) -> Option<Vec<u8>> {
    let Header {
        coff,
        optional,
        table,
        sections: count,
        table_end,
    } = Header::read(program)?;
    let section_alignment = u32_at(program, optional + 32).filter(|size| size.is_power_of_two())?;
    let file_alignment = u32_at(program, optional + 36).filter(|size| size.is_power_of_two())?;
    let header_bytes = u32_at(program, optional + 60)?;
    program.get(..header_bytes)?;
    (table_end + sections.len() * SECTION_BYTES <= header_bytes).then_some(())?;

    let mut next_address = 0;
    let mut first_contents = usize::MAX;
    for index in 0..count {
        let entry = table + index * SECTION_BYTES;
        let end = u32_at(program, entry + 12)?.checked_add(u32_at(program, entry + 8)?)?;
        next_address = end.max(next_address);
        let (raw_bytes, raw_at) = (u32_at(program, entry + 16)?, u32_at(program, entry + 20)?);
        if raw_bytes > 0 {
            program.get(raw_at..raw_at.checked_add(raw_bytes)?)?;
            first_contents = first_contents.min(raw_at);
        }
    }
    (header_bytes <= first_contents).then_some(())?;

    let mut image = program.to_vec();
    image.resize(image.len().next_multiple_of(file_alignment), 0);
    let mut added = 0;
    for (index, section) in sections.iter().enumerate() {
        let address = next_address.next_multiple_of(section_alignment);
        let contents_at = image.len();
        image.extend_from_slice(section.contents);
        image.resize(image.len().next_multiple_of(file_alignment), 0);
        let raw_bytes = image.len() - contents_at;
        let entry = table + (count + index) * SECTION_BYTES;
        let name = section.name.as_bytes();
        image.get_mut(entry..entry + SECTION_BYTES)?.fill(0);
        image
            .get_mut(entry..entry + 8)?
            .get_mut(..name.len())?
            .copy_from_slice(name);
        put(&mut image, entry + 8, section.contents.len())?;
        put(&mut image, entry + 12, address)?;
        put(&mut image, entry + 16, raw_bytes)?;
        put(&mut image, entry + 20, contents_at)?;
        put(&mut image, entry + 36, section.characteristics as usize)?;
        next_address = address.checked_add(section.contents.len())?;
        added += raw_bytes;
    }
    let total = u16::try_from(count + sections.len()).ok()?;
    image
        .get_mut(coff + 6..coff + 8)?
        .copy_from_slice(&total.to_le_bytes());
    let initialized = u32_at(&image, optional + 8)?.checked_add(added)?;
    put(&mut image, optional + 8, initialized)?;
    put(
        &mut image,
        optional + 56,
        next_address.next_multiple_of(section_alignment),
    )?;
    put(&mut image, optional + 64, 0)?; // no checksum: firmware looks at none
    image.resize(image.len().next_multiple_of(8), 0);
    Some(image)
}

#[cfg(test)]
mod tests {
    use measurement::uki::UnifiedKernelImage;

    use super::*;

    /// A PE32+ image for x86-64 with one section and room for more.
    fn stub() -> Vec<u8> {
        let mut stub = vec![0; 0x600];
        stub[..2].copy_from_slice(b"MZ");
        stub[0x3c] = 0x40;
        stub[0x40..0x44].copy_from_slice(b"PE\0\0");
        stub[0x44..0x46].copy_from_slice(&0x8664_u16.to_le_bytes());
        stub[0x46] = 1;
        stub[0x54] = 0xf0;
        let optional = 0x58;
        stub[optional..optional + 2].copy_from_slice(&0x20b_u16.to_le_bytes());
        for (at, value) in [
            (32, 0x1000_u32),
            (36, 0x200),
            (56, 0x2000),
            (60, 0x400),
            (108, 16),
        ] {
            stub[optional + at..optional + at + 4].copy_from_slice(&value.to_le_bytes());
        }
        let entry = optional + 0xf0;
        stub[entry..entry + 5].copy_from_slice(b".text");
        for (at, value) in [(8, 0x100_u32), (12, 0x1000), (16, 0x200), (20, 0x400)] {
            stub[entry + at..entry + at + 4].copy_from_slice(&value.to_le_bytes());
        }
        stub
    }

    #[test]
    fn sections_are_read_back_by_the_one_who_predicts_their_measurement() {
        let kernel = stub();
        let image = join(
            &stub(),
            &[
                Section {
                    name: ".cmdline",
                    contents: b"panic=-1",
                    characteristics: READ_ONLY_DATA,
                },
                Section {
                    name: ".initrd",
                    contents: &[7; 1000],
                    characteristics: READ_ONLY_DATA,
                },
                Section {
                    name: ".linux",
                    contents: &kernel,
                    characteristics: READ_ONLY_DATA,
                },
            ],
        )
        .expect("it has room");
        let read = UnifiedKernelImage::parse(&image).expect("a unified image");
        assert_eq!(read.command_line().expect("one"), "panic=-1");
        assert_eq!(read.section(".initrd"), Some(&[7; 1000][..]));
        assert_eq!(read.section(".linux"), Some(&kernel[..]));
        assert!(read.pcrs().is_ok());
    }

    #[test]
    fn a_stub_without_room_or_cut_is_refused() {
        let many: Vec<_> = (0..40)
            .map(|_| Section {
                name: ".x",
                contents: b"",
                characteristics: READ_ONLY_DATA,
            })
            .collect();
        assert!(join(&stub(), &many).is_err());
        for length in 0..stub().len() {
            assert!(join(&stub()[..length], &many[..1]).is_err(), "{length}");
        }
    }
}
