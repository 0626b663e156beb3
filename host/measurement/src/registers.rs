//! The other PCRs of a machine of QEMU's that boots from a disk by OVMF without Secure Boot (TCG PC Client Platform
//! Firmware Profile, section 3.3.4), beside those of the image in [`crate::uki`].
//!
//! | PCR | value |
//! |---|---|
//! | 0 | version and volumes of the firmware: of builds that were booted and looked at, by their SHA-256 |
//! | 1 | boot variables and ACPI tables, which the host writes: not predicted |
//! | 2, 3, 6 | a separator: no driver and no setting from outside |
//! | 5 | a separator, the partition table of the disk, the end of boot services |
//! | 7 | the Secure Boot variables, none of them set, and a separator |
//! | 8, 12 to 16, 23 | zero: nobody measures into them |
//! | 10 | the kernel's digest of 0 to 9: not predicted |
//! | 17 to 22 | ones: no dynamic launch |

use sha2::{Digest, Sha256};

use crate::{
    error::{MeasureError, Part},
    tdx::{SecureBoot, secure_boot_variables},
    uki::register,
};

/// Firmware by its SHA-256, and PCR 0 after its boot.
const FIRMWARE: &[([u8; 32], [u8; 32])] = &[
    // Debian, package ovmf-generic 2026.08+ds-2, OVMF.fd.
    (
        *b"\x6a\x3e\x8f\x43\x8a\xd7\x26\x9f\x5d\xfd\x88\x46\x47\x58\x7b\x88\x39\x1f\xb2\x39\x65\xbb\x3a\xa7\x90\x2b\x51\x94\x38\xdb\xa1\x29",
        *b"\xc5\x2c\xce\xbc\xb2\xf9\xe6\x6a\xe4\x92\xac\xf8\xa1\xd8\x0f\xf2\x6d\xf1\x17\x6c\x9f\xc5\x2c\xb5\x3b\xf0\x8f\xfb\xb8\x38\x06\x9b",
    ),
];

/// Beginning of a GPT header (UEFI 2.10, section 5.3.2), its size, and the most that its table has here.
const SIGNATURE: &[u8; 8] = b"EFI PART";
const SECTOR_BYTES: usize = 512;
const HEADER_BYTES: usize = 92;
const ENTRY_BYTES: usize = 128;
const ENTRIES_MAX: usize = 128;

/// Bytes of a disk that its partition table needs at most: protective record, header, entries.
pub const TABLE_BYTES: usize = 2 * SECTOR_BYTES + ENTRIES_MAX * ENTRY_BYTES;

const EXIT: &[u8] = b"Exit Boot Services Invocation";
const EXITED: &[u8] = b"Exit Boot Services Returned with Success";

/// PCRs that a machine leaves as its reset makes them.
pub const ZERO: [u8; 7] = [8, 12, 13, 14, 15, 16, 23];
/// PCRs that a dynamic launch would reset.
pub const ONES: [u8; 6] = [17, 18, 19, 20, 21, 22];
/// PCRs into which firmware only measures the end of its own part.
pub const SEPARATED: [u8; 3] = [2, 3, 6];

fn digest(data: &[u8]) -> Vec<u8> {
    Sha256::digest(data).to_vec()
}

/// PCR 0 of a firmware that is known.
pub fn firmware(image: &[u8]) -> Option<[u8; 32]> {
    let found = digest(image);
    let known = FIRMWARE.iter().find(|(image, _)| found == image);
    known.map(|(_, pcr)| *pcr)
}

/// PCR 2, 3 and 6.
pub fn separated() -> Vec<u8> {
    register::<Sha256>(&[digest(&[0; 4])])
}

/// PCR 7 without Secure Boot.
pub fn without_secure_boot() -> Vec<u8> {
    let variables = secure_boot_variables(&SecureBoot::default());
    let variables = variables.iter().map(|data| digest(data));
    let events: Vec<_> = variables.chain([digest(&[0; 4])]).collect();
    register::<Sha256>(&events)
}

