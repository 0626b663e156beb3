//! What is accepted of Intel TDX.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Deserialize;

use super::values::{AnyNumber, AnyOf, EnrolledMachines, RootCertificate};
use crate::UnixTime;
use crate::error::PolicyError;
use crate::tdx::{MIGRATABLE, SEPT_VE_DISABLE, TUD_MASK, TcbStatus};

/// `[tdx]` and `[danger.simulated.tdx]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TdxPolicy {
    /// The simulated root. Refused in `[tdx]`: the real root is built in.
    #[serde(default)]
    pub(crate) root_certificate: Option<RootCertificate>,
    /// MRTD of the expected images.
    pub(crate) mrtd: AnyOf<48>,
    /// Run-time measurement registers.
    pub(crate) rtmr0: AnyOf<48>,
    /// See `rtmr0`.
    pub(crate) rtmr1: AnyOf<48>,
    /// See `rtmr0`.
    pub(crate) rtmr2: AnyOf<48>,
    /// See `rtmr0`.
    pub(crate) rtmr3: AnyOf<48>,
    /// MRCONFIGID; zero unless set.
    #[serde(default = "AnyOf::zero")]
    pub(crate) mrconfigid: AnyOf<48>,
    /// MROWNER; zero unless set.
    #[serde(default = "AnyOf::zero")]
    pub(crate) mrowner: AnyOf<48>,
    /// MROWNERCONFIG; zero unless set.
    #[serde(default = "AnyOf::zero")]
    pub(crate) mrownerconfig: AnyOf<48>,
    /// TDATTRIBUTES, whole values; only SEPT_VE_DISABLE unless set.
    #[serde(default = "strict_attributes")]
    pub(crate) td_attributes: AnyNumber,
    /// XFAM, whole values.
    pub(crate) xfam: AnyNumber,
    /// `"any"` or a list of PPIDs.
    pub(crate) enrolled_machines: EnrolledMachines,
    /// Smallest tcbEvaluationDataNumber of TCB info and QE identity.
    pub(crate) evaluation_number_minimum: u32,
    /// Statuses other than UpToDate that are accepted, for a time; none unless set.
    #[serde(default)]
    pub(crate) tcb_exceptions: Vec<TcbException>,
}

fn strict_attributes() -> AnyNumber {
    AnyNumber::of(&[SEPT_VE_DISABLE])
}

/// One accepted TCB status that is not UpToDate.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TcbException {
    pub(crate) status: TcbStatus,
    /// The advisories that are accepted; others refuse.
    pub(crate) advisories: Vec<String>,
    /// The last moment of acceptance, RFC 3339.
    pub(crate) until: Moment,
}

/// A moment, written in RFC 3339.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(pub(crate) UnixTime);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        UnixTime::parse_rfc3339(&text)
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("expected a moment like \"2026-11-24T00:00:00Z\""))
    }
}

impl TdxPolicy {
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
            (Some(_), false) => return refuse("root_certificate", "the real root is built in"),
            _ => {}
        }
        for attributes in self.td_attributes.iter() {
            if attributes & (TUD_MASK | MIGRATABLE) != 0 {
                return refuse(
                    "td_attributes",
                    "debug and migratable trust domains are never accepted",
                );
            }
        }
        for exception in &self.tcb_exceptions {
            if !exception.status.may_be_excepted() {
                return refuse(
                    "tcb_exceptions.status",
                    "only hardening and configuration may be excepted",
                );
            }
        }
        Ok(())
    }
}
