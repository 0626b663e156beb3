//! A disk that firmware boots: a GPT with one EFI system partition, on it `/EFI/BOOT/BOOTX64.EFI` and nothing else.
//!
//! Everything on it is a function of the image: the GUIDs and the volume's serial number are derived from its digest, and
//! no time is written. So the same image gives the same bytes, and what firmware measures of the partition table (the
//! GPT event of PCR 5 and RTMR 1) is the image's, too. UEFI Specification 2.10, section 5.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
};

use sha2::{Digest, Sha256};

use crate::{fat, vhd};

/// Larger images are refused (bytes).
pub const UKI_BYTES_MAX: u64 = 1 << 30;
/// Bytes of a sector; other sizes are not written.
pub const SECTOR: u64 = 512;

const MIB: u64 = 1 << 20;
/// Where the partition begins.
const PARTITION_AT: u64 = MIB;
const ENTRIES: u64 = 128;
const ENTRY_BYTES: u64 = 128;
const ENTRY_SECTORS: u64 = ENTRIES * ENTRY_BYTES / SECTOR;
/// C12A7328-F81F-11D2-BA4B-00A0C93EC93B, as it is stored.
const EFI_SYSTEM_PARTITION: [u8; 16] = [
    0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b,
];

/// How a disk is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As it is: for QEMU, and for `dd`.
    Raw,
    /// Fixed VHD, of whole MiB: Azure.
    Vhd,
    /// `disk.raw` of whole GiB in a compressed archive: Compute Engine.
    Gce,
}

/// A disk by the parts of it that are not zero, in order.
#[derive(Debug)]
pub struct Disk<'a> {
    /// Length of the whole.
    pub bytes: u64,
    /// Where a part begins, and what it holds.
    pub extents: Vec<(u64, Part<'a>)>,
    /// Names this disk: SHA-256 of the image.
    pub digest: [u8; 32],
}

/// The contents of a part.
pub type Part<'a> = std::borrow::Cow<'a, [u8]>;

impl<'a> Disk<'a> {
    /// A disk that boots `uki`; its length is a multiple of `granularity`, itself a multiple of 1 MiB.
    ///
    /// # Errors
    /// When the image is empty or larger than [`UKI_BYTES_MAX`].
    pub fn booting(uki: &'a [u8], granularity: u64) -> anyhow::Result<Self> {
        let length = uki.len() as u64;
        anyhow::ensure!(
            (1..=UKI_BYTES_MAX).contains(&length),
            "the image has {length} bytes: between 1 and {UKI_BYTES_MAX} can be written"
        );
        let digest: [u8; 32] = Sha256::digest(uki).into();
        let serial = derived(&digest, "volume serial");
        let volume = fat::boot_volume(uki, [serial[0], serial[1], serial[2], serial[3]]);
        // The backup of the table stands at the very end, in a MiB of its own.
        let bytes = (PARTITION_AT + volume.bytes + MIB).next_multiple_of(granularity);
        let table = Table {
            sectors: bytes / SECTOR,
            partition: PARTITION_AT / SECTOR..=(PARTITION_AT + volume.bytes) / SECTOR - 1,
            disk: guid(&digest, "disk"),
            unique: guid(&digest, "partition"),
        };
        let mut extents = vec![(0, Part::Owned(table.front()))];
        extents.extend(
            volume
                .extents
                .into_iter()
                .map(|(at, part)| (PARTITION_AT + at, part)),
        );
        extents.push((bytes - (ENTRY_SECTORS + 1) * SECTOR, Part::Owned(table.back())));
        Ok(Self {
            bytes,
            extents,
            digest,
        })
    }

    /// Writes the disk as it is, its zeros as holes.
    ///
    /// # Errors
    /// Those of the file.
    pub fn write_raw(&self, file: &mut File) -> io::Result<()> {
        file.set_len(self.bytes)?;
        for (at, part) in &self.extents {
            file.seek(SeekFrom::Start(*at))?;
            file.write_all(part)?;
        }
        Ok(())
    }