/// PCR 5 after a boot from the disk that begins with these bytes, at least [`TABLE_BYTES`] of them.
///
/// # Errors
/// [`MeasureError`] when there is no partition table as UEFI has it.
pub fn partitions(disk: &[u8]) -> Result<Vec<u8>, MeasureError> {
    let event = partition_event(disk)?;
    let events = [&[0; 4][..], &event, EXIT, EXITED].map(digest);
    Ok(register::<Sha256>(&events))
}

/// UEFI_GPT_DATA (Platform Firmware Profile, section 10.2.7): the header, how many entries are used, and those.
fn partition_event(disk: &[u8]) -> Result<Vec<u8>, MeasureError> {
    let malformed = |reason| MeasureError::malformed(Part::Disk, reason);
    let cut = || malformed("its partition table is cut");
    let header = disk.get(SECTOR_BYTES..).and_then(|rest| rest.get(..HEADER_BYTES));
    let header = header.ok_or_else(cut)?;
    if !header.starts_with(SIGNATURE) {
        return Err(malformed("it has no GPT"));
    }
    let number = |at: usize, bytes: usize| {
        let digits = header.get(at..at + bytes).unwrap_or_default().iter().rev();
        digits.fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let (first, entries, entry_bytes) = (number(72, 8), number(80, 4), number(84, 4));
    if first != 2 || entries > ENTRIES_MAX as u64 || entry_bytes != ENTRY_BYTES as u64 {
        return Err(malformed("its GPT is of another shape"));
    }
    let table = disk
        .get(2 * SECTOR_BYTES..)
        .and_then(|rest| rest.get(..ENTRY_BYTES * entries as usize));
    let used: Vec<_> = table
        .ok_or_else(cut)?
        .chunks(ENTRY_BYTES)
        .filter(|entry| entry.iter().take(16).any(|byte| *byte != 0))
        .collect();
    let mut event = header.to_vec();
    event.extend((used.len() as u64).to_le_bytes());
    event.extend(used.concat());
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of a machine of QEMU 10.0 that OVMF 2026.08 booted from a disk.
    #[test]
    fn registers_are_those_of_a_boot() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            hex(&separated()),
            "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969"
        );
        assert_eq!(
            hex(&without_secure_boot()),
            "b5710bf57d25623e4019027da116821fa99f5c81e9e38b87671cc574f9281439"
        );
        assert_eq!(firmware(b"another build"), None);
    }

    fn disk() -> Vec<u8> {
        let mut disk = vec![0; TABLE_BYTES];
        disk[512..520].copy_from_slice(SIGNATURE);
        disk[512 + 72] = 2;
        disk[512 + 80] = 128;
        disk[512 + 84] = 128;
        disk[1024..1024 + 16].fill(7);
        disk
    }

    #[test]
    fn a_partition_table_counts_what_it_uses() {
        let event = partition_event(&disk()).expect("a table");
        assert_eq!(event.len(), 92 + 8 + 128);
        assert_eq!(event[92..100], [1, 0, 0, 0, 0, 0, 0, 0]);
        let (before, mut other) = (partitions(&disk()).expect("a table"), disk());
        other[1024 + 40] ^= 1;
        assert_ne!(partitions(&other).expect("a table"), before);
        let mut unused = disk();
        unused[1024 + 128 + 40] = 1;
        assert_eq!(partitions(&unused).expect("a table"), before);
    }

    #[test]
    fn what_is_no_partition_table_is_refused() {
        for length in [0, 511, 600, TABLE_BYTES - 1] {
            assert!(partitions(&disk()[..length]).is_err(), "{length}");
        }
        for at in [512, 512 + 72, 512 + 79, 512 + 83, 512 + 84] {
            let mut other = disk();
            other[at] ^= 1;
            assert!(partitions(&other).is_err(), "{at}");
        }
    }
}
