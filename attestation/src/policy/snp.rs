//! What is accepted of AMD SEV-SNP.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Deserialize;

use super::gce::{GceFirmware, Machine};
use super::values::{AnyNumber, AnyOf, EnrolledMachines, RootCertificate};
use crate::error::PolicyError;
use crate::snp::{Firmware, Generation, TcbVersion};

/// `[snp]` and `[danger.simulated.snp]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SnpPolicy {
    /// The simulated root. Refused in `[snp]`: real roots are built in.
    #[serde(default)]
    pub(crate) root_certificate: Option<RootCertificate>,
    /// Launch digests of the expected images. Either this or `gce_firmware`.
    #[serde(default)]
    pub(crate) launch_measurements: Option<AnyOf<48>>,
    /// Launch digests as Google endorses them, in place of listed values.
    #[serde(default)]
    pub(crate) gce_firmware: Option<GceFirmware>,
    /// HOST_DATA; zero unless set.
    #[serde(default = "AnyOf::zero")]
    pub(crate) host_data: AnyOf<32>,
    /// FAMILY_ID of the ID block; zero unless set.
    #[serde(default = "AnyOf::zero")]
    pub(crate) family_ids: AnyOf<16>,
    /// IMAGE_ID of the ID block; zero unless set.
    #[serde(default = "AnyOf::zero")]
    pub(crate) image_ids: AnyOf<16>,
    /// SHA-384 of the key that signed the ID block; zero unless set.
    #[serde(default = "AnyOf::zero")]
    pub(crate) id_key_digests: AnyOf<48>,
    /// SHA-384 of the author key; zero unless set.
    #[serde(default = "AnyOf::zero")]
    pub(crate) author_key_digests: AnyOf<48>,
    /// The one VMPL that may ask for evidence; 0 unless a measured paravisor runs there.
    #[serde(default)]
    pub(crate) vmpl: u32,
    /// Smallest GUEST_SVN; without an ID block that is 0.
    pub(crate) guest_svn_minimum: u32,
    /// Smallest ABI version that the guest policy demands of the firmware, `major.minor`.
    pub(crate) guest_abi_minimum: AbiVersion,
    /// What the guest policy must demand of the platform.
    pub(crate) guest_policy_required: Vec<GuestProtection>,
    /// What the guest policy may allow although it weakens isolation; nothing unless set.
    #[serde(default)]
    pub(crate) guest_policy_accepted: Vec<GuestAllowance>,
    /// What PLATFORM_INFO must show.
    pub(crate) platform_required: Vec<PlatformProtection>,
    /// `"any"` or a list of hardware ids.
    pub(crate) enrolled_machines: EnrolledMachines,
    /// Accepted report versions; 2 cannot show the alias check and must be named.
    #[serde(default = "current_versions")]
    pub(crate) report_versions: AnyNumber,
    /// CSP ids whose VLEK is accepted in place of a VCEK; none unless set.
    #[serde(default)]
    pub(crate) vlek_providers: Vec<String>,
    /// How old the ARK's revocation list may be, in seconds; as other collateral unless set. AMD issues one a year.
    #[serde(default)]
    pub(crate) revocation_list_age_seconds_max: Option<u64>,
    /// Accepted departures from the strict checks, by name; none unless set.
    #[serde(default)]
    pub(crate) exceptions: Vec<SnpException>,
    /// Accepted processors and what each must have.
    pub(crate) minimum_tcb: Vec<MinimumTcb>,
}

fn current_versions() -> AnyNumber {
    AnyNumber::of(&[3, 5])
}

/// A named departure from the strict checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SnpException {
    /// Accept VCEK signatures of Milan, whose root seed can be extracted (BadFuse, arXiv 2605.12990).
    MilanVcek,
    /// Accept a bundle without the ARK's revocation list; one that is there must still hold.
    AbsentRevocationList,
}

/// Bits of the guest policy that protect (AMD 56860, table 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum GuestProtection {
    /// SINGLE_SOCKET.
    SingleSocket,
    /// MEM_AES_256_XTS.
    #[serde(rename = "memory-aes-256-xts")]
    MemoryAes256Xts,
    /// RAPL_DIS.
    RaplDisabled,
    /// CIPHERTEXT_HIDING_DRAM.
    CiphertextHiding,
    /// PAGE_SWAP_DISABLE.
    PageSwapDisabled,
}

impl GuestProtection {
    pub(crate) const fn bit(self) -> u32 {
        match self {
            GuestProtection::SingleSocket => 20,
            GuestProtection::MemoryAes256Xts => 22,
            GuestProtection::RaplDisabled => 23,
            GuestProtection::CiphertextHiding => 24,
            GuestProtection::PageSwapDisabled => 25,
        }
    }
}

/// Bits of the guest policy that weaken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum GuestAllowance {
    /// SMT: a sibling thread may belong to the host.
    Smt,
    /// CXL_ALLOW.
    Cxl,
}

