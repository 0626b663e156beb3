//! The two kinds of machine that the image has tables for, by where their power management is.

/// A machine's chipset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// ICH9, with PCI Express: QEMU's q35.
    Q35,
    /// PIIX4, with PCI: Compute Engine's, and QEMU's pc under OVMF.
    Piix4,
}

/// Ports of a chipset's power management (ACPI 6.5, section 4.8.3).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) pm1_event: u32,
    pub(crate) pm1_control: u32,
    pub(crate) timer: u32,
    pub(crate) gpe0: u32,
    pub(crate) gpe0_bytes: u8,
    /// Where a write resets the machine, if the chipset has it.
    pub(crate) reset: Option<u32>,
}

impl Machine {
    /// The kind whose timer is at that port.
    pub(crate) fn with_timer(port: u64) -> Option<Self> {
        [Self::Q35, Self::Piix4]
            .into_iter()
            .find(|machine| u64::from(machine.ports().timer) == port)
    }

    /// Intel ICH9 datasheet, chapter 13.8, and 82371AB (PIIX4) datasheet, chapter 7; OVMF sets the bases.
    pub(crate) fn ports(self) -> Ports {
        match self {
            Self::Q35 => Ports {
                pm1_event: 0x600,
                pm1_control: 0x604,
                timer: 0x608,
                gpe0: 0x620,
                gpe0_bytes: 16,
                reset: Some(0xcf9),
            },
            Self::Piix4 => Ports {
                pm1_event: 0xb000,
                pm1_control: 0xb004,
                timer: 0xb008,
                gpe0: 0xafe0,
                gpe0_bytes: 4,
                reset: None,
            },
        }
    }

    /// From here on, up to 4 GiB, it never has memory.
    pub(crate) fn low_memory_end_max(self) -> u64 {
        match self {
            Self::Q35 => 0xb000_0000,
            Self::Piix4 => 0xe000_0000,
        }
    }
}
