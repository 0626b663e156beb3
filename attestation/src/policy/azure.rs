//! What is accepted of Azure's confidential VMs.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Deserialize;

use super::values::AnyOf;
use super::vtpm::{Accepted, PcrPolicy};
use super::{SnpPolicy, TdxPolicy};
use crate::error::PolicyError;

/// `[azure]`. The processor's own tables are `[azure.snp]` and `[azure.tdx]`: what they measure is the
/// paravisor, which runs the vTPM; the guest inside is in the PCRs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AzurePolicy {
    /// Confidential VMs on SEV-SNP are accepted if this is there.
    #[serde(default)]
    pub(crate) snp: Option<SnpPolicy>,
    /// Confidential VMs on TDX are accepted if this is there.
    #[serde(default)]
    pub(crate) tdx: Option<TdxPolicy>,
    /// The PCRs that the quote must cover, and what each must be.
    pub(crate) pcrs: PcrPolicy,
    /// `"any"` or a list of vmUniqueId.
    pub(crate) vm_ids: Accepted<String>,
    /// The guest's 64 bytes of user data; zero unless set.
    #[serde(default = "AnyOf::zero")]
    pub(crate) user_data: AnyOf<64>,
    /// root-cert-thumbprint; none unless set.
    #[serde(default = "no_thumbprint")]
    pub(crate) root_certificate_thumbprints: Vec<String>,
    /// Settings of the paravisor on which this verifier decides nothing and that are accepted, by name, whatever
    /// they say; none unless set.
    #[serde(default)]
    pub(crate) other_settings_accepted: Vec<String>,
    /// Accepted departures from the strict checks, by name; none unless set.
    #[serde(default)]
    pub(crate) exceptions: Vec<AzureException>,
}

fn no_thumbprint() -> Vec<String> {
    alloc::vec![String::new()]
}

/// A named departure from the strict checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AzureException {
    /// Accept a quote whose key has no certificate: the hardware report vouches for it all the same.
    /// Certificates that are there must hold.
    AbsentAkCertificate,
    /// Accept a guest that boots without secure boot.
    SecureBootDisabled,
    /// Accept a serial console, which the host reads.
    ConsoleEnabled,
    /// Accept a serial console into which the host types.
    InteractiveConsole,
    /// Accept management of the guest by IPMI.
    IpmiEnabled,
    /// Accept virtual PCI devices of the host that pass the paravisor's filter.
    FilteredDevices,
    /// Accept a vTPM whose state the host keeps, sealed, from boot to boot.
    PersistedVtpm,
    /// Accept runtime data of an early paravisor, which has no user data.
    AbsentUserData,
}

impl AzureException {
    /// As it is written.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::AbsentAkCertificate => "absent-ak-certificate",
            Self::SecureBootDisabled => "secure-boot-disabled",
            Self::ConsoleEnabled => "console-enabled",
            Self::InteractiveConsole => "interactive-console",
            Self::IpmiEnabled => "ipmi-enabled",
            Self::FilteredDevices => "filtered-devices",
            Self::PersistedVtpm => "persisted-vtpm",
            Self::AbsentUserData => "absent-user-data",
        }
    }
}

/// RFC 9562 section 4, in either case.
fn is_vm_id(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

impl AzurePolicy {
    /// Whether this departure is accepted.
    pub(crate) fn excepts(&self, exception: AzureException) -> bool {
        self.exceptions.contains(&exception)
    }

    /// Checks what types cannot.
    pub(super) fn check(&self) -> Result<(), PolicyError> {
        let refuse = |key: &str, reason: &str| {
            Err(PolicyError::Value {
                key: key.to_string(),
                reason: reason.to_string(),
            })
        };
        if self.snp.is_none() && self.tdx.is_none() {
            return refuse("azure.snp, azure.tdx", "no processor is accepted");
        }
        if self.root_certificate_thumbprints.is_empty() {
            return refuse(
                "azure.root_certificate_thumbprints",
                "an empty list accepts nothing",
            );
        }
        if !self.vm_ids.listed().iter().all(|id| is_vm_id(id)) {
            return refuse(
                "azure.vm_ids",
                "an id looks like 3c18c97a-0d2a-4565-969d-166cdcef26a3",
            );
        }
        if let Some(snp) = &self.snp {
            snp.check("azure.snp", false)?;
            // The paravisor asks for the report; at another level it would be the guest's own.
            if snp.vmpl != 0 {
                return refuse("azure.snp.vmpl", "the paravisor runs at 0");
            }
        }
        self.tdx.iter().try_for_each(|tdx| tdx.check("azure.tdx", false))
    }
}