impl GuestAllowance {
    pub(crate) const ALL: [GuestAllowance; 2] = [GuestAllowance::Smt, GuestAllowance::Cxl];

    pub(crate) const fn bit(self) -> u32 {
        match self {
            GuestAllowance::Smt => 16,
            GuestAllowance::Cxl => 21,
        }
    }
}

/// Bits of PLATFORM_INFO (AMD 56860, table 23).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PlatformProtection {
    /// TSME_EN.
    Tsme,
    /// ECC_EN.
    Ecc,
    /// RAPL_DIS.
    RaplDisabled,
    /// CIPHERTEXT_HIDING_DRAM_EN.
    CiphertextHiding,
    /// ALIAS_CHECK_COMPLETE (BadRAM, AMD-SB-3015).
    AliasCheckComplete,
}

impl PlatformProtection {
    pub(crate) const fn bit(self) -> u32 {
        match self {
            PlatformProtection::Tsme => 1,
            PlatformProtection::Ecc => 2,
            PlatformProtection::RaplDisabled => 3,
            PlatformProtection::CiphertextHiding => 4,
            PlatformProtection::AliasCheckComplete => 5,
        }
    }
}

/// What processors of one kind must have at least, in each TCB that a report names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MinimumTcb {
    pub(crate) generation: Generation,
    /// CPUID models (extended model and model).
    pub(crate) models: AnyNumber,
    /// CPUID steppings.
    pub(crate) steppings: AnyNumber,
    /// Turin only.
    #[serde(default)]
    fmc: Option<u8>,
    boot_loader: u8,
    tee: u8,
    snp: u8,
    microcode: u8,
    /// Firmware, `major.minor.build`.
    pub(crate) firmware: Firmware,
    /// Mitigation bits that launch and current vectors must both show; 0 where there are none.
    pub(crate) mitigations: u64,
}

impl MinimumTcb {
    pub(crate) fn tcb(&self) -> TcbVersion {
        TcbVersion {
            fmc: self.fmc,
            boot_loader: self.boot_loader,
            tee: self.tee,
            snp: self.snp,
            microcode: self.microcode,
        }
    }
}

/// An ABI version, written `"major.minor"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AbiVersion {
    pub(crate) major: u8,
    pub(crate) minor: u8,
}

impl core::fmt::Display for AbiVersion {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl<'de> Deserialize<'de> for AbiVersion {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.split_once('.')
            .and_then(|(major, minor)| {
                Some(Self {
                    major: major.parse().ok()?,
                    minor: minor.parse().ok()?,
                })
            })
            .ok_or_else(|| serde::de::Error::custom("expected \"major.minor\""))
    }
}

impl SnpPolicy {
    /// Checks what types cannot; `table` is for messages.
    pub(super) fn check(&self, table: &str, simulated: bool) -> Result<(), PolicyError> {
        let refuse = |key: &str, reason: &str| {
            Err(PolicyError::Value {
                key: [table, key].join("."),
                reason: reason.to_string(),
            })
        };
        match (&self.root_certificate, simulated) {
            (None, true) => return refuse("root_certificate", "a simulated platform must name its root"),
            (Some(_), false) => return refuse("root_certificate", "real roots are built in"),
            (Some(root), true) if Generation::of_root(&root.0.common_name).is_none() => {
                return refuse("root_certificate", "its common name is not that of an ARK");
            }
            _ => {}
        }
        match (&self.launch_measurements, &self.gce_firmware) {
            (None, None) => return refuse("launch_measurements", "name the measurements, or gce_firmware"),
            (Some(_), Some(_)) => {
                return refuse(
                    "gce_firmware",
                    "launch_measurements are listed: one of both decides",
                );
            }
            (Some(_), None) => {}
            (None, Some(firmware)) => firmware.check(table, Machine::Snp, simulated)?,
        }
        if self.vmpl > 3 {
            return refuse("vmpl", "there are VMPL 0 to 3");
        }
        if self.minimum_tcb.is_empty() {
            return refuse("minimum_tcb", "an empty list accepts nothing");
        }
        if self
            .revocation_list_age_seconds_max
            .is_some_and(|seconds| !(1..=super::COLLATERAL_AGE_SECONDS_MAX).contains(&seconds))
        {
            return refuse("revocation_list_age_seconds_max", "expected 1 second to 10 years");
        }
        if let Some(version) = self
            .report_versions
            .iter()
            .find(|version| !matches!(version, 2..=5))
        {
            return refuse(
                "report_versions",
                &alloc::format!("version {version} is not known"),
            );
        }
        for entry in &self.minimum_tcb {
            if entry.fmc.is_some() != (entry.generation == Generation::Turin) {
                return refuse("minimum_tcb.fmc", "Turin has it, and only Turin");
            }
        }
        Ok(())
    }
}
