//! The kinds of evidence that a bundle can carry.

use core::fmt;

/// Names the format and the signature domain of the evidence in a bundle.
///
/// Simulated platforms are variants of their own: no code path leads from one to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlatformTag {
    /// An attestation report of AMD SEV-SNP.
    AmdSevSnp,
    /// A quote of an Intel TDX trust domain.
    IntelTdx,
    /// A vTPM quote of an Azure confidential VM, vouched for by an SEV-SNP report of its paravisor.
    AzureAmdSevSnp,
    /// A vTPM quote of an Azure confidential VM, vouched for by a TDX quote of its paravisor.
    AzureIntelTdx,
    /// An SNP report signed by software; development only.
    SimulatedAmdSevSnp,
    /// A TDX quote signed by software; development only.
    SimulatedIntelTdx,
    /// A vTPM quote as an Azure confidential VM's, vouched for by an SNP report signed by software; development only.
    SimulatedAzureAmdSevSnp,
}

impl PlatformTag {
    /// Every tag.
    pub const ALL: [PlatformTag; 7] = [
        Self::AmdSevSnp,
        Self::IntelTdx,
        Self::AzureAmdSevSnp,
        Self::AzureIntelTdx,
        Self::SimulatedAmdSevSnp,
        Self::SimulatedIntelTdx,
        Self::SimulatedAzureAmdSevSnp,
    ];

    /// The text in bundles, cache paths and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            PlatformTag::AmdSevSnp => "amd-sev-snp",
            PlatformTag::IntelTdx => "intel-tdx",
            PlatformTag::AzureAmdSevSnp => "azure-amd-sev-snp",
            PlatformTag::AzureIntelTdx => "azure-intel-tdx",
            PlatformTag::SimulatedAmdSevSnp => "simulated-amd-sev-snp",
            PlatformTag::SimulatedIntelTdx => "simulated-intel-tdx",
            PlatformTag::SimulatedAzureAmdSevSnp => "simulated-azure-amd-sev-snp",
        }
    }

    /// The tag with this text.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tag| tag.as_str() == text)
    }

    /// Whether evidence of this kind is made by software.
    pub const fn is_simulated(self) -> bool {
        matches!(
            self,
            PlatformTag::SimulatedAmdSevSnp
                | PlatformTag::SimulatedIntelTdx
                | PlatformTag::SimulatedAzureAmdSevSnp
        )
    }
}

impl fmt::Display for PlatformTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
