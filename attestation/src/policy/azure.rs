//! What is accepted of Azure's confidential VMs.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Deserialize;

use super::values::{AnyOf, RootCertificate};
use super::vtpm::{Accepted, PcrPolicy};
use super::{SnpPolicy, TdxPolicy};
use crate::error::PolicyError;

/// `[azure]` and `[danger.simulated.azure]`. The processor's own tables are `[azure.snp]` and `[azure.tdx]`: what
/// they measure is the paravisor, which runs the vTPM; the guest inside is in the PCRs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AzurePolicy {
    /// Confidential VMs on SEV-SNP are accepted if this is there.
    #[serde(default)]
    pub(crate) snp: Option<SnpPolicy>,
    /// Confidential VMs on TDX are accepted if this is there.
    #[serde(default)]
    pub(crate) tdx: Option<TdxPolicy>,
    /// The simulated root for vTPMs. Refused in `[azure]`: the real one is built in.
    #[serde(default)]
    pub(crate) vtpm_root_certificate: Option<RootCertificate>,
    /// The PCRs that the quote must cover, and what each must be.
    pub(crate) pcrs: PcrPolicy,
    /// `"any"` or a list of vmUniqueId.
    pub(crate) vm_ids: Accepted<String>,
    /// The guest's 64 bytes of user data; zero unless set. The report data of an appraisal need not be listed for it.
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

    /// Checks what types cannot; `table` is for messages.
    pub(super) fn check(&self, table: &str, simulated: bool) -> Result<(), PolicyError> {
        let refuse = |key: &str, reason: &str| {
            Err(PolicyError::Value {
                key: format!("{table}.{key}"),
                reason: reason.to_string(),
            })
        };
        match (&self.vtpm_root_certificate, simulated) {
            (None, true) => {
                return refuse("vtpm_root_certificate", "a simulated platform must name its root");
            }
            (Some(_), false) => return refuse("vtpm_root_certificate", "the real root is built in"),
            _ => {}
        }
        if simulated && self.tdx.is_some() {
            return refuse("tdx", "SEV-SNP is simulated behind a paravisor, and only that");
        }
        if self.snp.is_none() && self.tdx.is_none() {
            return refuse("snp, tdx", "no processor is accepted");
        }
        let endorsed = (self.snp.as_ref().map(|snp| &snp.gce_firmware))
            .into_iter()
            .chain(self.tdx.as_ref().map(|tdx| &tdx.gce_firmware));
        if endorsed.flatten().next().is_some() {
            return refuse("snp.gce_firmware", "the paravisor is not Google's");
        }
        if self.root_certificate_thumbprints.is_empty() {
            return refuse("root_certificate_thumbprints", "an empty list accepts nothing");
        }
        if !self.vm_ids.listed().iter().all(|id| is_vm_id(id)) {
            return refuse("vm_ids", "an id looks like 3c18c97a-0d2a-4565-969d-166cdcef26a3");
        }
        if let Some(snp) = &self.snp {
            snp.check(&format!("{table}.snp"), simulated)?;
            // The paravisor asks for the report; at another level it would be the guest's own.
            if snp.vmpl != 0 {
                return refuse("snp.vmpl", "the paravisor runs at 0");
            }
        }
        self.tdx
            .iter()
            .try_for_each(|tdx| tdx.check(&format!("{table}.tdx"), simulated))
    }
}
