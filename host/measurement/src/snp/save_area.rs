//! A virtual processor's save area at launch (AMD 24593, appendix B, table B-4), as each monitor prepares it.
//!
//! | offset | field | value |
//! |---|---|---|
//! | 0x000 | ES, CS, SS, DS, FS, GS, GDTR, LDTR, IDTR, TR | real mode; selector, attributes, limit, base |
//! | 0x0d0 | EFER | SVME, which KVM sets |
//! | 0x148, 0x158 | CR4, CR0 | machine check; extension type |
//! | 0x160, 0x168 | DR7, DR6 | reset values |
//! | 0x170, 0x178 | RFLAGS, RIP | 2; low half of the start |
//! | 0x268 | G_PAT | reset value, but on GCE |
//! | 0x310 | RDX | CPUID signature under QEMU |
//! | 0x3b0 | SEV_FEATURES | |
//! | 0x3e8 | XCR0 | x87 |
//! | 0x408, 0x410 | MXCSR, FCW | reset values under QEMU, zero elsewhere |

use crate::{PAGE_BYTES, snp::Launch};

/// Where the first processor starts.
const RESET_VECTOR: u32 = 0xffff_fff0;

/// A virtual machine monitor that launches SNP guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vmm {
    /// QEMU with KVM.
    Qemu,
    /// Amazon EC2.
    Ec2,
    /// Google Compute Engine.
    Gce,
}

impl Vmm {
    /// The monitor of a name: `qemu`, `ec2` or `gce`.
    pub fn of_name(name: &str) -> Option<Self> {
        [("qemu", Self::Qemu), ("ec2", Self::Ec2), ("gce", Self::Gce)]
            .into_iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, vmm)| vmm)
    }
}

/// One save area.
#[derive(Debug)]
pub struct SaveArea([u8; PAGE_BYTES]);

impl SaveArea {
    /// The save area of processor `index`; the first starts at the reset vector, the others at `reset_eip`.
    pub fn new(index: u32, reset_eip: u32, launch: &Launch) -> Self {
        let start = if index == 0 { RESET_VECTOR } else { reset_eip };
        let mut area = Self([0; PAGE_BYTES]);
        let vmm = launch.vmm;
        let code = if vmm == Vmm::Ec2 && index == 0 { 0x9a } else { 0x9b };
        let stack = if vmm == Vmm::Ec2 { 0x92 } else { 0x93 };
        let task = if vmm == Vmm::Ec2 { 0x83 } else { 0x8b };
        let segments: [(u16, u16, u64); 10] = [
            (0, 0x93, 0),
            (0xf000, code, u64::from(start & 0xffff_0000)),
            (0, stack, 0),
            (0, 0x93, 0),
            (0, 0x93, 0),
            (0, 0x93, 0),
            (0, 0, 0),
            (0, 0x82, 0),
            (0, 0, 0),
            (0, task, 0),
        ];
        for (at, (selector, attributes, base)) in (0..).step_by(16).zip(segments) {
            area.put(at, &selector.to_le_bytes());
            area.put(at + 2, &attributes.to_le_bytes());
            area.put(at + 4, &0xffff_u32.to_le_bytes());
            area.put(at + 8, &base.to_le_bytes());
        }
        let page_attributes: u64 = match vmm {
            Vmm::Gce => 0x0007_0106,
            Vmm::Qemu | Vmm::Ec2 => 0x0007_0406_0007_0406,
        };
        let (rdx, mxcsr, fcw): (u64, u32, u16) = match vmm {
            Vmm::Qemu => (launch.processor.0.into(), 0x1f80, 0x37f),
            Vmm::Ec2 | Vmm::Gce => (0x600, 0, 0),
        };
        for (at, value) in [
            (0xd0, 0x1000),
            (0x148, 0x40),
            (0x158, 0x10),
            (0x160, 0x400),
            (0x168, 0xffff_0ff0),
            (0x170, 2),
            (0x178, u64::from(start & 0xffff)),
            (0x268, page_attributes),
            (0x310, rdx),
            (0x3b0, launch.guest_features),
            (0x3e8, 1),
        ] {
            area.put(at, &value.to_le_bytes());
        }
        area.put(0x408, &mxcsr.to_le_bytes());
        area.put(0x410, &fcw.to_le_bytes());
        area
    }

    /// The page.
    pub fn page(&self) -> &[u8; PAGE_BYTES] {
        &self.0
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes); // offsets of the table above, all inside
    }
}
