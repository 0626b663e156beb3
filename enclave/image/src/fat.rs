//! A FAT32 volume with one file, `/EFI/BOOT/BOOTX64.EFI`, in one run of clusters (Microsoft's FAT32 File System
//! Specification 1.03). Every time on it is 1980-01-01, the earliest that FAT can say.

use crate::disk::{Part, SECTOR};

const MIB: u64 = 1 << 20;
/// Firmware and clouds expect a system partition of some size; it also makes the least number of clusters of FAT32.
const VOLUME_BYTES_MIN: u64 = 64 * MIB;
const RESERVED_SECTORS: u64 = 32;
const END_OF_CHAIN: u32 = 0x0fff_ffff;
/// 1980-01-01 as the specification packs it.
const DATE: [u8; 2] = [0x21, 0x00];
const ARCHIVE: u8 = 0x20;
const DIRECTORY: u8 = 0x10;
const VOLUME_ID: u8 = 0x08;

/// Clusters of the three directories; the file follows.
const ROOT: u32 = 2;
const EFI: u32 = 3;
const BOOT: u32 = 4;
const FILE: u32 = 5;

/// A volume by its parts that are not zero.
pub(crate) struct Volume<'a> {
    pub(crate) bytes: u64,
    pub(crate) extents: Vec<(u64, Part<'a>)>,
}

struct Geometry {
    sectors: u64,
    cluster_sectors: u64,
    fat_sectors: u64,
}

impl Geometry {
    /// The smallest volume of whole MiB that holds a file of `bytes`, with clusters as small as FAT32 has them there.
    fn holding(bytes: u64) -> Self {
        // Two tables of 4 bytes a cluster of 512 are a 64th part; one MiB is ample for the rest.
        let volume = (bytes + bytes / 32 + MIB)
            .next_multiple_of(MIB)
            .max(VOLUME_BYTES_MIN);
        let cluster_sectors = if volume <= 260 * MIB { 1 } else { 8 };
        let sectors = volume / SECTOR;
        let clusters = (sectors - RESERVED_SECTORS) / cluster_sectors;
        let fat_sectors = ((clusters + 2) * 4).div_ceil(SECTOR);
        Self {
            sectors,
            cluster_sectors,
            fat_sectors,
        }
    }

    fn data_sector(&self) -> u64 {
        RESERVED_SECTORS + 2 * self.fat_sectors
    }

    fn clusters(&self) -> u64 {
        (self.sectors - self.data_sector()) / self.cluster_sectors
    }

    fn cluster_bytes(&self) -> u64 {
        self.cluster_sectors * SECTOR
    }

    fn offset(&self, cluster: u32) -> u64 {
        self.data_sector() * SECTOR + u64::from(cluster - ROOT) * self.cluster_bytes()
    }
}

/// The volume. The caller bounds `file` to 1 GiB.
pub(crate) fn boot_volume(file: &[u8], serial: [u8; 4]) -> Volume<'_> {
    let bytes = u32::try_from(file.len()).expect("the caller's bound is below 4 GiB");
    let geometry = Geometry::holding(u64::from(bytes));
    let file_clusters = u64::from(bytes).div_ceil(geometry.cluster_bytes()) as u32;
    let table = table(file_clusters);
    let free = geometry.clusters() as u32 - file_clusters - 3;
    let boot = boot_sectors(&geometry, serial, free, FILE + file_clusters);
    let root = [
        entry(b"ADYTON     ", VOLUME_ID, 0, 0),
        entry(b"EFI        ", DIRECTORY, EFI, 0),
    ];
    let efi = [
        entry(b".          ", DIRECTORY, EFI, 0),
        entry(b"..         ", DIRECTORY, 0, 0), // 0 stands for the root
        entry(b"BOOT       ", DIRECTORY, BOOT, 0),
    ];
    let directory = [
        entry(b".          ", DIRECTORY, BOOT, 0),
        entry(b"..         ", DIRECTORY, EFI, 0),
        entry(b"BOOTX64 EFI", ARCHIVE, FILE, bytes),
    ];
    let first_fat = RESERVED_SECTORS * SECTOR;
    Volume {
        bytes: geometry.sectors * SECTOR,
        extents: vec![
            (0, Part::Owned(boot.clone())),
            (6 * SECTOR, Part::Owned(boot)), // the specification's place for the backup
            (first_fat, Part::Owned(table.clone())),
            (first_fat + geometry.fat_sectors * SECTOR, Part::Owned(table)),
            (geometry.offset(ROOT), Part::Owned(root.concat())),
            (geometry.offset(EFI), Part::Owned(efi.concat())),
            (geometry.offset(BOOT), Part::Owned(directory.concat())),
            (geometry.offset(FILE), Part::Borrowed(file)),
        ],
    }
}