    /// Writes the disk as a fixed VHD.
    ///
    /// # Errors
    /// Those of the file.
    pub fn write_vhd(&self, file: &mut File) -> io::Result<()> {
        self.write_raw(file)?;
        file.seek(SeekFrom::Start(self.bytes))?;
        file.write_all(&vhd::footer(self.bytes, guid(&self.digest, "vhd")))
    }
}

impl Format {
    /// What the length of a disk must be a multiple of.
    pub fn granularity(self) -> u64 {
        match self {
            Self::Raw | Self::Vhd => MIB,
            Self::Gce => 1 << 30,
        }
    }
}

/// 16 bytes for one purpose, from the image's digest.
fn derived(digest: &[u8; 32], purpose: &str) -> [u8; 16] {
    let hash = Sha256::new_with_prefix("adyton disk ")
        .chain_update(purpose)
        .chain_update([0])
        .chain_update(digest)
        .finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    bytes
}

/// A GUID as it is stored, of version 8 (RFC 9562, section 5.8): the first three fields are little-endian.
pub(crate) fn guid(digest: &[u8; 32], purpose: &str) -> [u8; 16] {
    let mut bytes = derived(digest, purpose);
    bytes[7] = bytes[7] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

/// The partition table (UEFI 2.10, section 5.3).
struct Table {
    sectors: u64,
    partition: std::ops::RangeInclusive<u64>,
    disk: [u8; 16],
    unique: [u8; 16],
}

impl Table {
    /// Protective MBR, header, entries.
    fn front(&self) -> Vec<u8> {
        let mut front = self.protective_mbr();
        front.extend(self.header(1, self.sectors - 1, 2));
        front.extend(self.entries());
        front
    }

    /// Entries, header.
    fn back(&self) -> Vec<u8> {
        let mut back = self.entries();
        back.extend(self.header(self.sectors - 1, 1, self.sectors - 1 - ENTRY_SECTORS));
        back
    }

    fn entries(&self) -> Vec<u8> {
        let mut entries = Vec::with_capacity((ENTRIES * ENTRY_BYTES) as usize);
        entries.extend(EFI_SYSTEM_PARTITION);
        entries.extend(self.unique);
        entries.extend(self.partition.start().to_le_bytes());
        entries.extend(self.partition.end().to_le_bytes());
        entries.extend(0_u64.to_le_bytes());
        entries.extend("EFI system".encode_utf16().flat_map(u16::to_le_bytes));
        entries.resize((ENTRIES * ENTRY_BYTES) as usize, 0);
        entries
    }

    fn header(&self, here: u64, other: u64, entries: u64) -> Vec<u8> {
        const HEADER_BYTES: u32 = 92;
        let checksum_at = 16..20;
        let mut header = Vec::with_capacity(SECTOR as usize);
        header.extend(b"EFI PART");
        header.extend(0x0001_0000_u32.to_le_bytes());
        header.extend(HEADER_BYTES.to_le_bytes());
        header.extend([0; 8]); // its own checksum, below; reserved
        header.extend(here.to_le_bytes());
        header.extend(other.to_le_bytes());
        header.extend((2 + ENTRY_SECTORS).to_le_bytes());
        header.extend((self.sectors - 2 - ENTRY_SECTORS).to_le_bytes());
        header.extend(self.disk);
        header.extend(entries.to_le_bytes());
        header.extend((ENTRIES as u32).to_le_bytes());
        header.extend((ENTRY_BYTES as u32).to_le_bytes());
        header.extend(crc32fast::hash(&self.entries()).to_le_bytes());
        let checksum = crc32fast::hash(&header);
        header[checksum_at].copy_from_slice(&checksum.to_le_bytes());
        header.resize(SECTOR as usize, 0);
        header
    }

    /// One partition of type EE over the whole disk (section 5.2.3).
    fn protective_mbr(&self) -> Vec<u8> {
        let mut sector = vec![0; SECTOR as usize];
        let covered = u32::try_from(self.sectors - 1).unwrap_or(u32::MAX);
        sector[446..462].copy_from_slice(
            &[
                &[0x00, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff][..],
                &1_u32.to_le_bytes(),
                &covered.to_le_bytes(),
            ]
            .concat(),
        );
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        sector
    }
}
