//! What the host's processor says about memory encryption (AMD 24594, CPUID function 8000_001F).

use core::arch::x86_64::__cpuid;

/// Parameters that QEMU must be told, because it cannot choose them for the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryEncryption {
    /// SEV-SNP is there.
    pub snp: bool,
    /// Position of the encryption bit in page table entries.
    pub cbit_position: u32,
    /// Bits by which physical addresses are reduced.
    pub reduced_phys_bits: u32,
}

impl MemoryEncryption {
    const FUNCTION: u32 = 0x8000_001f;

    /// Asks the processor.
    pub fn of_host() -> Option<Self> {
        if __cpuid(0x8000_0000).eax < Self::FUNCTION {
            return None;
        }
        let answer = __cpuid(Self::FUNCTION);
        Self::of_registers(answer.eax, answer.ebx)
    }

    /// EAX bit 1 is SEV, bit 4 SEV-SNP; EBX holds the position in bits 0 to 5 and the reduction in bits 6 to 11.
    pub fn of_registers(eax: u32, ebx: u32) -> Option<Self> {
        (eax & 2 != 0).then_some(Self {
            snp: eax & 0x10 != 0,
            cbit_position: ebx & 0x3f,
            reduced_phys_bits: ebx >> 6 & 0x3f,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryEncryption;

    #[test]
    fn registers_of_a_genoa_are_read() {
        let genoa = MemoryEncryption::of_registers(0x0101_fd3f, 0x0000_4173).expect("it has SEV");
        assert_eq!(
            (genoa.cbit_position, genoa.reduced_phys_bits, genoa.snp),
            (51, 5, true)
        );
        assert_eq!(MemoryEncryption::of_registers(0, 0), None);
        assert!(
            !MemoryEncryption::of_registers(0xf, 0x16f)
                .expect("it has SEV")
                .snp
        );
    }
}
