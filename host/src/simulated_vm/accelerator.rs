//! What runs the machine's instructions: the processor itself where it can, QEMU's emulation otherwise.

use std::fs::{self, File};

/// QEMU's accelerator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accelerator {
    /// The processor's own virtualisation.
    Kvm,
    /// Emulation: everywhere, some hundred times slower.
    Tcg,
}

impl Accelerator {
    /// KVM where this user may use it and the processor has virtualisation. A device alone says little: inside some
    /// virtual machines it is there and runs no ordinary kernel.
    pub(super) fn of_this_machine() -> Self {
        let usable = File::options().read(true).write(true).open("/dev/kvm").is_ok();
        let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        if usable && has_virtualisation(&processor) {
            Self::Kvm
        } else {
            Self::Tcg
        }
    }
}

/// The flags of Intel's and AMD's virtualisation in `/proc/cpuinfo`.
fn has_virtualisation(processor: &str) -> bool {
    processor
        .lines()
        .filter(|line| line.starts_with("flags"))
        .flat_map(str::split_ascii_whitespace)
        .any(|flag| flag == "vmx" || flag == "svm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtualisation_is_a_flag_of_its_own() {
        assert!(has_virtualisation("model name\t: x\nflags\t\t: fpu vmx sse\n"));
        assert!(has_virtualisation("flags\t\t: fpu svm\n"));
        assert!(!has_virtualisation("flags\t\t: fpu vmmcall svm_lock\n"));
        assert!(!has_virtualisation("model name\t: vmx svm\n"));
    }
}
