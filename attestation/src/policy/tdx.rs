//! What is accepted of Intel TDX.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Deserialize;

use super::gce::{GceFirmware, Machine};
use super::values::{AnyNumber, AnyOf, EnrolledMachines, RegisterReference, RootCertificate};
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
    /// MRTD of the expected images. Either this or `gce_firmware`.
    #[serde(default)]
    pub(crate) mrtd: Option<AnyOf<48>>,
    /// MRTD as Google endorses it, in place of listed values.
    #[serde(default)]
    pub(crate) gce_firmware: Option<GceFirmware>,
    /// Run-time measurement registers: whole values, or `"events"`.
    pub(crate) rtmr0: RegisterReference,
    /// See `rtmr0`.
    pub(crate) rtmr1: RegisterReference,
    /// See `rtmr0`.
    pub(crate) rtmr2: RegisterReference,
    /// See `rtmr0`.
    pub(crate) rtmr3: RegisterReference,
    /// SHA-384 of each event that may stand in a register that is written `"events"`.
    #[serde(default)]
    pub(crate) event_digests: Option<AnyOf<48>>,
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
    /// What each register is compared with, RTMR0 first.
    pub(crate) fn rtmrs(&self) -> [&RegisterReference; 4] {
        [&self.rtmr0, &self.rtmr1, &self.rtmr2, &self.rtmr3]
    }

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
        match (&self.mrtd, &self.gce_firmware) {
            (None, None) => return refuse("mrtd", "name the measurements, or gce_firmware"),
            (Some(_), Some(_)) => return refuse("gce_firmware", "mrtd is listed: one of both decides"),
            (Some(_), None) => {}
            (None, Some(firmware)) => firmware.check(table, Machine::Tdx, simulated)?,
        }
        let by_events = self.rtmrs().contains(&&RegisterReference::Events);
        match (by_events, &self.event_digests) {
            (true, None) => return refuse("event_digests", "a register is judged by events: list them"),
            (false, Some(_)) => return refuse("event_digests", "no register is judged by events"),
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
