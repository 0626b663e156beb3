//! How simulated evidence is kept apart from real evidence.
//!
//! A simulated security processor signs [`SIGNATURE_PREFIX`] and then what the hardware would sign.
//! The hardware signs messages that begin with a small version number or a CPU security version, of
//! another length: a signature of one kind never verifies as the other, even under the same key.

/// What a simulated security processor hashes before the report, the quote or the QE report.
pub const SIGNATURE_PREFIX: &[u8] = b"adyton SIMULATED evidence v1: signed by software, protects nothing\0";

/// The domain in which evidence is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignatureDomain {
    Hardware,
    Simulated,
}

impl SignatureDomain {
    /// What stands before the signed bytes.
    pub(crate) const fn prefix(self) -> &'static [u8] {
        match self {
            SignatureDomain::Hardware => b"",
            SignatureDomain::Simulated => SIGNATURE_PREFIX,
        }
    }
}
