//! The table through which kernel, initrd and command line are measured (QEMU, `target/i386/sev.c`; edk2,
//! `OvmfPkg/AmdSev/BlobVerifierLibSevHashes`).
//!
//! A header of GUID and length, then three entries of GUID, length and SHA-256: command line with its NUL, initrd
//! (empty when there is none), kernel. Padded to 16 bytes.

use sha2::{Digest, Sha256};

use crate::{
    INITRD_BYTES_MAX, KERNEL_BYTES_MAX, PAGE_BYTES, check_command_line,
    error::{MeasureError, Part},
    footer::{Guid, guid},
};

/// 9438d606-4f22-4cc9-b479-a793d411fd21
const TABLE: Guid = guid(0x9438_d606, 0x4f22, 0x4cc9, 0xb479_a793_d411_fd21);
/// 97d02dd8-bd20-4c94-aa78-e7714d36ab2a
const COMMAND_LINE: Guid = guid(0x97d0_2dd8, 0xbd20, 0x4c94, 0xaa78_e771_4d36_ab2a);
/// 44baf731-3a2f-4bd7-9af1-41e29169781d
const INITRD: Guid = guid(0x44ba_f731, 0x3a2f, 0x4bd7, 0x9af1_41e2_9169_781d);
/// 4de79437-abd2-427f-b835-d5b172d2045b
const KERNEL: Guid = guid(0x4de7_9437, 0xabd2, 0x427f, 0xb835_d5b1_72d2_045b);

const ENTRY_BYTES: usize = 16 + 2 + 32;
const USED_BYTES: usize = 16 + 2 + 3 * ENTRY_BYTES;
/// Bytes of the table with its padding.
pub(crate) const TABLE_BYTES: usize = USED_BYTES.next_multiple_of(16);

/// The hashes of what is booted directly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelHashes {
    /// SHA-256 of the kernel file.
    pub kernel: [u8; 32],
    /// SHA-256 of the initrd file; of nothing when there is none.
    pub initrd: [u8; 32],
    /// SHA-256 of the command line and a NUL.
    pub command_line: [u8; 32],
}

impl KernelHashes {
    /// Hashes the three files; an empty `initrd` stands for none.
    ///
    /// # Errors
    /// [`MeasureError`] when one is over its bound or the command line has bytes that are read differently.
    pub fn of(kernel: &[u8], initrd: &[u8], command_line: &str) -> Result<Self, MeasureError> {
        if kernel.is_empty() {
            return Err(MeasureError::malformed(Part::Kernel, "empty"));
        }
        MeasureError::bound(Part::Kernel, kernel.len(), KERNEL_BYTES_MAX)?;
        MeasureError::bound(Part::Initrd, initrd.len(), INITRD_BYTES_MAX)?;
        Self::of_digests(
            Sha256::digest(kernel).into(),
            Sha256::digest(initrd).into(),
            command_line,
        )
    }

    /// As [`KernelHashes::of`], where the files are known by their digests.
    ///
    /// # Errors
    /// [`MeasureError`] when the command line has bytes that are read differently.
    pub fn of_digests(kernel: [u8; 32], initrd: [u8; 32], command_line: &str) -> Result<Self, MeasureError> {
        check_command_line(command_line)?;
        let command_line = Sha256::new_with_prefix(command_line)
            .chain_update([0])
            .finalize()
            .into();
        Ok(Self {
            kernel,
            initrd,
            command_line,
        })
    }

    /// The table as QEMU writes it into guest memory.
    pub fn table(&self) -> Vec<u8> {
        let mut table = Vec::with_capacity(TABLE_BYTES);
        table.extend(TABLE);
        table.extend((USED_BYTES as u16).to_le_bytes());
        for (guid, hash) in [
            (COMMAND_LINE, &self.command_line),
            (INITRD, &self.initrd),
            (KERNEL, &self.kernel),
        ] {
            table.extend(guid);
            table.extend((ENTRY_BYTES as u16).to_le_bytes());
            table.extend(hash);
        }
        table.resize(TABLE_BYTES, 0);
        table
    }

    /// The page that holds the table at `address`, with zeros around it.
    pub(crate) fn page(&self, address: u32) -> Result<[u8; PAGE_BYTES], MeasureError> {
        let mut page = [0; PAGE_BYTES];
        let start = address as usize % PAGE_BYTES;
        page.get_mut(start..start + TABLE_BYTES)
            .ok_or_else(|| MeasureError::malformed(Part::KernelHashes, "the table crosses a page"))?
            .copy_from_slice(&self.table());
        Ok(page)
    }
}