/// One directory entry (section 6).
fn entry(name: &[u8; 11], attributes: u8, cluster: u32, bytes: u32) -> Vec<u8> {
    let mut entry = name.to_vec();
    entry.extend([attributes, 0, 0, 0, 0]); // no lower case, time of creation 00:00
    entry.extend(DATE);
    entry.extend(DATE);
    entry.extend(((cluster >> 16) as u16).to_le_bytes());
    entry.extend([0, 0]);
    entry.extend(DATE);
    entry.extend((cluster as u16).to_le_bytes());
    entry.extend(bytes.to_le_bytes());
    entry
}

/// The allocation table: media byte, clean shutdown, three directories of a cluster each, the file (section 4).
fn table(file_clusters: u32) -> Vec<u8> {
    let last = FILE + file_clusters - 1;
    let chain = (FILE..=last).map(|cluster| {
        if cluster == last {
            END_OF_CHAIN
        } else {
            cluster + 1
        }
    });
    [
        0x0fff_fff8,
        END_OF_CHAIN,
        END_OF_CHAIN,
        END_OF_CHAIN,
        END_OF_CHAIN,
    ]
    .into_iter()
    .chain(chain)
    .flat_map(u32::to_le_bytes)
    .collect()
}

/// The boot sector and FSInfo (sections 3.1 to 3.3 and 5), and the third sector that belongs to them.
fn boot_sectors(geometry: &Geometry, serial: [u8; 4], free: u32, next: u32) -> Vec<u8> {
    let mut boot = Vec::with_capacity(3 * SECTOR as usize);
    boot.extend([0xeb, 0x58, 0x90]);
    boot.extend(b"ADYTON  ");
    boot.extend((SECTOR as u16).to_le_bytes());
    boot.push(geometry.cluster_sectors as u8);
    boot.extend((RESERVED_SECTORS as u16).to_le_bytes());
    boot.push(2); // tables
    boot.extend([0; 4]); // no fixed root, no 16-bit count of sectors
    boot.push(0xf8);
    boot.extend([0; 2]); // no 16-bit length of a table
    boot.extend(63_u16.to_le_bytes());
    boot.extend(255_u16.to_le_bytes());
    boot.extend(2048_u32.to_le_bytes()); // sectors before the partition
    boot.extend((geometry.sectors as u32).to_le_bytes());
    boot.extend((geometry.fat_sectors as u32).to_le_bytes());
    boot.extend([0; 4]); // both tables live, version 0.0
    boot.extend(ROOT.to_le_bytes());
    boot.extend(1_u16.to_le_bytes()); // FSInfo
    boot.extend(6_u16.to_le_bytes()); // backup
    boot.extend([0; 12]);
    boot.extend([0x80, 0, 0x29]);
    boot.extend(serial);
    boot.extend(b"ADYTON     ");
    boot.extend(b"FAT32   ");
    signed(&mut boot, 1);
    boot.extend(0x4161_5252_u32.to_le_bytes());
    boot.resize(SECTOR as usize + 484, 0);
    boot.extend(0x6141_7272_u32.to_le_bytes());
    boot.extend(free.to_le_bytes());
    boot.extend(next.to_le_bytes());
    signed(&mut boot, 2);
    signed(&mut boot, 3);
    boot
}

/// Fills up to `sectors` and signs the last of them.
fn signed(bytes: &mut Vec<u8>, sectors: usize) {
    bytes.resize(sectors * SECTOR as usize - 2, 0);
    bytes.extend([0x55, 0xaa]);
}
