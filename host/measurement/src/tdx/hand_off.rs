//! The hand-off block that QEMU writes for TDVF (QEMU, `hw/i386/tdvf-hob.c`; UEFI PI 1.8, volume 3, section 5).
//!
//! A hand-off table of 56 bytes, then one resource descriptor of 48 bytes for each range of memory: ranges that were
//! added at launch are system memory, the others are unaccepted. Firmware measures all but the end marker.

use super::{Firmware, MEMORY_BYTES_MAX, SectionKind};
use crate::error::{MeasureError, Part};

/// Ends of low memory on the q35 machine: machines of 2.75 GiB and more have 2 GiB below 4 GiB.
pub(super) const LOW_MEMORY_SMALL: u64 = 0xb000_0000;
pub(super) const LOW_MEMORY_LARGE: u64 = 0x8000_0000;
const HIGH_MEMORY: u64 = 1 << 32;

const HAND_OFF: u16 = 1;
const RESOURCE: u16 = 3;
const HAND_OFF_BYTES: u16 = 56;
const RESOURCE_BYTES: u16 = 48;
const END_BYTES: u64 = 8;
const VERSION: u32 = 9;
const SYSTEM_MEMORY: u32 = 0;
const UNACCEPTED_MEMORY: u32 = 7;
/// Present, initialised, tested.
const ATTRIBUTES: u32 = 7;

/// Bytes of memory below 4 GiB on the q35 machine.
pub(super) fn low_memory(memory_bytes: u64) -> u64 {
    if memory_bytes >= LOW_MEMORY_SMALL {
        LOW_MEMORY_LARGE
    } else {
        memory_bytes
    }
}

/// What firmware measures of the hand-off block on a machine with `memory_bytes` of memory.
///
/// # Errors
/// [`MeasureError::Missing`] when the firmware takes none, [`MeasureError::Malformed`] when its sections are not in
/// this memory.
pub fn hand_off_block(firmware: &Firmware<'_>, memory_bytes: u64) -> Result<Vec<u8>, MeasureError> {
    let malformed = |reason| MeasureError::malformed(Part::Memory, reason);
    if memory_bytes > MEMORY_BYTES_MAX || !memory_bytes.is_multiple_of(1 << 20) {
        return Err(malformed("not whole MiB, up to 64 TiB"));
    }
    let base = firmware.section(SectionKind::HandOff, Part::TdxMetadata)?.address;
    let low = low_memory(memory_bytes);
    let mut added: Vec<_> = firmware
        .sections
        .iter()
        .filter(|section| matches!(section.kind, SectionKind::HandOff | SectionKind::TemporaryMemory))
        .map(|section| (section.address, section.address + section.memory_bytes)) // checked when read
        .collect();
    added.sort_unstable();
    let mut ranges = Vec::new();
    let mut at = 0;
    for (start, end) in added {
        if end > low || start < at {
            return Err(malformed("too small for this firmware"));
        }
        if start > at {
            ranges.push((UNACCEPTED_MEMORY, at, start - at));
        }
        ranges.push((SYSTEM_MEMORY, start, end - start));
        at = end;
    }
    if low > at {
        ranges.push((UNACCEPTED_MEMORY, at, low - at));
    }
    if memory_bytes > low {
        ranges.push((UNACCEPTED_MEMORY, HIGH_MEMORY, memory_bytes - low));
    }
    let bytes = u64::from(HAND_OFF_BYTES) + ranges.len() as u64 * u64::from(RESOURCE_BYTES);
    let end = base
        .checked_add(bytes + END_BYTES)
        .ok_or_else(|| malformed("the hand-off block is at the end of memory"))?;

    let mut block = Vec::new();
    block.extend(HAND_OFF.to_le_bytes());
    block.extend(HAND_OFF_BYTES.to_le_bytes());
    block.extend([0; 4]);
    block.extend(VERSION.to_le_bytes());
    block.extend([0; 4 + 4 * 8]); // boot mode and four bounds of memory that QEMU leaves zero
    block.extend(end.to_le_bytes());
    for (kind, start, bytes) in ranges {
        block.extend(RESOURCE.to_le_bytes());
        block.extend(RESOURCE_BYTES.to_le_bytes());
        block.extend([0; 4 + 16]); // reserved, owner
        block.extend(kind.to_le_bytes());
        block.extend(ATTRIBUTES.to_le_bytes());
        block.extend(start.to_le_bytes());
        block.extend(bytes.to_le_bytes());
    }
    Ok(block)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha384};

    use super::*;
    use crate::tdx::Section;

    fn firmware(kinds: &[(SectionKind, u64, u64)]) -> Firmware<'static> {
        let section = |(kind, address, memory_bytes): &(SectionKind, u64, u64)| Section {
            data_offset: 0,
            data_bytes: 0,
            address: *address,
            memory_bytes: *memory_bytes,
            kind: *kind,
            attributes: 0,
        };
        Firmware::of_sections(kinds.iter().map(section).collect())
    }

    /// Sections of OVMF before edk2-stable202402.
    const OVMF: [(SectionKind, u64, u64); 4] = [
        (SectionKind::TemporaryMemory, 0x81_0000, 0x1_0000),
        (SectionKind::TemporaryMemory, 0x80_b000, 0x2000),
        (SectionKind::HandOff, 0x80_9000, 0x2000),
        (SectionKind::TemporaryMemory, 0x80_0000, 0x6000),
    ];

    /// First events of two logs of real TDs, of 10 GiB and of 2 TiB (`tdx/logs/ccel-grub-coco` and
    /// `composite/composite-tdx-8xhopper-near` of the vectors).
    #[test]
    fn hand_off_blocks_of_real_machines_are_predicted() {
        for (memory_bytes, digest) in [
            (10 << 30, "05dc148f05a035080b22372d"),
            (2 << 40, "60a36090e82db2aa82a7abb7"),
        ] {
            let block = hand_off_block(&firmware(&OVMF), memory_bytes).expect("large enough");
            assert_eq!(hex::encode(Sha384::digest(block))[..24], *digest);
        }
    }

    #[test]
    fn memory_below_the_sections_is_refused() {
        let ovmf = firmware(&OVMF);
        assert!(hand_off_block(&ovmf, 8 << 20).is_err());
        assert!(hand_off_block(&ovmf, 9 << 20).is_ok());
        assert!(hand_off_block(&ovmf, (9 << 20) + 1).is_err());
        assert!(hand_off_block(&ovmf, MEMORY_BYTES_MAX * 2).is_err());
        assert!(
            hand_off_block(&firmware(&OVMF[..2]), 1 << 30).is_err(),
            "no hand-off section"
        );
        let split = |bytes| hand_off_block(&ovmf, bytes).expect("large enough").len();
        assert_eq!(split(LOW_MEMORY_SMALL), split(LOW_MEMORY_SMALL - (1 << 20)) + 48);
    }
}
