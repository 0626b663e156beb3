//! Which addresses PCI devices may have: what is neither memory nor taken. Firmware says what is memory.

use crate::machine::Machine;

/// Bytes of the configuration of PCI Express: 256 buses of 32 devices of 8 functions of 4 KiB.
pub const EXPRESS_BYTES: u32 = 256 << 20;
/// From here on: IO-APIC, local APICs, firmware.
const LOW_END: u32 = 0xfec0_0000;
const GIB4: u64 = 4 << 30;
/// Where a processor has more, OVMF and QEMU use no more.
const ADDRESS_BITS_MAX: u32 = 46;

/// Kinds of memory of UEFI 2.10, section 7.2.3: EfiReservedMemoryType, EfiMemoryMappedIO, EfiMemoryMappedIOPortSpace.
const RESERVED: u32 = 0;
const MAPPED: [u32; 2] = [11, 12];

/// Where memory ends, below and above 4 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryEnds {
    low: u64,
    low_max: u64,
    high: u64,
}

impl MemoryEnds {
    /// Of a machine of which no region is known yet.
    pub fn of(machine: Machine) -> Self {
        Self {
            low: 0,
            low_max: machine.low_memory_end_max(),
            high: 0,
        }
    }

    /// Takes a region of firmware's map into account.
    pub fn add(&mut self, kind: u32, start: u64, bytes: u64) {
        let end = start.saturating_add(bytes);
        if MAPPED.contains(&kind) {
            return;
        }
        if start < self.low_max {
            self.low = self.low.max(end.min(self.low_max));
        }
        if end > GIB4 && kind != RESERVED {
            self.high = self.high.max(end);
        }
    }
}

/// A range of addresses, both ends in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

impl Window {
    fn between(first: u64, end: u64) -> Option<Self> {
        let last = end.checked_sub(1)?;
        (first < last).then_some(Self { first, last })
    }

    /// How many there are.
    pub fn bytes(self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }
}

/// The windows of the PCI bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Below 4 GiB, before the configuration of PCI Express.
    pub before: Option<Window>,
    /// Below 4 GiB, behind it.
    pub behind: Option<Window>,
    /// Above all memory.
    pub high: Option<Window>,
}

impl Windows {
    /// What is left beside memory that ends there, for a processor with addresses of so many bits.
    pub fn beside(memory: MemoryEnds, express: Option<u32>, address_bits: u32) -> Self {
        const MIB: u64 = 1 << 20;
        const GIB: u64 = 1 << 30;
        let up = |address: u64, unit: u64| address.checked_next_multiple_of(unit).unwrap_or(u64::MAX);
        let low = up(memory.low, MIB);
        let express = u64::from(express.unwrap_or(LOW_END));
        let top = 1_u64.checked_shl(address_bits.min(ADDRESS_BITS_MAX)).unwrap_or(0);
        Self {
            before: Window::between(low, express),
            behind: Window::between(
                low.max(express.saturating_add(u64::from(EXPRESS_BYTES))),
                u64::from(LOW_END),
            ),
            high: Window::between(up(memory.high.max(GIB4), GIB), top),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(regions: &[(u32, u64, u64)], express: Option<u32>, bits: u32) -> Windows {
        let mut ends = MemoryEnds::of(Machine::Q35);
        for (kind, start, bytes) in regions {
            ends.add(*kind, *start, *bytes);
        }
        Windows::beside(ends, express, bits)
    }

    fn window(first: u64, last: u64) -> Option<Window> {
        Some(Window { first, last })
    }

    #[test]
    fn a_small_and_a_large_machine() {
        let small = windows(
            &[(7, 0, 0xa0000), (7, 0x10_0000, 0x6fef_0000)],
            Some(0xe000_0000),
            40,
        );
        assert_eq!(small.before, window(0x7000_0000, 0xdfff_ffff));
        assert_eq!(small.behind, window(0xf000_0000, 0xfebf_ffff));
        assert_eq!(small.high, window(GIB4, (1 << 40) - 1));

        let large = windows(
            &[
                (7, 0x10_0000, 0x7fe0_0000),
                (6, 0x7ff0_0000, 0x10_0000),
                (7, GIB4, 0x3_8000_1000),
                (11, 0xffc0_0000, 0x40_0000),
                (RESERVED, 0xfd_0000_0000, 0x3_0000_0000),
            ],
            Some(0xb000_0000),
            52,
        );
        assert_eq!(large.before, window(0x8000_0000, 0xafff_ffff));
        assert_eq!(large.behind, window(0xc000_0000, 0xfebf_ffff));
        assert_eq!(large.high, window(0x4_c000_0000, (1 << 46) - 1));
        assert_eq!(large.high.map(Window::bytes), Some((1 << 46) - 0x4_c000_0000));
    }

    #[test]
    fn a_machine_of_compute_engine_has_memory_further_up() {
        let regions = [(7, 0x10_0000, 0xbff0_0000), (RESERVED, 0xfffc_0000, 0x4_0000)];
        let mut ends = MemoryEnds::of(Machine::Piix4);
        for (kind, start, bytes) in regions {
            ends.add(kind, start, bytes);
        }
        let windows = Windows::beside(ends, None, 48);
        assert_eq!(windows.before, window(0xc000_0000, 0xfebf_ffff));
        assert_eq!(windows.high, window(GIB4, (1 << 46) - 1));
    }

    #[test]
    fn without_pci_express_one_window_stands_below_4_gib_and_nothing_overflows() {
        let none = windows(&[(7, 0, 0x8000_0000)], None, 32);
        assert_eq!(none.before, window(0x8000_0000, 0xfebf_ffff));
        assert_eq!((none.behind, none.high), (None, None));
        let hostile = windows(&[(7, u64::MAX, u64::MAX), (7, 5, u64::MAX)], None, 255);
        assert_eq!(hostile.high, None);
    }
}
