//! What the simulated security processor measures at launch.

use sha2::{Digest, Sha256, Sha384};

use crate::Flavor;

/// The launch measurement of an enclave process: SHA-384 over flavor, and the length and SHA-256 of executable and
/// configuration. A changed byte of either changes it. SHA-256 because processors have instructions for it: an executable
/// of a hundred megabytes is measured twice before a local deployment answers.
pub fn measure(flavor: Flavor, executable: &[u8], config: &[u8]) -> [u8; 48] {
    let domain: &[u8] = match flavor {
        Flavor::Snp => b"adyton simulated snp launch digest v2",
        Flavor::Tdx => b"adyton simulated tdx mrtd v2",
    };
    let mut hash = Sha384::new_with_prefix(domain);
    for part in [executable, config] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(Sha256::digest(part));
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::measure;
    use crate::Flavor;

    #[test]
    fn each_byte_of_executable_and_config_counts() {
        let base = measure(Flavor::Snp, b"executable", b"config");
        assert_ne!(base, measure(Flavor::Tdx, b"executable", b"config"));
        assert_ne!(base, measure(Flavor::Snp, b"executablec", b"onfig"));
        for at in 0..10 {
            let mut changed = *b"executable";
            changed[at] ^= 1;
            assert_ne!(base, measure(Flavor::Snp, &changed, b"config"));
        }
        for at in 0..6 {
            let mut changed = *b"config";
            changed[at] ^= 1;
            assert_ne!(base, measure(Flavor::Snp, b"executable", &changed));
        }
    }
}
