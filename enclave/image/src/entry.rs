//! The kernel's file with code before its entry (`enclave/entry`): a section more, where firmware begins (PE/COFF
//! specification, sections 3.4 and 4; Linux's Documentation/arch/x86/boot.rst).
//!
//! The kernel's signature goes: it is over another file. What is measured is the file that is made here. The kernel's other
//! way in for firmware (the EFI handover, which OVMF falls back to) goes as well: it would pass the code by.

use crate::pe::{self, READ_AND_EXECUTE, Section};

/// Where a kernel's setup header begins: the table of sections ends before it.
const SETUP_HEADER: usize = 0x1f1;
const SETUP_MAGIC: usize = 0x202;
/// Bits 2 and 3 of `xloadflags`, and `handover_offset`: where firmware's fallback would begin, past the code.
const LOAD_FLAGS: usize = 0x236;
const HANDOVER_FLAGS: u8 = 0b1100;
const HANDOVER_OFFSET: usize = 0x264;
/// Of the code: where it keeps the distance from itself to the kernel's own entry (`firmware.rs`).
const DISPLACEMENT: usize = 8;
const NAME: &str = ".entry";

/// `kernel` with `code` before its entry.
///
/// # Errors
/// When the kernel is not an EFI program with room for one section, or the code is not what `enclave/entry` builds.
pub fn precede(kernel: &[u8], code: &[u8]) -> Result<Vec<u8>, &'static str> {
    with_code(kernel, code).ok_or("the kernel is not an EFI program with room for the entry's section")
}

fn with_code(kernel: &[u8], code: &[u8]) -> Option<Vec<u8>> {
    (code.get(DISPLACEMENT..DISPLACEMENT + 8)? == [0; 8]).then_some(())?;
    let header = pe::Header::read(kernel)?;
    (header.table_end + pe::SECTION_BYTES <= SETUP_HEADER).then_some(())?;
    let mut unsigned = kernel.to_vec();
    if let Some((at, bytes)) = header.signature(kernel)? {
        (at.checked_add(bytes)? == kernel.len()).then_some(())?;
        unsigned.truncate(at);
        header.remove_signature(&mut unsigned)?;
    }
    let section = Section {
        name: NAME,
        contents: code,
        characteristics: READ_AND_EXECUTE,
    };
    let mut whole = pe::join(&unsigned, &[section]).ok()?;
    (whole.get(SETUP_MAGIC..SETUP_MAGIC + 4)? == b"HdrS").then_some(())?;
    *whole.get_mut(LOAD_FLAGS)? &= !HANDOVER_FLAGS;
    whole.get_mut(HANDOVER_OFFSET..HANDOVER_OFFSET + 4)?.fill(0);
    let (address, _, contents_at) = pe::Header::read(&whole)?.last(&whole, NAME)?;
    let entry = header.entry(kernel)?;
    let displacement = i64::try_from(entry).ok()? - i64::try_from(address).ok()?;
    let place = contents_at + DISPLACEMENT;
    whole
        .get_mut(place..place + 8)?
        .copy_from_slice(&displacement.to_le_bytes());
    header.set_entry(&mut whole, address)?;
    Some(whole)
}

/// The code before a kernel's entry, as it was given.
pub fn code_of(whole: &[u8]) -> Option<Vec<u8>> {
    let (_, bytes, at) = pe::Header::read(whole)?.last(whole, NAME)?;
    let mut code = whole.get(at..at.checked_add(bytes)?)?.to_vec();
    code.get_mut(DISPLACEMENT..DISPLACEMENT + 8)?.fill(0);
    Some(code)
}
