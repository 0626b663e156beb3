//! The launch digest: SHA-384 over one PAGE_INFO for each page that is added (AMD 56860, section 8.17.2, table 67).
//!
//! | offset | field |
//! |---|---|
//! | 0 | digest so far |
//! | 0x30 | SHA-384 of the page, or zeros where its contents are not measured |
//! | 0x60 | length of the structure, 0x70 |
//! | 0x62 | page type |
//! | 0x63 | flags: initial migration image, permissions of VMPL 1 to 3; all zero here |
//! | 0x68 | guest-physical address |

use sha2::{Digest, Sha384};

use super::{Firmware, KernelHashes, Processor, SaveArea, SectionKind, VCPUS_MAX, Vmm};
use crate::{
    PAGE_BYTES,
    error::{MeasureError, Part},
};

/// A launch digest: what a report shows as MEASUREMENT.
pub type LaunchDigest = [u8; 48];

/// PAGE_TYPE (AMD 56860, section 8.17.2, table 66).
const NORMAL: u8 = 1;
const VMSA: u8 = 2;
const ZERO: u8 = 3;
const UNMEASURED: u8 = 4;
const SECRETS: u8 = 5;
const CPUID: u8 = 6;

const PAGE_INFO_BYTES: u16 = 0x70;
/// Save areas have no address of the guest: the last page below 2^48 stands for it.
const VMSA_ADDRESS: u64 = 0xffff_ffff_f000;
const NOT_MEASURED: [u8; 48] = [0; 48];

/// What is launched on the firmware, and on what.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Hashes of a kernel that is booted directly; `None` boots from the disk.
    pub kernel_hashes: Option<KernelHashes>,
    /// Number of virtual processors.
    pub vcpus: u32,
    /// Their model.
    pub processor: Processor,
    /// SEV_FEATURES of the save areas: bit 0 is SNP itself (AMD 24593, section 15.36).
    pub guest_features: u64,
    /// The virtual machine monitor: each prepares the save areas in its own way.
    pub vmm: Vmm,
}

/// The launch digest of `firmware` under `launch`.
///
/// # Errors
/// [`MeasureError::Missing`] when the firmware lacks what the launch needs, [`MeasureError::Malformed`] when its
/// structures or the processors are impossible.
pub fn launch_digest(firmware: &Firmware, launch: &Launch) -> Result<LaunchDigest, MeasureError> {
    firmware.check()?;
    if launch.vcpus == 0 || launch.vcpus > VCPUS_MAX {
        return Err(MeasureError::malformed(Part::Processors, "there are 1 to 512"));
    }
    if launch.guest_features & 1 == 0 {
        return Err(MeasureError::malformed(
            Part::Processors,
            "guest features without bit 0, which is SNP itself",
        ));
    }
    let mut digest = Accumulator(firmware.pages_digest);
    add_sections(&mut digest, firmware, launch)?;
    if launch.vcpus > 1 && firmware.reset_eip == 0 {
        return Err(MeasureError::Missing(Part::ResetBlock));
    }
    for index in 0..launch.vcpus {
        let area = SaveArea::new(index, firmware.reset_eip, launch);
        digest.add(VMSA, VMSA_ADDRESS, Sha384::digest(area.page()).into());
    }
    Ok(digest.0)
}

/// The launch digest after the pages of `image`, which starts at `address`.
pub fn pages_digest(address: u64, image: &[u8]) -> LaunchDigest {
    let mut digest = Accumulator([0; 48]);
    digest.add_pages(address, image);
    digest.0
}

/// Sections in table order, not address order; EC2 adds the CPUID page last.
fn add_sections(digest: &mut Accumulator, firmware: &Firmware, launch: &Launch) -> Result<(), MeasureError> {
    let hashes_page = match &launch.kernel_hashes {
        None => None,
        Some(hashes) => {
            let address = firmware
                .kernel_hashes_address
                .ok_or(MeasureError::Missing(Part::KernelHashes))?;
            let section = firmware
                .sections
                .iter()
                .find(|section| section.kind == SectionKind::KernelHashes)
                .ok_or(MeasureError::Missing(Part::KernelHashes))?;
            if address / PAGE_BYTES as u32 != section.address / PAGE_BYTES as u32 {
                return Err(MeasureError::malformed(
                    Part::KernelHashes,
                    "the table is not in its section",
                ));
            }
            Some(hashes.page(address)?)
        }
    };
    for section in &firmware.sections {
        let address = u64::from(section.address);
        match (section.kind, launch.vmm) {
            (SectionKind::Memory, Vmm::Gce) => digest.add_empty(UNMEASURED, address, section.bytes),
            (SectionKind::Memory | SectionKind::SvsmCallingArea, _) => {
                digest.add_empty(ZERO, address, section.bytes);
            }
            (SectionKind::Secrets, _) => digest.add(SECRETS, address, NOT_MEASURED),
            (SectionKind::Cpuid, Vmm::Ec2) => {}
            (SectionKind::Cpuid, _) => digest.add(CPUID, address, NOT_MEASURED),
            (SectionKind::KernelHashes, _) => match &hashes_page {
                Some(page) => digest.add_pages(address, page),
                None => digest.add_empty(ZERO, address, section.bytes),
            },
        }
    }
    if launch.vmm == Vmm::Ec2 {
        for section in &firmware.sections {
            if section.kind == SectionKind::Cpuid {
                digest.add(CPUID, u64::from(section.address), NOT_MEASURED);
            }
        }
    }
    Ok(())
}

struct Accumulator(LaunchDigest);

impl Accumulator {
    fn add(&mut self, page_type: u8, address: u64, contents: [u8; 48]) {
        let hash = Sha384::new_with_prefix(self.0)
            .chain_update(contents)
            .chain_update(PAGE_INFO_BYTES.to_le_bytes())
            .chain_update([page_type, 0, 0, 0, 0, 0])
            .chain_update(address.to_le_bytes());
        self.0 = hash.finalize().into();
    }

    fn add_pages(&mut self, address: u64, contents: &[u8]) {
        for (page, address) in contents.chunks(PAGE_BYTES).zip((address..).step_by(PAGE_BYTES)) {
            self.add(NORMAL, address, Sha384::digest(page).into());
        }
    }

    fn add_empty(&mut self, page_type: u8, address: u64, bytes: u32) {
        for offset in (0..u64::from(bytes)).step_by(PAGE_BYTES) {
            self.add(page_type, address.saturating_add(offset), NOT_MEASURED);
        }
    }
}
