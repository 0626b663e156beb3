//! Whose ACPI tables the kernel gets: the image's own, except where the machine's are measured by what the processor signs.
//!
//! | machine | tables | why |
//! |---|---|---|
//! | Intel TDX | the machine's | firmware measures them into RTMR 0, and one of them (CCEL) has the event log |
//! | SEV-SNP below a paravisor (vTOM) | the machine's | the paravisor wrote them, and is in the launch digest; Azure's devices are in them |
//! | SEV-SNP otherwise | the image's | the host wrote the machine's, and nothing that the processor signs covers them |
//! | neither, on Hyper-V | the machine's | a paravisor keeps TDX from the guest it carries (Azure) |
//! | neither | the image's | no confidential machine |

/// `SEV_STATUS` (AMD64 Architecture Programmer's Manual, volume 2, 15.34.10): SEV is active; SNP is; memory above a line
/// is the host's (virtual top of memory), which only a paravisor's guest has. The line is in the launch digest.
const SEV: u64 = 1;
const SNP: u64 = 1 << 2;
const TOP_OF_MEMORY: u64 = 1 << 3;

/// What the processor says of the machine that it runs.
#[derive(Debug, Clone, Copy)]
pub struct Processor {
    /// It calls itself a trust domain's (Intel TDX module specification, CPUID 0x21). A host that claims it on another
    /// processor has a kernel that stops at its first call of the module.
    pub trust_domain: bool,
    /// `SEV_STATUS`, where the processor has SEV. No host can change what the guest reads there.
    pub sev_status: Option<u64>,
    /// The hypervisor says that it is Hyper-V. It may say so wherever it likes.
    pub hyper_v: bool,
}

/// Whose tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tables {
    /// Those that firmware has.
    Machine,
    /// Those of this crate.
    Image,
}

impl Processor {
    /// Decides by what a host cannot choose, where there is such a thing.
    pub fn tables(self) -> Tables {
        let measured = match self.sev_status {
            _ if self.trust_domain => true,
            Some(status) if status & SEV == SEV => status & (SNP | TOP_OF_MEMORY) == SNP | TOP_OF_MEMORY,
            _ => self.hyper_v,
        };
        if measured { Tables::Machine } else { Tables::Image }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(trust_domain: bool, sev_status: Option<u64>, hyper_v: bool) -> Tables {
        Processor {
            trust_domain,
            sev_status,
            hyper_v,
        }
        .tables()
    }

    #[test]
    fn on_sev_the_machines_tables_stay_below_a_paravisor_alone_whatever_the_host_calls_itself() {
        for hyper_v in [false, true] {
            // SEV; SEV-ES; SEV-SNP; a top of memory without SNP.
            for status in [0b1, 0b11, 0b111, 0b1001, 0b1011, 0xff_fff7] {
                assert_eq!(tables(false, Some(status), hyper_v), Tables::Image, "{status:b}");
            }
            for status in [0b1101, 0b1111, 0xff_ffff] {
                assert_eq!(
                    tables(false, Some(status), hyper_v),
                    Tables::Machine,
                    "{status:b}"
                );
            }
        }
    }

    #[test]
    fn a_trust_domain_and_hyper_v_keep_theirs_and_a_plain_machine_does_not() {
        assert_eq!(tables(true, None, false), Tables::Machine);
        assert_eq!(tables(false, None, true), Tables::Machine);
        assert_eq!(tables(false, Some(0), true), Tables::Machine);
        for sev_status in [None, Some(0), Some(SNP | TOP_OF_MEMORY)] {
            assert_eq!(tables(false, sev_status, false), Tables::Image);
        }
    }
}
