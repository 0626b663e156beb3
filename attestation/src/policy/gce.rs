//! Firmware that is accepted because Google endorses it.

use alloc::string::ToString as _;

use serde::Deserialize;

use super::tdx::Moment;
use super::values::{MachineSizes, RootCertificate};
use crate::error::PolicyError;
use crate::roots;

/// `[snp.gce_firmware]` and `[tdx.gce_firmware]`: launch measurements are those of an endorsement that Google
/// signed, in place of listed ones. Trusting it means trusting Google for the firmware.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GceFirmware {
    /// Google's root for launch endorsements, base64 of its DER. Only the digest is built in.
    pub(crate) root_certificate: RootCertificate,
    /// Endorsements signed before this moment are refused, so that no old firmware comes back.
    pub(crate) issued_after: Moment,
    /// Smallest security version number that Google gives the firmware.
    pub(crate) svn_minimum: u32,
    /// `[snp]`: `"any"`, or the numbers of virtual processors that are accepted.
    #[serde(default)]
    vcpus: Option<MachineSizes>,
    /// `[tdx]`: `"any"`, or the sizes of memory that are accepted.
    #[serde(default)]
    ram_gib: Option<MachineSizes>,
}

/// What kind of machine a table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    Snp,
    Tdx,
}

impl GceFirmware {
    /// The accepted sizes of the table's own kind of machine: virtual processors, or GiB of memory.
    pub(crate) fn sizes(&self, machine: Machine) -> Option<&MachineSizes> {
        match machine {
            Machine::Snp => self.vcpus.as_ref(),
            Machine::Tdx => self.ram_gib.as_ref(),
        }
    }

    /// Checks what types cannot; `table` is for messages.
    pub(super) fn check(&self, table: &str, machine: Machine, simulated: bool) -> Result<(), PolicyError> {
        let refuse = |key: &str, reason: &str| {
            Err(PolicyError::Value {
                key: [table, "gce_firmware", key].join("."),
                reason: reason.to_string(),
            })
        };
        let (own, other) = match machine {
            Machine::Snp => ("vcpus", ("ram_gib", &self.ram_gib)),
            Machine::Tdx => ("ram_gib", ("vcpus", &self.vcpus)),
        };
        if self.sizes(machine).is_none() {
            return refuse(own, "write \"any\" or a list of sizes");
        }
        if other.1.is_some() {
            return refuse(other.0, "this platform's measurements do not depend on it");
        }
        if !simulated && !roots::is_gce_tcb_root(&self.root_certificate.0.certificate) {
            return refuse("root_certificate", "not Google's root for launch endorsements");
        }
        Ok(())
    }
}
